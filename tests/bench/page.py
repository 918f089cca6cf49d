"""The page that the figures are written to: each part is put in its place as soon as it is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_PART = re.compile(r"<!-- (?P<name>\w+) -->\n(?P<body>.*?)(?=<!-- \w+ -->\n|\Z)", re.DOTALL)


def replace_part(page: str, name: str, lines: Iterable[str], order: Sequence[str]) -> str:
    """Give the page with a part put in place of the one of that name, or added.

    Args:
        page: as it is.
        name: of the part.
        lines: the part, beginning with its heading.
        order: the names of all parts; those of the page that aren't among them go.
    """
    parts = {match["name"]: match["body"].strip() for match in _PART.finditer(page)}
    parts[name] = "\n".join(lines).strip()
    head = page.split("<!-- ", 1)[0].rstrip()
    return "\n\n".join([head, *(f"<!-- {n} -->\n{parts[n]}" for n in order if n in parts)]) + "\n"
