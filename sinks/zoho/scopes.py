"""What the pipeline asks to be allowed: no more than its calls need.

https://www.zoho.com/crm/developer/docs/api/v8/scopes.html
"""

from __future__ import annotations

from typing import Final

CREATE_FIELDS: Final = "ZohoCRM.settings.fields.CREATE"
"""Needed once, to make custom fields."""

SCOPES: Final[tuple[str, ...]] = (
    *(
        f"ZohoCRM.modules.{module}.{operation}"
        for module in ("contacts", "tasks", "notes")
        for operation in ("READ", "CREATE", "UPDATE", "DELETE")
    ),
    "ZohoCRM.coql.READ",
    "ZohoCRM.settings.fields.READ",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.org.READ",
    "ZohoCRM.bulk.CREATE",
    "ZohoCRM.bulk.READ",
    "ZohoFiles.files.ALL",
)
"""Everything but making fields."""


def missing(asked: tuple[str, ...], granted: tuple[str, ...]) -> list[str]:
    """List the scopes that were asked for and not given, whichever way module names are spelled."""
    have = {scope.casefold() for scope in granted}
    return [scope for scope in asked if scope.casefold() not in have]
