"""Ways to break the pipeline on purpose, each of them one guarantee less. The machine must find every one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from cdc.delivery import batch, conclude, prepare
from cdc.lsn import Lsn
from cdc.repair import sweep
from cdc.routing import collector
from cdc.source import session
from cdc.state import capture, claims, ledger, outbox, settle, synclog

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]
MUTANTS: Final[dict[str, Mutant]] = {}


def _mutant(make: Mutant) -> Mutant:
    MUTANTS[make.__name__.replace("_", " ").strip()] = make
    return make


def _text(patch: Patch, module: Any, name: str, old: str, new: str) -> None:
    """Change a statement's text; it must hold what is to be changed."""
    text = getattr(module, name)
    assert re.search(old, text), f"{name} has no {old!r} any more"
    patch.setattr(module, name, re.sub(old, new, text))


async def _nothing(*_: Any, **__: Any) -> None:
    return None


# -- capture -----------------------------------------------------------------------------------------------------------


@_mutant
def acknowledge_before_storing(patch: Patch) -> None:
    async def store_group(self: Any) -> None:
        progress = self.collector.progress
        await self._source.execute(
            "select pg_replication_slot_advance(%s, %s::pg_lsn) from pg_replication_slots"
            " where slot_name = %s and confirmed_flush_lsn < %s::pg_lsn",
            [self.config.slot, str(progress.lsn), self.config.slot, str(progress.lsn)],
        )
        await original(self)

    original = session.Session.store_group
    patch.setattr(session.Session, "store_group", store_group)


@_mutant
def store_what_nobody_sees_yet(patch: Patch) -> None:
    patch.setattr(session, "wait_until_visible", _nothing)


@_mutant
def move_the_position_before_the_group_is_stored(patch: Patch) -> None:
    async def record(self: Any, group: Any) -> None:
        await self.advance(group.progress)
        await original(self, group)

    original = capture.CaptureStore.record
    patch.setattr(capture.CaptureStore, "record", record)


@_mutant
def forget_the_position_inside_a_transaction(patch: Patch) -> None:
    def init(self: Any, routes: Any, start: Any) -> None:
        original(self, routes, replace(start, open_lsn=None, open_changes=0))

    original = collector.Collector.__init__
    patch.setattr(collector.Collector, "__init__", init)


@_mutant
def count_a_transaction_in_part_as_whole(patch: Patch) -> None:
    def progress(self: Any) -> Any:
        found = original.fget(self)
        return found if found.open_lsn is None else replace(found, lsn=Lsn(found.open_lsn + 1), open_lsn=None)

    original: Any = collector.Collector.progress
    patch.setattr(collector.Collector, "progress", property(progress))


@_mutant
def overlook_a_truncate(patch: Patch) -> None:
    _text(patch, capture, "_TRUNCATED", r"feed = any\(%\(truncated\)s\)", "false and feed = any(%(truncated)s)")


@_mutant
def let_a_truncate_forget_keys_in_flight(patch: Patch) -> None:
    _text(
        patch,
        capture,
        "_TRUNCATED",
        r"union select feed, key from cdc.outbox where",
        "union select feed, key from cdc.outbox where false and",
    )


# -- claims and settling -----------------------------------------------------------------------------------------------


@_mutant
def claim_what_another_holds(patch: Patch) -> None:
    _text(patch, claims, "_CLAIM_SQL", r"and \(o.claimed_until is null or o.claimed_until <= now\(\)\)", "")


@_mutant
def claim_what_is_paused(patch: Patch) -> None:
    _text(patch, claims, "_CLAIM_SQL", r"where %\(probing\)s or not", "where true or %(probing)s or not")


@_mutant
def settle_without_the_generation(patch: Patch) -> None:
    _text(patch, settle, "_DONE_SQL", r"and o.generation = v.generation", "")


@_mutant
def settle_without_the_lease(patch: Patch) -> None:
    _text(patch, settle, "_LOCK_SQL", r"where claimed_by = .*", "")


@_mutant
def settle_although_another_of_ours_took_over(patch: Patch) -> None:
    _text(patch, settle, "_LOCK_SQL", r"and claimed_until = %\(claimed_until\)s", "")


@_mutant
def leave_the_generation_as_it_is(patch: Patch) -> None:
    for module, name in ((outbox, "MARK_SQL"), (capture, "_RECORD")):
        _text(patch, module, name, r"generation = excluded.generation,", "")


@_mutant
def call_when_the_lease_is_out(patch: Patch) -> None:
    patch.setattr(batch.Batch, "_seconds_left", lambda _: 1e9)


@_mutant
def let_no_key_rest_after_a_lost_answer(patch: Patch) -> None:
    patch.setattr(conclude, "_rest", lambda *_: 0.0)


# -- the ledger --------------------------------------------------------------------------------------------------------


@_mutant
def send_without_writing_it_down(patch: Patch) -> None:
    async def mark_sending(_: Any, prepared: Any) -> frozenset[str]:
        return frozenset(p.operation.record_id for _, p in prepared.planned(prepare.Action.CREATE))

    patch.setattr(prepare, "_mark_sending", mark_sending)


@_mutant
def take_back_sending_although_it_may_have_gone(patch: Patch) -> None:
    def not_answered(planned: Any, _: Any, result: Any) -> None:
        result.unsent.append(planned.operation.record_id)

    patch.setattr(conclude, "_not_answered", not_answered)


@_mutant
def change_without_a_doubt(patch: Patch) -> None:
    patch.setattr(prepare, "_mark_doubtful", _nothing)


@_mutant
def leave_orphans_with_their_parent(patch: Patch) -> None:
    _text(patch, ledger, "_ORPHAN_SQL", r"where g.feed = any\(%\(feeds\)s\)", "where false and g.feed = any(%(feeds)s)")


@_mutant
def ring_for_no_children(patch: Patch) -> None:
    def marks(self: Any, concluded: Any, orphans: Any) -> Any:
        return original(self, replace(concluded, created=[]), orphans)

    original = batch.Batch._marks
    patch.setattr(batch.Batch, "_marks", marks)


@_mutant
def overlook_children(patch: Patch) -> None:
    async def none(*_: Any) -> list[str]:
        return []

    patch.setattr(ledger, "overlooked_keys", none)


@_mutant
def send_under_a_parent_that_has_left(patch: Patch) -> None:
    _text(patch, ledger, "_SENDING_SQL", r"and p.state = 'sent'", "")


# -- breaker and sweep -------------------------------------------------------------------------------------------------


@_mutant
def let_every_withdrawal_pass(patch: Patch) -> None:
    _text(patch, synclog, "_RECENT_SQL", r"count\(distinct record_id\)", "-1000000::bigint")


@_mutant
def drop_a_key_that_is_parked(patch: Patch) -> None:
    _text(patch, settle, "_DONE_SQL", r"v.fate = 'done'", "v.fate in ('done', 'park')")


@_mutant
def sweep_and_unmark(patch: Patch) -> None:
    async def mark(conn: Any, marks: Any) -> None:
        await conn.execute("delete from cdc.outbox where key = any(%s)", [[m.key for m in marks]])

    patch.setattr(sweep, "mark", mark)
