"""The ledger: what the sinks hold, as ids and keyed hashes.

A create is never sent before its entry says `sending`, so a crash between the sink's answer and our record of it leaves
a trace, and the next attempt looks before it sends. In the same way a hash stands here only while the sink's value is
certain: it goes before an update or a withdrawal is sent, and comes back with the answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.state.records import LedgerEntry, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A create that is about to be sent."""

    record_id: str
    key: str
    parent_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A record that the sink now holds.

    Attributes:
        field_hashes: of all fields that the sink holds.
        row_hash: None if the sink doesn't hold the whole row.
        lsn: commit LSN of the newest change in it, where known.
    """

    record_id: str
    key: str
    parent_id: str | None
    crm_id: str | None
    field_hashes: Mapping[str, str]
    row_hash: bytes | None
    lsn: Lsn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerChange:
    """What one settled batch changes in the ledger.

    Attributes:
        sent: records that the sink holds now.
        withdrawn: record ids that it no longer holds.
        unsent: record ids whose create certainly wasn't carried out.
        row_hashes: record id to the hash of a row that changed in nothing that is delivered.
        bereaved: record ids that are no longer the CRM record that dependents hang on: withdrawn or made anew.
        orphaning: dependent feeds, whose entries under these lose their parent.
    """

    feed: str
    sent: Sequence[Sent] = ()
    withdrawn: Collection[str] = ()
    unsent: Collection[str] = ()
    row_hashes: Mapping[str, bytes] = field(default_factory=dict)
    bereaved: Collection[str] = ()
    orphaning: Collection[str] = ()


def entry_from_json(value: Mapping[str, Any]) -> LedgerEntry:
    """Read an entry from the JSON that `to_jsonb` makes of a ledger row."""
    row_hash = value["row_hash"]
    return LedgerEntry(
        record_id=value["record_id"],
        key=value["key"],
        standing=Standing(value["state"]),
        parent_id=value["parent_id"],
        crm_id=value["crm_id"],
        row_hash=None if row_hash is None else bytes.fromhex(row_hash.removeprefix("\\x")),
        field_hashes=value["field_hashes"],
    )


async def read_records(conn: AsyncConnection[Any], feed: str, record_ids: Collection[str]) -> dict[str, LedgerEntry]:
    """Read entries by record id; ids without an entry are left out."""
    cursor = await conn.execute(
        "select to_jsonb(g) from cdc.ledger g where feed = %s and record_id = any(%s)", [feed, list(record_ids)]
    )
    entries = [entry_from_json(row[0]) for row in await cursor.fetchall()]
    return {e.record_id: e for e in entries}


async def dependent_keys(
    conn: AsyncConnection[Any], feeds: Collection[str], parent_ids: Collection[str]
) -> list[tuple[str, str]]:
    """Give (feed, key) of the entries that hang on these parents and aren't withdrawn."""
    if not feeds or not parent_ids:
        return []
    cursor = await conn.execute(
        "select distinct feed, key from cdc.ledger"
        " where feed = any(%s) and parent_id = any(%s) and state <> 'withdrawn'",
        [list(feeds), list(parent_ids)],
    )
    return await cursor.fetchall()


_OVERLOOKED_SQL: LiteralString = """
select distinct w.key
from unnest(%(record_ids)s::text[], %(keys)s::text[]) as w (record_id, key)
where not exists (
        select from cdc.ledger g where g.feed = %(feed)s and g.record_id = w.record_id and g.state = 'sent')
    and not exists (
        select from cdc.outbox o
        where o.feed = %(feed)s and o.key = w.key and (o.claimed_until is null or o.claimed_until <= now()))
"""


async def overlooked_keys(conn: AsyncConnection[Any], feed: str, keys: Mapping[str, str]) -> list[str]:
    """Give the keys of records that the sink doesn't hold and that nobody is going to look at.

    A key that is claimed may have been read before the record was there, so it counts as overlooked.

    Args:
        conn: any state connection.
        feed: whose records.
        keys: by record id.
    """
    cursor = await conn.execute(_OVERLOOKED_SQL, {"feed": feed, "record_ids": list(keys), "keys": list(keys.values())})
    return [row[0] for row in await cursor.fetchall()]


# The share lock makes this wait for a withdrawal of the parent that is being recorded, and the withdrawal for this:
# either the withdrawal sees the entry and orphans it, or the entry isn't made.
_SENDING_SQL: LiteralString = """
with parents as materialized (
    select p.record_id
    from cdc.ledger p
    where p.feed = %(needs)s and p.record_id = any(%(parent_ids)s::text[]) and p.state = 'sent'
    order by p.record_id
    for share
)
insert into cdc.ledger as g (feed, record_id, key, parent_id, state)
select %(feed)s, i.record_id, i.key, i.parent_id, 'sending'
from unnest(%(record_ids)s::text[], %(keys)s::text[], %(parent_ids)s::text[]) as i (record_id, key, parent_id)
where %(needs)s::text is null or i.parent_id in (select record_id from parents)
order by i.record_id collate "C"
on conflict (feed, record_id) do update set
    key = excluded.key, parent_id = excluded.parent_id, state = 'sending',
    row_hash = null, field_hashes = '{}'
where g.state <> 'sent'
returning g.record_id
"""


async def mark_sending(
    conn: AsyncConnection[Any], feed: str, needs: str | None, intents: Sequence[Intent]
) -> frozenset[str]:
    """Write down that these creates are about to go out; one statement, a transaction of its own.

    Returns:
        The record ids that may be sent. Those whose parent isn't with the sink any longer are not among them, nor those
        that somebody else has sent since they were planned.
    """
    cursor = await conn.execute(
        _SENDING_SQL,
        {
            "feed": feed,
            "needs": needs,
            "record_ids": [i.record_id for i in intents],
            "keys": [i.key for i in intents],
            "parent_ids": [i.parent_id for i in intents],
        },
    )
    return frozenset(row[0] for row in await cursor.fetchall())


