import pytest

from sinks.simulator.kinds import Kind
from sinks.simulator.scopes import DEFAULT_SCOPES, NEEDS, allowed, fold


@pytest.mark.parametrize(
    ("granted", "kind", "module", "enough"),
    [
        ("ZohoCRM.modules.contacts.CREATE", Kind.INSERT, "Contacts", True),
        ("ZohoCRM.modules.Contacts.CREATE", Kind.INSERT, "Contacts", True),
        ("ZohoCRM.modules.contacts.ALL", Kind.INSERT, "Contacts", True),
        ("ZohoCRM.modules.ALL", Kind.UPSERT, "Contacts", True),
        ("ZohoCRM.modules.contacts.WRITE", Kind.UPSERT, "Contacts", True),
        ("ZohoCRM.modules.contacts.WRITE", Kind.DELETE, "Contacts", False),
        ("ZohoCRM.modules.contacts.CREATE", Kind.UPSERT, "Contacts", False),
        ("ZohoCRM.modules.contacts.READ", Kind.LIST, "Tasks", False),
        ("ZohoCRM.modules.contacts.READ", Kind.COQL, "Contacts", False),
        ("ZohoCRM.modules.contacts.READ,ZohoCRM.coql.READ", Kind.COQL, "Contacts", True),
        ("ZohoCRM.coql.READ", Kind.COQL, None, True),
        ("ZohoCRM.settings.ALL", Kind.CREATE_FIELDS, None, True),
        ("ZohoCRM.settings.fields.READ", Kind.CREATE_FIELDS, None, False),
        ("", Kind.ORG, None, False),
    ],
)
def test_what_a_scope_allows(granted: str, kind: Kind, module: str | None, enough: bool) -> None:
    assert allowed(fold(granted.split(",")), kind, module) is enough


def test_the_default_scopes_cover_a_sync() -> None:
    for module in ("Contacts", "Tasks", "Notes"):
        assert all(allowed(fold(DEFAULT_SCOPES), kind, module) for kind in Kind)


def test_every_kind_that_needs_a_token_needs_a_scope() -> None:
    assert set(Kind) - set(NEEDS) == {Kind.TOKEN, Kind.REVOKE, Kind.DEVICE, Kind.DEVICE_TOKEN}
