"""Structured logs: an event name and keys, on stderr. Never a row value, never a local variable."""

from __future__ import annotations

import logging
import sys
from types import MappingProxyType
from typing import Final, Literal, TextIO

import structlog

LEVELS: Final = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
)
_own = {"level": logging.INFO}


def configure_logging(
    form: Literal["auto", "json", "text"], *, level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Set logging up, before the first line is written.

    Args:
        form: `json` for machines, `text` for people, `auto` for text on a terminal and JSON elsewhere.
        level: lowest level that is written.
        stream: where to; stderr if not given.
    """
    target = sys.stderr if stream is None else stream
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    # show_locals would print rows and tokens with a traceback.
    plain_traceback = structlog.dev.plain_traceback
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain_traceback)
        if as_text
        else structlog.processors.JSONRenderer()
    )
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not as_text:
        before.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=target),
        cache_logger_on_first_use=False,  # a few lines a batch; a cached logger would outlive its stream
    )
    _own["level"] = level
    # What libraries log takes the same form, so that a machine can read every line.
    of_libraries = logging.StreamHandler(target)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[of_libraries], force=True)


def set_level(name: str | None) -> bool:
    """Log at another level from now on; None for that of `configure_logging`. Tells whether that changed anything.

    Libraries stay at `warning`: below it they log addresses and messages, which hold values.
    """
    level = _own["level"] if name is None else LEVELS[name]
    if structlog.get_config()["wrapper_class"] is structlog.make_filtering_bound_logger(level):
        return False
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    return True
