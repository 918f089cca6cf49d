"""What one record is, from its three sides."""

from __future__ import annotations

import pytest

from cdc.repair.reconcile.classify import THE_RECORD, Sides, classify, theirs_differing
from cdc.repair.reconcile.differences import Kind
from cdc.state.records import Standing
from tests.unit.repair.reconcile.cases import MEASURES, entry, feed, held, row, sides


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (sides(row(Name="Ada"), entry(Name="Ada"), held(Name="Ada")), None),
        (sides(row(Name="Ada"), entry(Name="Eve"), held(Name="Ada")), None),
        (sides(row(Name="Ada"), None, held(Name="Ada")), None),
        (sides(row(Name="Ada"), entry(Name="Ada"), held(Name="Eve")), Kind.EDITED),
        (sides(row(Name="Ada"), entry(Name="Eve"), held(Name="Eve")), Kind.STALE),
        (sides(row(Name="Ada"), entry(Name="Bob"), held(Name="Eve")), Kind.CONFLICT),
        (sides(row(Name="Ada"), entry(), held(Name="Eve")), Kind.UNKNOWN),
        (sides(row(Name="Ada"), None, held(Name="Eve")), Kind.UNKNOWN),
        (sides(row(Name="Ada"), entry(Standing.SENDING, Name="Ada"), held(Name="Eve")), Kind.UNKNOWN),
        (sides(row(Name="Ada", Count=1), entry(Name="Ada", Count=2), held(Name="Eve", Count=2)), Kind.CONFLICT),
        (sides(row(Name="Ada", Count=1), entry(Name="Ada"), held(Name="Eve", Count=2)), Kind.EDITED),
        (sides(row(Name=None), entry(Name="Ada"), held(Name="Ada")), Kind.STALE),
        (sides(row(Name="Ada"), entry(Name=None), held(Name=None)), Kind.STALE),
        (sides(row(Count=7), entry(Count=7), held(Count=7.0)), None),
        (
            sides(
                row(At="2026-01-02T03:00:00+00:00"),
                entry(At="2026-01-01T03:00:00+00:00"),
                held(At="2026-01-01T04:00:00+01:00"),
            ),
            Kind.STALE,
        ),
        (sides(row(Theirs="x"), entry(), held(Theirs="y")), None),
        (sides(row(Elsewhere="x"), entry(), held()), None),
        (sides(row(Name="Ada"), entry(crm_id="2", Name="Ada"), held("1", Name="Ada")), Kind.EDITED),
        (sides(row(Name="Ada"), entry(Name="Ada")), Kind.MISSING),
        (sides(row(Name="Ada"), None), Kind.MISSING),
        (sides(row(Name="Ada"), entry(Name="Ada"), held("1"), held("2")), Kind.DUPLICATE),
        (sides(None, None, held()), Kind.ORPHAN),
        (sides(None, entry(), held()), Kind.ORPHAN),
        (sides(None, entry()), None),
    ],
)
def test_a_record(case: Sides, kind: Kind | None) -> None:
    found = classify(feed(), case, MEASURES)
    assert (None if found is None else found.kind) == kind


def test_a_field_says_what_was_last_sent_and_shows_no_value() -> None:
    found = classify(feed(), sides(row(Name="Ada", Count=1), entry(Name="Ada", Count=2), held(Name="Eve")), MEASURES)
    assert found is not None
    assert [(one.name, one.kind, one.ledger) for one in found.fields] == [
        ("Name", Kind.EDITED, "equal to source"),
        ("Count", Kind.CONFLICT, "neither"),
    ]
    assert found.is_fixable
    assert "Ada" not in repr(found)
    assert "Eve" not in repr(found)


def test_a_record_under_another_id_is_named() -> None:
    found = classify(feed(), sides(row(Name="Ada"), entry(crm_id="2", Name="Ada"), held("1", Name="Ada")), MEASURES)
    assert found is not None
    assert [one.name for one in found.fields] == [THE_RECORD]


def test_of_an_event_only_its_presence_counts() -> None:
    event = feed(once="event", owners={}, gone="keep")
    assert classify(event, sides(row(Name="Ada"), entry(Name="Ada"), held(Name="Eve")), MEASURES) is None
    assert classify(event, sides(None, entry(), held()), MEASURES) is None, "it was sent, and what was sent stays"
    deleted = classify(event, sides(row(Name="Ada"), entry(Name="Ada")), MEASURES)
    assert deleted is not None
    assert (deleted.kind, deleted.is_fixable) == (Kind.MISSING, False)
    never_sent = classify(event, sides(row(Name="Ada"), None), MEASURES)
    assert never_sent is not None
    assert never_sent.is_fixable


def test_what_is_theirs_is_named_and_no_difference() -> None:
    assert theirs_differing(feed(), row(Name="Ada", Theirs="x"), held(Name="Eve", Theirs="y"), MEASURES) == ["Theirs"]
    assert theirs_differing(feed(), row(Theirs="x"), held(Theirs="x"), MEASURES) == []
