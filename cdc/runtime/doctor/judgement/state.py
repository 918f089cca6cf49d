"""Our own tables: what they say of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg import sql

from cdc.runtime.doctor.finding import Finding, Findings, ok, problem, warning
from cdc.runtime.doctor.judgement.words import listed, size, span
from cdc.state.control import BULK_SCOPE, EVERYTHING, Pause
from cdc.state.gaps import GAP_UNDECIDED, HOLD_REASONS, Gap
from cdc.state.outbox import Counts
from cdc.watch.condition import resumed_by
from sinks.reasons import Reason

_OLD_SECONDS: Final = 900.0
_HOUR: Final = timedelta(hours=1)
_DEAD_ROWS: Final = 50_000
_NEARLY: Final = 0.95


def capturing(captors: Sequence[str], holder: int | None, *, is_set_up: bool) -> Findings:
    """Judge who captures.

    Args:
        captors: processes with the role capture that were heard of lately, as `host pid`.
        holder: the database session that holds the lock of the slot; None if nobody does.
        is_set_up: there is a stored position.
    """
    if holder is None:
        what = "nobody captures" if is_set_up else "nobody has captured yet"
        return [warning(what, why="the slot keeps WAL until somebody reads it", fix="cdc run")]
    standing_by = max(0, len(captors) - 1)
    more = f", and {standing_by} stand by" if standing_by else ", and nobody stands by"
    return ok(f"one process captures{more}: {listed(captors) or 'its heartbeat is missing'}")


def delivering(workers: Sequence[str], waiting: int, *, enabled: bool) -> Findings:
    """Judge who delivers.

    Args:
        workers: processes that were heard of lately.
        waiting: dirty keys.
        enabled: as ZOHO_SYNC_ENABLED.
    """
    if not enabled:
        return [
            warning(
                f"ZOHO_SYNC_ENABLED is false; {waiting} keys wait",
                why="nothing is delivered",
                fix="export ZOHO_SYNC_ENABLED=true",
            )
        ]
    if workers:
        return ok(f"{len(workers)} deliver: {listed(workers)}")
    if not waiting:
        return ok("nobody delivers, and nothing waits")
    return [warning(f"nobody delivers, and {waiting} keys wait", why="the CRM falls behind", fix="cdc run")]


def outbox(counts: Sequence[Counts], now: datetime) -> Findings:
    """Judge how old the oldest change is that has yet to be delivered."""
    waiting = sum(c.due + c.gathering + c.in_flight + c.retrying for c in counts)
    oldest = min((c.oldest for c in counts if c.oldest is not None), default=None)
    if oldest is None or not waiting:
        return ok("nothing waits")
    age = (now - oldest).total_seconds()
    words = f"{waiting} keys wait, the oldest for {span(age)}"
    if age <= _OLD_SECONDS:
        return ok(words)
    why = "the CRM shows what was true then"
    return [warning(words, why=why, fix="cdc worker  # one more; `cdc status` shows pauses and credits")]


def parked(counts: Sequence[tuple[str, str, int]]) -> Findings:
    """Judge keys that failed for good, by feed and reason."""
    found: list[Finding] = []
    for feed, name, count in counts:
        if name in {"HELD_BY_BREAKER", "REJECTED"}:
            continue
        known = Reason.__members__.get(name)
        meaning = f" {known.meaning} {known.hint}" if known else ""
        found.append(
            warning(
                f"{count} parked in {feed}: {name}",
                why=f"they are not delivered until their data change or a person acts.{meaning}",
                fix=f"cdc failures retry --feed {feed} --reason {name}  # once the cause is gone",
            )
        )
    return found or ok("nothing is parked")


def held(counts: Mapping[str, int]) -> Findings:
    """Judge keys that the breaker holds, by feed."""
    why = "so many withdrawals or rewrites at once may be a TRUNCATE, a bad view or a restored database"
    return [
        warning(
            f"the breaker holds {count} of {feed}",
            why=why,
            fix=f"cdc held show {feed}\ncdc held approve {feed}  # or: cdc held reject {feed} --because …",
        )
        for feed, count in counts.items()
    ] or ok("the breaker holds nothing")


def paused(pauses: Sequence[Pause], now: datetime) -> Findings:
    """Judge pauses."""
    found = []
    for pause in pauses:
        known = Reason.__members__.get(pause.reason)
        scope = "everything" if pause.scope == EVERYTHING else pause.scope
        ends = "until it is mended" if pause.actor is None else f"by {pause.actor} until it is resumed"
        until = f"for {span(max(0.0, (pause.until - now).total_seconds()))}" if pause.until else ends
        why = known.meaning if known else "nothing of it is delivered meanwhile; nothing is lost"
        what = f"{scope} is paused {until}: {pause.reason}" + (f" ({pause.detail})" if pause.detail else "")
        found.append(warning(what, why=why, fix=_resume(pause, known)))
    return found or ok("nothing is paused")


def _resume(pause: Pause, known: Reason | None) -> str:
    if pause.actor is not None or pause.scope == BULK_SCOPE:
        return resumed_by(pause.scope)
    if pause.reason == GAP_UNDECIDED:
        return "cdc slot repair"
    if pause.reason in HOLD_REASONS:
        return "cdc run  # it ends with the comparison that is under way"
    if known is not None:
        return known.hint
    text = sql.SQL("DELETE FROM cdc.control WHERE scope = {};").format(sql.Literal(pause.scope)).as_string(None)
    return f"{text}\nSELECT pg_notify('cdc_outbox', '');"


def gaps(found: Sequence[Gap]) -> Findings:
    """Judge gaps that are open."""
    still = [gap for gap in found if gap.repaired_at is None]
    return [
        (problem if gap.is_undecided else warning)(
            f"gap {gap.id} is open: {gap.meaning}",
            why="what was written in it is not delivered until everything was compared",
            fix="cdc slot repair" if gap.is_undecided else "cdc run  # sweeps and closes it",
        )
        for gap in still
    ] or ok(f"{len(found)} gaps on record, all closed" if found else "there has been no gap")


@dataclass(frozen=True, slots=True)
class Journal:
    """How far the journal reaches.

    Attributes:
        since: from where on it is whole; None if no span of it is open.
        began_at: when its open span began.
        bytes: of its chunks.
        limit: bytes that it may take.
        keep: how long its chunks are kept.
    """

    since: datetime | None
    began_at: datetime | None
    bytes: int
    limit: int
    keep: timedelta


def journal(found: Journal, now: datetime) -> Findings:
    """Judge how far back a replay can go."""
    if found.since is None or found.began_at is None:
        why = "a replay needs an unbroken stretch of the journal"
        return [warning("no stretch of the journal is being written", why=why, fix="cdc run")]
    reach = now - found.since
    words = f"replays reach back {span(max(0.0, reach.total_seconds()))}; it takes {size(found.bytes)}"
    wanted = min(found.keep, now - found.began_at)
    if found.bytes >= _NEARLY * found.limit and reach < wanted - _HOUR:
        more = found.limit * 2 // (1 << 20)
        why = f"its size ends it before the {span(found.keep.total_seconds())} of CDC_JOURNAL_DAYS"
        return [warning(words, why=why, fix=f"export CDC_JOURNAL_MB={more}")]
    return ok(words)


def tables(found: Sequence[tuple[str, int, int, int]]) -> Findings:
    """Judge the size of our tables.

    Args:
        found: (name, bytes, live rows, dead rows), the largest first.
    """
    bloated = [name for name, _, live, dead in found if dead > _DEAD_ROWS and dead > 2 * live]
    if bloated:
        why = "autovacuum doesn't keep up: claims read dead rows before live ones"
        return [
            warning(f"cdc.{name} holds mostly dead rows", why=why, fix=f"VACUUM (ANALYZE) cdc.{name};")
            for name in bloated
        ]
    largest = listed([f"{name} {size(count)}" for name, count, _, _ in found], 3)
    return ok(f"{size(sum(count for _, count, _, _ in found))} in all: {largest}")


def housekeeping(oldest: datetime | None, keep: timedelta, now: datetime, *, captures: bool) -> Findings:
    """Judge whether what is past its time is removed.

    Args:
        oldest: of the samples of the slot.
        keep: how long they are kept.
        now: by the database's clock.
        captures: somebody captures, and so ought to keep house.
    """
    if oldest is None or now - oldest <= keep + _HOUR:
        return ok("nothing is kept beyond its time")
    if not captures:
        return ok("it goes on with the next `cdc run`")
    late = (now - oldest - keep).total_seconds()
    what = f"samples of the slot are kept {span(late)} too long"
    why = "the pipeline removes what is past its time every ten minutes, and hasn't"
    return [warning(what, why=why, fix="cdc run  # start it anew; its log says housekeeping_interrupted and why")]
