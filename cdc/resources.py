"""Where the SQL and profile files are, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "sql"
_CHECKOUT = Path(__file__).parent.parent / "sql"


def sql_dir() -> Path:
    """Return the folder that holds `state/` and `profiles/`."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
