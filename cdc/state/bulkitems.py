"""What a bulk job holds: its claims, and what is in its file, enough to settle it without the values."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.state.bulk import Job
from cdc.state.claims import Claim, claim_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One record in a job's file.

    Attributes:
        action: `create` or `update`, as it was planned.
        uncertain: an earlier attempt at creating it may have been carried out.
        crm_id: the sink's id, where known.
        generation: of the outbox row when the view was read.
        attempts: failed attempts before.
        row_hash: of the view row in the file.
        field_hashes: of its fields.
    """

    record_id: str
    key: str
    action: str
    uncertain: bool
    crm_id: str | None
    generation: int
    attempts: int
    dirty_at: datetime
    last_lsn: Lsn | None
    row_hash: bytes
    field_hashes: Mapping[str, str]


_CLAIMS_SQL: LiteralString = """
select o.key, o.lane, o.generation, o.forced, o.attempts, o.dirty_at, o.last_lsn::text, o.deferred_until,
       o.forced and o.reason = 'HELD_BY_BREAKER', e.entries
from cdc.outbox o
left join lateral (
    select jsonb_agg(to_jsonb(g)) as entries from cdc.ledger g where g.feed = o.feed and g.key = o.key
) as e on true
where o.feed = %(feed)s and o.key > %(after)s and o.claimed_by = %(holder)s and o.claimed_until = %(until)s
order by o.key
limit %(limit)s
"""


async def claims(conn: AsyncConnection[Any], job: Job, after: str, limit: int) -> list[Claim]:
    """Read a portion of a job's claims with their ledger entries, in the order of the keys.

    Args:
        conn: in autocommit.
        job: whose.
        after: the last key of the portion before; empty for the first.
        limit: most claims.
    """
    params = {
        "feed": job.feed, "holder": job.holder, "until": job.claimed_until, "after": after, "limit": limit,
    }  # fmt: skip
    return [claim_from(row) for row in await (await conn.execute(_CLAIMS_SQL, params)).fetchall()]


_ADD_SQL: LiteralString = """
insert into cdc.bulk_item (job_id, record_id, key, action, uncertain, crm_id, generation, attempts, dirty_at, last_lsn,
                           row_hash, field_hashes)
select %(job)s, i.record_id, i.key, i.action, i.uncertain, i.crm_id, i.generation, i.attempts, i.dirty_at, i.last_lsn,
       i.row_hash, i.hashes::jsonb
from unnest(
    %(record_ids)s::text[], %(keys)s::text[], %(actions)s::text[], %(uncertain)s::boolean[], %(crm_ids)s::text[],
    %(generations)s::bigint[], %(attempts)s::integer[], %(dirty_at)s::timestamptz[], %(lsns)s::pg_lsn[],
    %(row_hashes)s::bytea[], %(hashes)s::text[]
) as i (record_id, key, action, uncertain, crm_id, generation, attempts, dirty_at, last_lsn, row_hash, hashes)
"""


async def add(conn: AsyncConnection[Any], job: Job, items: Sequence[Item]) -> None:
    """Write items down; each record once."""
    if not items:
        return
    await conn.execute(
        _ADD_SQL,
        {
            "job": job.id,
            "record_ids": [i.record_id for i in items],
            "keys": [i.key for i in items],
            "actions": [i.action for i in items],
            "uncertain": [i.uncertain for i in items],
            "crm_ids": [i.crm_id for i in items],
            "generations": [i.generation for i in items],
            "attempts": [i.attempts for i in items],
            "dirty_at": [i.dirty_at for i in items],
            "lsns": [None if i.last_lsn is None else str(i.last_lsn) for i in items],
            "row_hashes": [i.row_hash for i in items],
            "hashes": [json.dumps(dict(i.field_hashes)) for i in items],
        },
    )


async def clear(conn: AsyncConnection[Any], job: Job) -> None:
    """Forget the items of a job whose file won't be sent: what becomes of their records is no longer its affair."""
    await conn.execute("delete from cdc.bulk_item where job_id = %s", [job.id])


_SENDING_SQL: LiteralString = """
insert into cdc.ledger as g (feed, record_id, key, state)
select %(feed)s, i.record_id, i.key, 'sending'
from cdc.bulk_item i where i.job_id = %(job)s and i.action = 'create'
order by i.record_id collate "C"
on conflict (feed, record_id) do update set
    key = excluded.key, parent_id = null, state = 'sending', row_hash = null, field_hashes = '{}'
where g.state <> 'sent'
"""

_DOUBT_SQL: LiteralString = """
with doubtful as materialized (
    select g.feed, g.record_id
    from cdc.bulk_item i join cdc.ledger g on g.feed = %(feed)s and g.record_id = i.record_id
    where i.job_id = %(job)s and i.action = 'update'
    order by g.record_id collate "C"
    for update of g
)
update cdc.ledger g set row_hash = null, field_hashes = '{}'
from doubtful d where g.feed = d.feed and g.record_id = d.record_id
"""


async def write_intents(conn: AsyncConnection[Any], job: Job) -> None:
    """Say in the ledger what is about to be sent, as `ledger.mark_sending` and `mark_doubtful` do for a batch.

    The records hang on no parent, so no parent can have left meanwhile.

    Args:
        conn: in autocommit.
        job: whose items.
    """
    params = {"feed": job.feed, "job": job.id}
    await conn.execute(_SENDING_SQL, params)
    await conn.execute(_DOUBT_SQL, params)


_HELD_SQL: LiteralString = """
select i.record_id, i.key, i.action, i.uncertain, i.crm_id, i.generation, i.attempts, i.dirty_at, i.last_lsn::text,
       i.row_hash, i.field_hashes
from cdc.bulk_item i
join cdc.outbox o on o.feed = %(feed)s and o.key = i.key
where i.job_id = %(job)s and i.record_id = any(%(record_ids)s)
  and o.claimed_by = %(holder)s and o.claimed_until = %(until)s
"""


async def held(conn: AsyncConnection[Any], job: Job, record_ids: Collection[str]) -> list[Item]:
    """Read the items of some records whose keys the job still holds: those that aren't settled yet."""
    params = {
        "feed": job.feed, "job": job.id, "holder": job.holder, "until": job.claimed_until,
        "record_ids": list(record_ids),
    }  # fmt: skip
    rows = await (await conn.execute(_HELD_SQL, params)).fetchall()
    return [_item(*row) for row in rows]


def _item(
    record_id: str,
    key: str,
    action: str,
    uncertain: bool,
    crm_id: str | None,
    generation: int,
    attempts: int,
    dirty_at: datetime,
    last_lsn: str | None,
    row_hash: bytes,
    field_hashes: Mapping[str, str],
) -> Item:
    return Item(
        record_id=record_id,
        key=key,
        action=action,
        uncertain=uncertain,
        crm_id=crm_id,
        generation=generation,
        attempts=attempts,
        dirty_at=dirty_at,
        last_lsn=None if last_lsn is None else Lsn.parse(last_lsn),
        row_hash=bytes(row_hash),
        field_hashes=field_hashes,
    )
