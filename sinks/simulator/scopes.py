"""OAuth scopes: what each kind of call needs, and whether a token has it.

https://www.zoho.com/crm/developer/docs/api/v8/scopes.html
"""

from __future__ import annotations

from collections.abc import Iterable

from sinks.simulator.kinds import Kind

_MODULE = "ZohoCRM.modules.{module}."

NEEDS: dict[Kind, tuple[str, ...]] = {
    Kind.INSERT: (_MODULE + "CREATE",),
    Kind.UPDATE: (_MODULE + "UPDATE",),
    Kind.UPSERT: (_MODULE + "CREATE", _MODULE + "UPDATE"),
    Kind.DELETE: (_MODULE + "DELETE",),
    Kind.GET: (_MODULE + "READ",),
    Kind.LIST: (_MODULE + "READ",),
    Kind.DELETED: (_MODULE + "READ",),
    Kind.RELATED: (_MODULE + "READ",),
    Kind.SEARCH: (_MODULE + "READ", "ZohoSearch.securesearch.READ"),
    Kind.COUNT: (_MODULE + "READ",),
    Kind.COQL: (_MODULE + "READ", "ZohoCRM.coql.READ"),
    Kind.MODULES: ("ZohoCRM.settings.modules.READ",),
    Kind.FIELDS: ("ZohoCRM.settings.fields.READ",),
    Kind.CREATE_FIELDS: ("ZohoCRM.settings.fields.CREATE",),
    Kind.ORG: ("ZohoCRM.org.READ",),
    Kind.USERS: ("ZohoCRM.users.READ",),
    Kind.UPLOAD: ("ZohoFiles.files.ALL",),
    Kind.BULK_WRITE: ("ZohoCRM.bulk.CREATE", _MODULE + "CREATE"),
    Kind.BULK_STATUS: ("ZohoCRM.bulk.READ",),
    Kind.BULK_RESULT: ("ZohoCRM.bulk.READ",),
}

DEFAULT_SCOPES: tuple[str, ...] = (
    *(
        f"ZohoCRM.modules.{module}.{operation}"
        for module in ("contacts", "tasks", "notes")
        for operation in ("READ", "CREATE", "UPDATE", "DELETE")
    ),
    "ZohoCRM.coql.READ",
    "ZohoSearch.securesearch.READ",
    "ZohoCRM.settings.fields.READ",
    "ZohoCRM.settings.fields.CREATE",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.org.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.bulk.CREATE",
    "ZohoCRM.bulk.READ",
    "ZohoFiles.files.ALL",
)
"""What a sync needs with everything switched on."""


def fold(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes in the form they are compared in: both spellings of module names are in use."""
    return frozenset(scope.strip().casefold() for scope in scopes if scope.strip())


def _grants(need: str) -> Iterable[str]:
    """The scopes that would each satisfy a need, from the narrowest."""
    stem, operation = need.rsplit(".", 1)
    yield need
    if operation in {"create", "update"}:
        yield f"{stem}.write"
    while stem.count("."):
        yield f"{stem}.all"
        stem = stem.rsplit(".", 1)[0]


def allowed(granted: frozenset[str], kind: Kind, module: str | None) -> bool:
    """Whether folded scopes cover a kind of call on a module.

    A call without a module, such as an unreadable COQL query, needs only what its kind needs.
    """
    for template in NEEDS.get(kind, ()):
        if "{module}" in template and module is None:
            continue
        need = template.format(module=module).casefold()
        if granted.isdisjoint(_grants(need)):
            return False
    return True
