"""report.md: for an issue or a channel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cdc.repair.reconcile.differences import MEANINGS, Kind
from cdc.repair.reconcile.plan import Left
from cdc.repair.reconcile.report import Report, action, change, commands, counts_line, facts, verdict

_MARKS: Final = re.compile(r"[\\`*_{}\[\]<>()#|!~]")
SHOWN: Final = 200
"""Differences that the reports for people list; the file differences.csv has all that are kept."""


def as_markdown(report: Report) -> str:
    """Write the report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield "# Reconcile"
    yield ""
    yield f"**{verdict(report)}**"
    yield ""
    yield counts_line(report)
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for name, words in facts(report):
        yield f"| {name} | {words} |"
    yield from _section("Next", [f"- {words}" for words in commands(report)])
    yield from _section("Not put right by itself, because", [f"- {words}" for words in report.run.held_back])
    yield from _section("Feeds", list(_feeds(report)))
    yield from _section("Counts", list(_counts(report)))
    fields = [f"| {feed} | {name} | {count:,} |" for feed, name, count in report.fields]
    yield from _section(
        "Fields that differ", ["| feed | field | records |", "| --- | --- | ---: |", *fields] if fields else []
    )
    yield from _section("Differences", list(_differences(report)))
    yield from _section("Duplicates", list(_merges(report)))
    yield from _section("Left alone when looked at again", [_left(one) for one in report.left])
    yield from _section("Sent anew, and still different", [_left(one) for one in report.remaining])


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"## {title}"
        yield ""
        yield from lines


def _left(one: Left) -> str:
    return f"- {one.fix.feed} {_cell(one.fix.record_id)}: {one.why}"


def _cell(text: str | None) -> str:
    """Let a text into a table: ids come from the CRM too, where people type."""
    return _MARKS.sub(r"\\\g<0>", " ".join((text or "").split()))


def _feeds(report: Report) -> Iterator[str]:
    yield "| feed | compared | in the CRM | complete | |"
    yield "| --- | ---: | ---: | --- | --- |"
    for feed in report.feeds:
        count = "" if feed.crm_count is None else f"{feed.crm_count:,}"
        theirs = ", ".join(f"{name} {n:,}" for name, n in sorted(feed.theirs.items()))
        note = "; ".join(part for part in (feed.note, theirs and f"theirs, and other than ours: {theirs}") if part)
        yield f"| {feed.feed} | {feed.compared:,} | {count} | {'yes' if feed.is_complete else 'no'} | {note} |"


def _counts(report: Report) -> Iterator[str]:
    yield "| kind | records | since the last run | meaning |"
    yield "| --- | ---: | ---: | --- |"
    for kind, count in report.counts.items():
        yield f"| {kind.value} | {count:,} | {change(count, report.was(kind))} | {MEANINGS[kind]} |"


def _differences(report: Report) -> Iterator[str]:
    shown = report.differences[:SHOWN]
    if not shown:
        return
    yield "| feed | kind | record | in the CRM | fields | so |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in shown:
        fields = ", ".join(
            f"{field.name} ({field.kind.value})" if one.kind is Kind.CONFLICT else field.name for field in one.fields
        )
        so = ": ".join(part for part in (action(report, one), one.why) if part)
        yield f"| {one.feed} | {one.kind.value} | {_cell(one.record_id)} | {', '.join(one.crm_ids)} | {fields} | {so} |"
    if report.run.differing > len(shown):
        yield ""
        yield f"{report.run.differing - len(shown):,} more: differences.csv has up to 10,000 of each feed."


def _merges(report: Report) -> Iterator[str]:
    for plan in report.merges:
        yield (
            f"- {plan.feed} {_cell(plan.record_id) or 'alike'}: keep {plan.master} ({plan.because}), merge in "
            f"{', '.join(plan.others)}. {plan.calls} call{'s' if plan.calls != 1 else ''} to merge, 50 credits each."
            + (" A suggestion only: they are known by the same, and may be two people." if plan.is_suggestion else "")
        )
        kept = [f"{name} from {holder}" for name, holder in plan.survives.items() if holder != plan.master]
        yield f"  Values: the master's where it has any{'; ' + ', '.join(kept) if kept else ''}."