_DOUBT_SQL: LiteralString = """
with doubtful as materialized (
    select g.feed, g.record_id, d.fields
    from jsonb_each(%(fields)s::jsonb) as d (record_id, fields)
    join cdc.ledger g on g.feed = %(feed)s and g.record_id = d.record_id
    order by g.record_id collate "C"
    for update of g
)
update cdc.ledger g
set row_hash = null,
    field_hashes = case jsonb_typeof(d.fields)
        when 'null' then '{}'
        else g.field_hashes - array(select jsonb_array_elements_text(d.fields)) end
from doubtful d
where g.feed = d.feed and g.record_id = d.record_id
"""


async def mark_doubtful(conn: AsyncConnection[Any], feed: str, fields: Mapping[str, Collection[str] | None]) -> None:
    """Forget what the sink holds of records that are about to be changed; a transaction of its own.

    Without this a value that goes back to what it was, after a crash or a lost answer and before the next attempt,
    would look delivered while the sink holds the one in between; and so would a person who has left and come back.

    Args:
        conn: in autocommit.
        feed: whose records.
        fields: by record id those that an update carries, or None for all: a withdrawal.
    """
    listed = {record_id: None if names is None else sorted(names) for record_id, names in fields.items()}
    await conn.execute(_DOUBT_SQL, {"feed": feed, "fields": json.dumps(listed)})


_SENT_SQL: LiteralString = """
insert into cdc.ledger as g
    (feed, record_id, key, parent_id, crm_id, state, row_hash, field_hashes, lsn, delivered_at)
select %(feed)s, s.record_id, s.key, s.parent_id, s.crm_id, 'sent', s.row_hash, s.hashes::jsonb, s.lsn, now()
from unnest(
    %(record_ids)s::text[], %(keys)s::text[], %(parent_ids)s::text[], %(crm_ids)s::text[], %(row_hashes)s::bytea[],
    %(hashes)s::text[], %(lsns)s::pg_lsn[]
) as s (record_id, key, parent_id, crm_id, row_hash, hashes, lsn)
order by s.record_id collate "C"
on conflict (feed, record_id) do update set
    key = excluded.key, parent_id = excluded.parent_id, crm_id = coalesce(excluded.crm_id, g.crm_id), state = 'sent',
    row_hash = excluded.row_hash, field_hashes = excluded.field_hashes,
    lsn = greatest(g.lsn, excluded.lsn), delivered_at = excluded.delivered_at
"""

_WITHDRAWN_SQL: LiteralString = """
update cdc.ledger set state = 'withdrawn', crm_id = null, row_hash = null, field_hashes = '{}', delivered_at = now()
where feed = %(feed)s and record_id = any(%(record_ids)s)
"""

_UNSENT_SQL: LiteralString = """
delete from cdc.ledger where feed = %(feed)s and record_id = any(%(record_ids)s) and state = 'sending'
"""

_ROW_HASH_SQL: LiteralString = """
update cdc.ledger g set row_hash = r.row_hash
from unnest(%(record_ids)s::text[], %(row_hashes)s::bytea[]) as r (record_id, row_hash)
where g.feed = %(feed)s and g.record_id = r.record_id and g.state = 'sent'
"""

_ORPHAN_SQL: LiteralString = """
with hanging as materialized (
    select g.feed, g.record_id
    from cdc.ledger g
    where g.feed = any(%(feeds)s) and g.parent_id = any(%(parent_ids)s) and g.state <> 'withdrawn'
    order by g.feed, g.record_id collate "C"
    for update
), orphaned as (
    update cdc.ledger g set parent_id = null
    from hanging h where g.feed = h.feed and g.record_id = h.record_id
    returning g.feed, g.key
)
select distinct feed, key from orphaned
"""


async def apply(conn: AsyncConnection[Any], change: LedgerChange) -> list[tuple[str, str]]:
    """Write down what a batch did, in the caller's transaction.

    Returns:
        (feed, key) of the dependents that lost their parent.
    """
    feed = change.feed
    if change.sent:
        await conn.execute(_SENT_SQL, {"feed": feed, **_sent_params(change.sent)})
    if change.unsent:
        await conn.execute(_UNSENT_SQL, {"feed": feed, "record_ids": list(change.unsent)})
    if change.row_hashes:
        ids, hashes = list(change.row_hashes), list(change.row_hashes.values())
        await conn.execute(_ROW_HASH_SQL, {"feed": feed, "record_ids": ids, "row_hashes": hashes})
    if change.withdrawn:
        await conn.execute(_WITHDRAWN_SQL, {"feed": feed, "record_ids": list(change.withdrawn)})
    if not change.bereaved or not change.orphaning:
        return []
    params = {"feeds": list(change.orphaning), "parent_ids": list(change.bereaved)}
    return await (await conn.execute(_ORPHAN_SQL, params)).fetchall()


def _sent_params(sent: Sequence[Sent]) -> dict[str, list[Any]]:
    return {
        "record_ids": [s.record_id for s in sent],
        "keys": [s.key for s in sent],
        "parent_ids": [s.parent_id for s in sent],
        "crm_ids": [s.crm_id for s in sent],
        "row_hashes": [s.row_hash for s in sent],
        "hashes": [json.dumps(dict(s.field_hashes)) for s in sent],
        "lsns": [None if s.lsn is None else str(s.lsn) for s in sent],
    }
