"""Pages from templates: everything that is put in is escaped, and a name that isn't there is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"


@cache
def templates() -> Environment:
    """Give the templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # only now: no command but `cdc run` needs it

    return Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def page(template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """Make a page of a template."""
    return HTMLResponse(templates().get_template(template).render(values), status)
