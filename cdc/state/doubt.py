"""A ledger that may be older than the CRM, since it was restored or failed over with the database that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from cdc.state.ledger import Intent


async def enter_as_sending(conn: AsyncConnection[Any], feed: str, intents: Sequence[Intent]) -> None:
    """Enter records that the sink may hold although the ledger doesn't know them: they are looked for before a create.

    For a ledger that may be older than the sink: it was restored, or it failed over with the database. What it
    says was sent stays as it is.
    """
    await conn.execute(
        """
        insert into cdc.ledger as g (feed, record_id, key, parent_id, state)
        select %(feed)s, i.record_id, i.key, i.parent_id, 'sending'
        from unnest(%(record_ids)s::text[], %(keys)s::text[], %(parent_ids)s::text[]) as i (record_id, key, parent_id)
        order by i.record_id collate "C"
        on conflict (feed, record_id) do update set state = 'sending', key = excluded.key,
            parent_id = excluded.parent_id
        where g.state = 'withdrawn'
        """,
        {
            "feed": feed,
            "record_ids": [i.record_id for i in intents],
            "keys": [i.key for i in intents],
            "parent_ids": [i.parent_id for i in intents],
        },
    )
