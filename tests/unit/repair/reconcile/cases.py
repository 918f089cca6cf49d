"""Feeds, sides and reports to build cases from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdc.delivery.planner import field_hash
from cdc.repair.reconcile.classify import Measures, Present, Sides
from cdc.repair.reconcile.differences import Difference, FieldDifference, Kind
from cdc.repair.reconcile.report import FeedReport, Report
from cdc.routing.feeds import Feed, parse_profile
from cdc.state.reconciles import ReconcileRun
from cdc.state.records import LedgerEntry, Standing
from sinks.base import FieldValue
from sinks.scan import Scanned
from sinks.zoho.reading import forms_of, same_value

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
COLUMNS = ("Name", "Count", "At", "Theirs")


def feed(**changes: Any) -> Feed:
    raw = {
        "sink": "zoho.contacts",
        "view": "v",
        "key": "id",
        "gone": "delete",
        "owners": {"Theirs": "theirs"},
        "watch": {"people": {"key": "id"}},
        **changes,
    }
    return parse_profile("p", Path("p"), {"people": raw}).feeds["people"]


def digest(name: str, value: FieldValue) -> str:
    return field_hash(KEY, name, value)


MEASURES = Measures(
    same=lambda _, ours, theirs: same_value(ours, theirs),
    forms=forms_of,
    digest=digest,
    columns=frozenset(COLUMNS),
)


def row(**fields: FieldValue) -> Present:
    return Present("a", "a", None, fields)


def entry(standing: Standing = Standing.SENT, crm_id: str = "1", **sent: FieldValue) -> LedgerEntry:
    hashes = {name: digest(name, value) for name, value in sent.items()}
    return LedgerEntry(record_id="a", key="a", standing=standing, crm_id=crm_id, field_hashes=hashes)


def held(crm_id: str = "1", **fields: object) -> Scanned:
    return Scanned(crm_id=crm_id, record_id="a", fields=fields)


def sides(present: Present | None, known: LedgerEntry | None, *found: Scanned) -> Sides:
    return Sides("a", present, known, found)


RUN = ReconcileRun(
    slot="s", kind="report", requested_by="a test", started_at=NOW, verdict="differs", complete=True,
    barrier_lsn="0/1", compared=1_000, differing=2, fixed=0, remaining=0, counts={}, crm_counts={"people": 1_000},
    credits_before=50_000, credits_planned=8, credits_used=7, mapping="m",
)  # fmt: skip


def report(*differences: Difference, **changes: Any) -> Report:
    counts = Counter(one.kind for one in differences)
    fields = Counter(field.name for one in differences for field in one.fields)
    people = FeedReport(
        feed="people", compared=1_000, crm_count=1_000, is_complete=True, note="", counts=counts, fields=fields,
        theirs={"Theirs": 3},
    )  # fmt: skip
    made = Report(
        run=replace(RUN, differing=len(differences)), before=replace(RUN, counts={"people": {"missing": 4}}),
        feeds=[people], differences=differences, merges=(), spent={"scan": 5, "counts": 2}, seconds=41.2,
        marked=frozenset(), left=(), remaining=(), planned=0,
    )  # fmt: skip
    return replace(made, **changes)


EDITED = Difference(
    feed="people", kind=Kind.EDITED, record_id="a", key="a", crm_ids=["1"], forced=True,
    fields=[FieldDifference("Name", Kind.EDITED, "Ada", "=cmd|' /C calc'!A0", "equal to source")],
)  # fmt: skip
ORPHAN = Difference(feed="people", kind=Kind.ORPHAN, record_id="<script>|*x*", crm_ids=["2"])
