"""Pages from templates: everything that is put in is escaped, and a name that isn't there is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"

TEMPLATES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Make a page of a template."""
    return HTMLResponse(TEMPLATES.get_template(template).render(values), status)
