"""Who stays, whose values survive, and how many merges it takes."""

from __future__ import annotations

import pytest

from cdc.repair.reconcile.duplicates import Candidate, merge_plan


def one(crm_id: str, *, ledger: bool = False, ours: bool = False, activities: int = 0, **fields: object) -> Candidate:
    return Candidate(crm_id=crm_id, in_ledger=ledger, has_identity=ours, activities=activities, fields=fields)


@pytest.mark.parametrize(
    ("group", "master", "because"),
    [
        ([one("1", ours=True, activities=9), one("2", ledger=True)], "2", "it is the one in our ledger"),
        ([one("1", activities=9), one("2", ours=True)], "2", "it bears our id"),
        ([one("1"), one("2", activities=1)], "2", "it has the most activities"),
        ([one("12"), one("9")], "9", "it is the oldest"),
    ],
)
def test_who_stays(group: list[Candidate], master: str, because: str) -> None:
    plan = merge_plan("people", "a", group, at_once=2, is_suggestion=False)
    assert (plan.master, plan.because) == (master, because)


def test_a_value_comes_from_the_first_who_has_one() -> None:
    group = [
        one("1", ledger=True, Name="Ada", Phone=None),
        one("2", Name="Eve", Phone=""),
        one("3", Phone="3", Fax=None),
    ]
    plan = merge_plan("people", "a", group, at_once=2, is_suggestion=True)
    assert plan.others == ["2", "3"]
    assert plan.survives == {"Name": "1", "Phone": "3"}


@pytest.mark.parametrize(("size", "calls"), [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_two_at_a_time(size: int, calls: int) -> None:
    group = [one(str(n)) for n in range(size)]
    assert merge_plan("people", "a", group, at_once=2, is_suggestion=False).calls == calls
