"""Gathers one record's story: journal, outbox, plan, ledger, sync log, and the record in the CRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

from cdc.delivery.planner import Plan, Planned
from cdc.errors import CdcError, ConfigError
from cdc.routing.feeds import Feed, Lane, Profile, qualified
from cdc.runtime import comparing
from cdc.runtime.comparing import Case, compare, differing
from cdc.runtime.story import Call, Change, Dirty, InCrm, InView, Pair, Searched, Standing, Step, Story
from cdc.state import journal
from cdc.state.control import EVERYTHING, pauses
from cdc.state.journal import RetentionOvertook, Span
from cdc.state.truth import Truth
from cdc.wire.messages import time_of
from cdc.wire.search import find_entries
from sinks.base import Action, Readable
from sinks.errors import SinkError

_CHANGES_SHOWN: Final = 50
_CALLS_SHOWN: Final = 50
_BATCH: Final = 200_000
_EVER: Final = 2**62


async def find_feed(
    source: AsyncConnection[Any], state: AsyncConnection[Any], profile: Profile, name: str
) -> tuple[Feed, str]:
    """Find the one feed that knows a key, a record id or a CRM id.

    Returns:
        The feed, and the key.

    Raises:
        ConfigError: if several feeds know it, or none.
    """
    cursor = await state.execute(
        "select feed, key from cdc.ledger where feed = any(%(feeds)s) and (key = %(name)s or record_id = %(name)s"
        " or crm_id = %(name)s) union select feed, key from cdc.outbox where feed = any(%(feeds)s) and key = %(name)s",
        {"feeds": list(profile.feeds), "name": name},
    )
    found = set(await cursor.fetchall())
    for feed in profile.feeds.values():
        if await (await Truth.open(source, feed)).present(source, [name]):
            found.add((feed.name, name))
    if len(found) == 1:
        [(feed_name, key)] = found
        return profile.feeds[feed_name], key
    feeds = sorted({feed_name for feed_name, _ in found}) or list(profile.feeds)
    known = "is known in several feeds" if found else "is known in no feed"
    raise ConfigError(f"{name} {known}", fix=f"say which one, of {', '.join(feeds)}: `cdc explain FEED {name}`")


async def explain(
    source: AsyncConnection[Any],
    state: AsyncConnection[Any],
    slot: str,
    feed: Feed,
    key: str,
    hash_key: bytes,
    sink: Readable | None,
    *,
    with_journal: bool = True,
) -> Story:
    """Gather all that is known of a key.

    Args:
        source: a connection in UTC.
        state: to the state.
        slot: whose journal is searched.
        feed: the key's.
        key: as text; it need not have been seen by anybody.
        hash_key: keys the ledger's hashes.
        sink: that holds the record; None to leave the CRM out.
        with_journal: look for its changes; that reads the whole journal.

    Raises:
        ProfileError: if the view can't be read.
        CdcError: if the CRM can't be asked.
    """
    dirty, slow_due = await _dirty(state, feed, key)
    standing = comparing.Standing(
        lane=Lane.LIVE if dirty is None else Lane(dirty.lane), slow_due=slow_due, forced=bool(dirty and dirty.forced)
    )
    truth = await Truth.open(source, feed)
    case = (await compare(source, state, truth, [key], hash_key, standing))[key]
    records = {key, *(e.record_id for e in case.entries), *(r.event_id for r in case.rows if r.event_id is not None)}
    return Story(
        feed=feed.name,
        key=key,
        view=feed.view,
        searched=await _search(state, slot, feed, key) if with_journal else None,
        dirty=dirty,
        in_view=bool(case.rows) or bool(case.plan.refused),
        steps=_steps(feed, case),
        ledger=[Standing(e.record_id, e.standing.value, e.crm_id, e.parent_id) for e in case.entries],
        calls=await _calls(state, feed, records),
        pauses=await _pauses(state, feed),
        in_crm=None if sink is None else await _in_crm(sink, feed, key, case),
        rows=[InView(row.event_id or row.key, row.fields) for row in case.rows],
    )


async def _search(state: AsyncConnection[Any], slot: str, feed: Feed, key: str) -> Searched:
    columns = {qualified(table): frozenset(watch.keys) for table, watch in feed.watch.items()}
    spans = await journal.spans(state, slot)
    changes: list[Change] = []
    for span in spans:
        changes += await _search_span(state, slot, span, columns, key)
    return Searched(changes[-_CHANGES_SHOWN:], len(changes), spans[0].from_time if spans else None)


async def _search_span(
    state: AsyncConnection[Any], slot: str, span: Span, columns: Mapping[str, frozenset[str]], key: str
) -> list[Change]:
    found: list[Change] = []
    cursor = span.after_chunk
    last = _EVER if span.to_chunk is None else span.to_chunk
    with suppress(RetentionOvertook):  # what it removes is no longer the journal's to tell
        while chunks := await journal.read_chunks(state, slot, span.id, after=cursor, last=last, changes=_BATCH):
            for chunk in chunks:
                for entry in find_entries(chunk.body, journal.parse_relations(chunk.relations), columns, key):
                    at = time_of(entry.commit_time)
                    found.append(Change(str(entry.commit_lsn), at, entry.relation.table, entry.kind))
            cursor = chunks[-1].id
    return found


async def _dirty(state: AsyncConnection[Any], feed: Feed, key: str) -> tuple[Dirty | None, bool]:
    """Give the outbox row, and whether the time of fields that may wait has come."""
    cursor = state.cursor(row_factory=class_row(Dirty))
    await cursor.execute(
        "select lane, due_at, dirty_at, first_lsn::text, last_lsn::text, forced, attempts, deferred_until,"
        " case when claimed_until > now() then claimed_by end as claimed_by, parked_at, reason, detail"
        " from cdc.outbox where feed = %s and key = %s",
        [feed.name, key],
    )
    found = await cursor.fetchone()
    if found is None or found.deferred_until is None:
        return found, False
    row = await (await state.execute("select now() >= %s", [found.deferred_until])).fetchone()
    return found, bool(row and row[0])


def _steps(feed: Feed, case: Case) -> list[Step]:
    plan: Plan = case.plan
    steps = [_operation(p, case) for p in plan.planned]
    steps += [
        Step("refuse", r.record_id, () if r.field is None else (r.field,), f"{r.reason.name} {r.detail}".strip())
        for r in plan.refused
    ]
    steps += [
        Step("wait", plan.key, detail=f"{feed.needs} {parent} is not in the CRM") for parent in sorted(plan.missing)
    ]
    if plan.defer_to is not None:
        steps.append(Step("defer", plan.key, detail=f"only fields differ that may wait: lane {plan.defer_to.value}"))
    if not steps:
        steps.append(Step("nothing", plan.key, detail="equal" if case.rows else "not in the view"))
    return steps


def _operation(planned: Planned, case: Case) -> Step:
    fields = tuple(differing(planned, case.entries))
    action = planned.operation.action
    forced = action is Action.UPDATE and not fields
    return Step(action.value, planned.operation.record_id, fields, "equal, and sent all the same" if forced else "")


async def _calls(state: AsyncConnection[Any], feed: Feed, records: set[str]) -> list[Call]:
    cursor = state.cursor(row_factory=class_row(Call))
    await cursor.execute(
        "select * from (select coalesce(synced_at, created_at) as at, action, status, record_id, reason,"
        " error_message as message, attempts, lsn::text, latency_ms from cdc.zoho_sync_log"
        " where sync_type = %s and record_id = any(%s) order by 1 desc limit %s) as newest order by at",
        [feed.name, list(records), _CALLS_SHOWN],
    )
    return await cursor.fetchall()


async def _pauses(state: AsyncConnection[Any], feed: Feed) -> dict[str, str]:
    scopes = {EVERYTHING, feed.name, feed.sink.partition(".")[0]}
    return {pause.scope: pause.reason for pause in await pauses(state) if pause.scope in scopes}


async def _in_crm(sink: Readable, feed: Feed, key: str, case: Case) -> list[InCrm]:
    """Read what the CRM holds of each record of the key; one credit each."""
    rows = {row.event_id if feed.once else row.key: row for row in case.rows}
    ids = {entry.record_id: entry.crm_id for entry in case.entries}
    wanted: Sequence[str] = list(dict.fromkeys([*ids, *(r for r in rows if r is not None)])) or [key]
    found = []
    for record_id in wanted:
        row = rows.get(record_id)
        fields = {} if row is None else row.fields
        try:
            held = await sink.read(record_id, ids.get(record_id), list(fields))
        except SinkError as error:
            raise CdcError(
                f"the CRM can't be asked: {error}", fix=f"{error.reason.hint} Or leave it out: --offline"
            ) from None
        pairs = [] if held is None else [
            Pair(name, value, held.fields.get(name), sink.same(name, value, held.fields.get(name)))
            for name, value in fields.items()
        ]  # fmt: skip
        found.append(InCrm(record_id, ids.get(record_id) if held is None else held.crm_id, held is not None, pairs))
    return found
