"""The database with the cdc tables, and what they say of the pipeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql

from cdc.errors import CdcError, ConfigError, SourceUnavailable
from cdc.runtime.doctor.examination import Examination, rows, scalar
from cdc.runtime.doctor.finding import Finding, Findings, from_error, ok, problem
from cdc.runtime.doctor.judgement import state as judge
from cdc.runtime.doctor.judgement.words import listed
from cdc.state.control import pauses
from cdc.state.database import pending_migrations
from cdc.state.envelope import Place
from cdc.state.failures import failure_counts
from cdc.state.gaps import read_gaps
from cdc.state.held import held_counts
from cdc.state.journal import extent, spans
from cdc.state.outbox import counts
from cdc.state.position import check_footing
from cdc.state.secrets import envelopes

_ALIVE: Final = "30 seconds"
_DROPS: Final = {
    # table: (key column, what follows from deleting the row)
    "cdc.zoho_tokens": ("id", "it is made anew from ZOHO_REFRESH_TOKEN, or by `cdc login zoho`"),
    "cdc.secret": ("name", "it is made anew, and every record is compared and sent once more"),
}
_SAMPLES_KEPT: Final = timedelta(days=1)
# The lock of `cdc.state.capture`, as pg_locks shows a key of 64 bits.
_HOLDER: Final = """
select l.pid from pg_locks l, hashtextextended('cdc.capture.' || %s, 0) as k (key)
where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
  and l.classid::bigint = (k.key >> 32) & 4294967295 and l.objid::bigint = k.key & 4294967295
"""


async def look_reachable(exam: Examination) -> Findings:
    """Whether the database with the cdc tables lets us in."""
    try:
        await exam.open_state()
    except CdcError as error:
        return [from_error(error, why="position, outbox and ledger are there")]
    return ok("the same database as the source" if exam.state_dsn == exam.source_dsn else "connected to CDC_STATE_DSN")


async def look_migrations(exam: Examination) -> Findings:
    """Whether the tables are those of this program."""
    try:
        pending = await pending_migrations(exam.state)
    except CdcError as error:
        return [from_error(error, why="an older program can't know what the newer tables mean")]
    if not pending:
        return ok("every migration is applied")
    what = f"missing migrations: {listed([f'{m.version:04d} {m.name}' for m in pending], 3)}"
    return [problem(what, why="the tables of this program aren't there yet", fix="cdc setup")]


async def look_key(exam: Examination) -> Findings:
    """Whether the key decrypts what is stored."""
    count = 0
    async for place, envelope in envelopes(exam.state):
        count += 1
        try:
            exam.keyring.open(envelope, place)
        except CdcError as error:
            return [_sealed_away(error, place)]
    return ok("what is stored opens" if count else "nothing is encrypted yet")


def _sealed_away(error: CdcError, place: Place) -> Finding:
    """The row can be made anew, at a price; the old key is the better way."""
    column, after = _DROPS[place.table]
    drop = sql.SQL("DELETE FROM {} WHERE {} = {};").format(
        sql.Identifier(*place.table.split(".")), sql.Identifier(column), sql.Literal(place.row)
    )
    fix = f"{drop.as_string(None)}  -- {after}"
    if isinstance(error, ConfigError):
        fix = (
            'export CDC_ENCRYPTION_KEY="$CDC_ENCRYPTION_KEY,$OLD_KEY"\n'
            f"{drop.as_string(None)}  -- only if the old key is lost for good: {after}"
        )
    why = "nothing starts before it opens: the CRM's tokens and the key of the ledger's hashes are encrypted"
    return problem(f"what is stored doesn't open: {error.message}", why=why, fix=fix)


async def look_footing(exam: Examination) -> Findings:
    """Whether both databases are those that capture has joined up with."""
    if await exam.stored_position() is None:
        return ok("nothing was captured yet")
    try:
        await check_footing(exam.source, exam.state)
    except SourceUnavailable as error:
        why = "views of another database would be delivered; capture and delivery wait"
        return [problem(error.message, why=why, fix="cdc slot repair  # or correct DATABASE_URL")]
    return ok("the databases are those that capture has joined up with")


async def look_capturing(exam: Examination) -> Findings:
    """Whether exactly one process captures, and who stands by."""
    captors = await _processes(exam, "capture")
    is_set_up = await exam.stored_position() is not None
    return judge.capturing(captors, await _holder(exam), is_set_up=is_set_up)


async def look_delivering(exam: Examination) -> Findings:
    """Whether somebody delivers."""
    waiting = int(await scalar(exam.state, "select count(*) from cdc.outbox where parked_at is null"))
    workers = await _processes(exam, "delivery", "capture")  # who captures or stands by delivers as well
    return judge.delivering(workers, waiting, enabled=exam.settings.zoho_sync_enabled)


async def _holder(exam: Examination) -> int | None:
    pid = await scalar(exam.state, _HOLDER, exam.settings.cdc_slot)
    return None if pid is None else int(pid)


async def _processes(exam: Examination, *roles: str) -> list[str]:
    found = await rows(
        exam.state,
        "select host || ' ' || pid from cdc.worker where role = any(%s) and seen_at > now() - %s::interval order by 1",
        list(roles),
        _ALIVE,
    )
    return [row[0] for row in found]


async def look_outbox(exam: Examination) -> Findings:
    """How old the oldest undelivered change is."""
    return judge.outbox(await counts(exam.state), await _now(exam))


async def look_parked(exam: Examination) -> Findings:
    """Keys that failed for good."""
    return judge.parked(await failure_counts(exam.state))


async def look_held(exam: Examination) -> Findings:
    """Keys that the breaker holds."""
    return judge.held(await held_counts(exam.state))


async def look_pauses(exam: Examination) -> Findings:
    """What delivers nothing for now. No pause is probed."""
    return judge.paused(await pauses(exam.state), await _now(exam))


async def look_gaps(exam: Examination) -> Findings:
    """Gaps that are open."""
    return judge.gaps(await read_gaps(exam.state, exam.settings.cdc_slot))


async def look_journal(exam: Examination) -> Findings:
    """How far back a replay can go."""
    if await exam.stored_position() is None:
        return ok("nothing was captured yet")
    s = exam.settings
    span = next((one for one in await spans(exam.state, s.cdc_slot) if one.is_open), None)
    taken = 0 if span is None else (await extent(exam.state, s.cdc_slot, span)).bytes
    found = judge.Journal(
        None if span is None else span.from_time,
        None if span is None else span.began_at,
        taken,
        int(s.cdc_journal_mb * (1 << 20)),
        timedelta(days=s.cdc_journal_days),
    )
    return judge.journal(found, await _now(exam))


async def look_tables(exam: Examination) -> Findings:
    """The size of the tables."""
    found = await rows(
        exam.state,
        "select relname::text, pg_total_relation_size(relid), n_live_tup, n_dead_tup from pg_stat_user_tables"
        " where schemaname = 'cdc' order by 2 desc",
    )
    return judge.tables(found)


async def look_housekeeping(exam: Examination) -> Findings:
    """Whether what is past its time is removed."""
    oldest = await scalar(exam.state, "select min(at) from cdc.slot_sample")
    captures = await _holder(exam) is not None
    return judge.housekeeping(oldest, _SAMPLES_KEPT, await _now(exam), captures=captures)


async def _now(exam: Examination) -> datetime:
    now: datetime = await scalar(exam.state, "select now()")
    return now.astimezone(UTC)
