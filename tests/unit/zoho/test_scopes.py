"""The scopes that are asked for are those of the documentation, and all that the calls need."""

from __future__ import annotations

import re
from pathlib import Path

from sinks.simulator.kinds import Kind
from sinks.simulator.scopes import allowed, fold
from sinks.zoho.scopes import CREATE_FIELDS, SCOPES, missing

PAGE = Path(__file__).parents[3] / "docs" / "zoho.md"
NOT_CALLED = {Kind.SEARCH, Kind.COUNT, Kind.USERS}
MODULE_CALLS = {
    Kind.INSERT, Kind.UPDATE, Kind.UPSERT, Kind.DELETE, Kind.GET, Kind.LIST, Kind.RELATED, Kind.COQL, Kind.BULK_WRITE,
}  # fmt: skip


def documented() -> set[str]:
    table = PAGE.read_text(encoding="utf-8").split("### Scopes")[1].split("\n## ")[0].split("### Data centres")[0]
    found: set[str] = set()
    stem = ""
    for word in re.findall(r"`([A-Za-z]*\.[A-Za-z.]+)`", "\n".join(li for li in table.splitlines() if li[:1] == "|")):
        if word.startswith("."):
            found.add(stem + word)
        else:
            stem = word.rpartition(".")[0]
            found.add(word)
    return found


def test_the_page_names_all_that_is_asked_for_and_no_more() -> None:
    assert documented() == {*SCOPES, CREATE_FIELDS}
    assert len(SCOPES) == len(set(SCOPES))


def test_every_call_is_covered_and_every_scope_is_needed_for_one() -> None:
    everything = {
        (kind, module)
        for kind in Kind
        if kind not in NOT_CALLED
        for module in (("Contacts", "Tasks", "Notes") if kind in MODULE_CALLS else (None,))
    }
    granted = fold({*SCOPES, CREATE_FIELDS})
    assert all(allowed(granted, kind, module) for kind, module in everything)
    for scope in (*SCOPES, CREATE_FIELDS):
        less = granted - fold([scope])
        assert not all(allowed(less, kind, module) for kind, module in everything), scope


def test_what_was_not_given_is_named() -> None:
    granted = tuple(scope.replace("contacts", "Contacts") for scope in SCOPES)
    assert missing(SCOPES, granted) == []
    assert missing(SCOPES, granted[1:]) == [SCOPES[0]]
