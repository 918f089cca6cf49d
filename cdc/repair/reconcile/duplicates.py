"""How duplicates would be merged: who stays, which value survives, and what it costs. A plan, which people carry out.

A merge in Zoho takes a master and at most two others, keeps the master's values where it has any, and deletes the
others. https://www.zoho.com/crm/developer/docs/api/v8/merge-records.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MergePlan:
    """How one group would be merged.

    Attributes:
        master: the record that stays.
        others: the records that go, in the order in which their values count.
        because: why the master is the master.
        survives: by field the record whose value stays; fields that are empty everywhere are left out.
        calls: merges that it takes.
        is_suggestion: the records are alike and may be two people.
    """

    feed: str
    record_id: str | None
    master: str
    others: Sequence[str]
    because: str
    survives: Mapping[str, str]
    calls: int
    is_suggestion: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """One record of a group.

    Attributes:
        in_ledger: the ledger knows it by its CRM id.
        has_identity: it bears our id.
        activities: what hangs on it.
    """

    crm_id: str
    in_ledger: bool
    has_identity: bool
    activities: int
    fields: Mapping[str, Any]


def merge_plan(
    feed: str, record_id: str | None, group: Collection[Candidate], *, at_once: int, is_suggestion: bool
) -> MergePlan:
    """Plan the merge of a group: in our ledger before bearing our id before the most activities before the oldest."""
    ranked = sorted(
        group, key=lambda one: (not one.in_ledger, not one.has_identity, -one.activities, int(one.crm_id), one.crm_id)
    )
    master, others = ranked[0], ranked[1:]
    names = dict.fromkeys(name for one in ranked for name in one.fields)
    holders = {
        name: next((one.crm_id for one in ranked if one.fields.get(name) not in (None, "")), None) for name in names
    }
    return MergePlan(
        feed=feed,
        record_id=record_id,
        master=master.crm_id,
        others=[one.crm_id for one in others],
        because=_because(master, others),
        survives={name: holder for name, holder in holders.items() if holder is not None},
        calls=-(-len(others) // at_once) if at_once else 0,
        is_suggestion=is_suggestion,
    )


def _because(master: Candidate, others: Sequence[Candidate]) -> str:
    if master.in_ledger and not all(one.in_ledger for one in others):
        return "it is the one in our ledger"
    if master.has_identity and not all(one.has_identity for one in others):
        return "it bears our id"
    if any(one.activities < master.activities for one in others):
        return "it has the most activities"
    return "it is the oldest"
