"""What a suspect is, all things considered."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.repair.reconcile.classify import Sides, classify
from cdc.repair.reconcile.differences import Difference, Kind
from cdc.repair.reconcile.surroundings import Surroundings, settle
from cdc.routing.feeds import Feed
from cdc.state.records import LedgerEntry
from sinks.scan import Scanned
from tests.unit.repair.reconcile.cases import MEASURES, entry, feed, held, row, sides

NOTHING: dict[str, Any] = {
    "waiting": frozenset(), "parked": {}, "parents": frozenset(), "in_source": frozenset(), "others": {},
}  # fmt: skip
EDITED = sides(row(Name="Ada"), entry(Name="Ada"), held(Name="Eve"))
MISSING = sides(row(Name="Ada"), entry(Name="Ada"))
ABSENT = sides(None, None, held())


def settled(suspect: Sides, of: Feed | None = None, **around: Any) -> Difference | None:
    of = of or feed()
    found = classify(of, suspect, MEASURES)
    assert found is not None
    return settle(of, (suspect, found), Surroundings(**{**NOTHING, **around}))


def kind_of(suspect: Sides, **around: Any) -> Kind | None:
    found = settled(suspect, **around)
    return None if found is None else found.kind


@pytest.mark.parametrize("suspect", [EDITED, MISSING, sides(None, entry(), held())])
def test_what_is_on_its_way_is_no_difference(suspect: Sides) -> None:
    assert kind_of(suspect, waiting=frozenset({"a"})) is Kind.SETTLING
    young = Sides("a", suspect.row, suspect.entry, suspect.found, was_just_delivered=True)
    assert kind_of(young) is Kind.SETTLING


def test_what_is_parked_is_left_alone() -> None:
    for suspect in (EDITED, MISSING):
        found = settled(suspect, parked={"a": "FIELD_TOO_LONG"})
        assert found is not None
        assert (found.why, found.is_fixable) == ("parked: FIELD_TOO_LONG", False)


@pytest.mark.parametrize(
    ("known", "around", "kind"),
    [
        (None, {}, Kind.ORPHAN),
        (entry(), {}, Kind.DELETED_SOURCE),
        (None, {"in_source": frozenset({"a"})}, Kind.EXCLUDED),
        (entry(), {"in_source": frozenset({"a"})}, Kind.EXCLUDED),
        (None, {"siblings": frozenset({"a"})}, None),
    ],
)
def test_what_the_view_does_not_have(known: LedgerEntry | None, around: dict[str, Any], kind: Kind | None) -> None:
    assert kind_of(sides(None, known, held()), **around) is kind


def test_an_id_that_is_none_of_ours_is_shown_only_if_it_looks_like_one() -> None:
    typed = Scanned(crm_id="1", record_id="ada@example.org")
    found = settled(Sides("ada@example.org", None, None, [typed]))
    assert found is not None
    assert found.record_id == "(15 characters)"


def test_a_record_that_lost_its_id_is_unlinked() -> None:
    found = settled(MISSING, others={"1": None})
    assert found is not None
    assert (found.kind, found.crm_ids, found.is_fixable) == (Kind.UNLINKED, ["1"], False)


def test_a_record_beside_the_one_that_the_ledger_knows_is_a_duplicate() -> None:
    suspect = sides(row(Name="Ada"), entry(crm_id="2", Name="Ada"), held("1", Name="Ada"))
    found = settled(suspect, others={"2": None})
    assert found is not None
    assert (found.kind, found.crm_ids) == (Kind.DUPLICATE, ["2", "1"])
    assert kind_of(suspect) is Kind.EDITED, "merged, or made anew"


def test_an_event_without_its_person_does_not_belong_there_yet() -> None:
    event = feed(once="event", owners={}, gone="keep").model_copy(update={"needs": "people", "parent": "who"})
    suspect = sides(row(Name="Ada"), None)
    assert suspect.row is not None
    assert settled(suspect, event) is None
    with_parent = Sides("a", suspect.row.__class__("a", "a", "p", {}), None, ())
    assert settled(with_parent, event) is None
    found = settled(with_parent, event, parents=frozenset({"p"}))
    assert found is not None
    assert found.kind is Kind.MISSING
