"""Changes a `.env` file and leaves what it doesn't know alone."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cdc.errors import ConfigError

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=?&~-]*")


def changed(text: str, values: Mapping[str, str]) -> str:
    """Give the text of a `.env` file with these values in it.

    A line that sets one of them is replaced where it stands, others of the same name go, and new ones come last.
    Comments, order and every other line stay as they are.
    """
    left = dict(values)
    done: set[str] = set()
    lines = []
    for line in text.splitlines():
        match = _LINE.match(line)
        name = match[1] if match else ""
        if name in done:
            continue
        if name in left:
            line = f"{name}={quoted(left.pop(name))}"
            done.add(name)
        lines.append(line)
    lines += [f"{name}={quoted(value)}" for name, value in left.items()]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """Write a value so that it is read back as it is.

    Raises:
        ConfigError: if a line can't hold it.
    """
    if "\n" in value or "\r" in value:
        raise ConfigError("a value for .env has a line break in it", fix="leave it out")
    if "${" in value:  # even quoted, that is replaced by a variable's value when the file is read
        raise ConfigError(
            "a value for .env has ${ in it", fix="in a URL write %24{; otherwise set it in the environment"
        )
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"  # single quotes: nothing in them is expanded


def write(path: Path, text: str) -> None:
    """Replace the file as a whole, readable by its owner alone. A crash leaves the old one or the new one.

    Raises:
        ConfigError: if it can't be written.
    """
    path = path.resolve()  # a link stays one
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".env-")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}", fix="check the folder's rights") from None
