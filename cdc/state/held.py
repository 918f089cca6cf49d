"""What the breaker holds, for a person to look at, approve or reject.

A held key says in `detail` what would have become of it: its kind and, for a rewrite, the names of the fields. Approval
covers just that, and the generation that was held: what changes meanwhile is judged anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.lsn import Lsn
from cdc.state import synclog
from cdc.state.outbox import NOTIFY_SQL
from cdc.state.synclog import LogLine, Status
from cdc.wire.journal import JournalRelation, read_body
from sinks.base import Action

_SAMPLE: Final = 5
_CAUSES: Final = 5
_SEPARATOR: Final = ": "


class Kind(StrEnum):
    """What is held."""

    WITHDRAWAL = "withdrawal"
    REWRITE = "rewrite"


def describe(action: Action, changed: Collection[str]) -> str:
    """Say what is held of a key: its kind, and the fields that would change."""
    if action is Action.WITHDRAW:
        return Kind.WITHDRAWAL.value
    return _SEPARATOR.join(filter(None, (Kind.REWRITE.value, ", ".join(sorted(changed)))))


def is_withdrawal(words: str) -> bool:
    """Read from `describe`'s words whether a withdrawal is meant."""
    return words == Kind.WITHDRAWAL.value


def fields_of(words: str) -> frozenset[str]:
    """Read the fields out of `describe`'s words."""
    names = words.partition(_SEPARATOR)[2]
    return frozenset(names.split(", ")) if names else frozenset()


@dataclass(frozen=True, slots=True)
class Cause:
    """What marked held keys.

    Attributes:
        words: `sweep`, or the transaction and the tables that it changed.
    """

    words: str
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGroup:
    """What is held of one feed and kind.

    Attributes:
        since: when the first of them was held.
        as_of: the newest generation among them; with it a person approves these and none that came later.
        causes: the most frequent first.
        fields: how many records would have each field changed.
        unchanged: rewrites by force of records in which nothing differs.
        sample: some of the keys.
    """

    feed: str
    kind: Kind
    keys: int
    since: datetime
    as_of: int
    causes: Sequence[Cause] = ()
    fields: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    sample: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSelection:
    """Which held keys; None leaves a criterion open.

    Attributes:
        as_of: none that was held in a later generation.
    """

    feed: str | None = None
    kind: Kind | None = None
    keys: Collection[str] | None = None
    as_of: int | None = None

    @property
    def is_whole(self) -> bool:
        """True if no single keys are meant."""
        return self.keys is None

    def params(self) -> dict[str, Any]:
        """Give the parameters of `_HELD`."""
        return {
            "feed": self.feed,
            "kind": None if self.kind is None else self.kind.value,
            "keys": None if self.keys is None else list(self.keys),
            "as_of": self.as_of,
        }


_KIND: LiteralString = "coalesce(nullif(split_part(detail, ': ', 1), ''), 'withdrawal')"
_HELD: LiteralString = f"""
parked_at is not null and reason = 'HELD_BY_BREAKER'
and (%(feed)s::text is null or feed = %(feed)s)
and (%(kind)s::text is null or {_KIND} = %(kind)s)
and (%(keys)s::text[] is null or key = any(%(keys)s))
and (%(as_of)s::bigint is null or generation <= %(as_of)s)
"""

_GROUPS_SQL: LiteralString = f"""
select feed, {_KIND} as kind, count(*), min(parked_at), max(generation), (array_agg(key order by key))[1:%(sample)s],
       count(*) filter (where {_KIND} = 'rewrite' and split_part(detail, ': ', 2) = '')
from cdc.outbox where {_HELD} group by 1, 2 order by 1, 2
"""
_CAUSES_SQL: LiteralString = f"""
select feed, {_KIND} as kind, case when lane <> 'bulk' then last_lsn::text end as lsn,
       case when lane = 'bulk' or last_lsn is null then cause end, count(*)
from cdc.outbox where {_HELD} group by 1, 2, 3, 4 order by 5 desc, 3
"""
_FIELDS_SQL: LiteralString = f"""
select feed, {_KIND} as kind, name, count(*)
from cdc.outbox, unnest(string_to_array(nullif(split_part(detail, ': ', 2), ''), ', ')) as name
where {_HELD} group by 1, 2, 3 order by 4 desc, 3
"""


async def held_groups(
    conn: AsyncConnection[Any], selection: HeldSelection, *, with_causes: bool = True
) -> list[HeldGroup]:
    """List what is held, by feed and kind.

    Args:
        conn: any state connection.
        selection: which.
        with_causes: say what marked them and which fields would change, too; without, it is one statement.
    """
    params = {**selection.params(), "sample": _SAMPLE}
    groups = await (await conn.execute(_GROUPS_SQL, params)).fetchall()
    if not with_causes or not groups:
        return [_group(row) for row in groups]
    causes: dict[tuple[str, str], list[Cause]] = {}
    for feed, kind, lsn, cause, keys in await (await conn.execute(_CAUSES_SQL, params)).fetchall():
        of_group = causes.setdefault((feed, kind), [])
        if len(of_group) < _CAUSES:
            words = await _transaction(conn, Lsn.parse(lsn)) if lsn else cause or "not by a change"
            of_group.append(Cause(words, keys))
    fields: dict[tuple[str, str], dict[str, int]] = {}
    for feed, kind, name, records in await (await conn.execute(_FIELDS_SQL, params)).fetchall():
        fields.setdefault((feed, kind), {})[name] = records
    return [_group(row, causes.get(row[:2], []), fields.get(row[:2], {})) for row in groups]


def _group(row: tuple[Any, ...], causes: Sequence[Cause] = (), fields: Mapping[str, int] | None = None) -> HeldGroup:
    feed, kind, keys, since, as_of, sample, unchanged = row
    return HeldGroup(
        feed=feed,
        kind=Kind(kind),
        keys=keys,
        since=since,
        as_of=as_of,
        causes=causes,
        fields=fields or {},
        unchanged=unchanged,
        sample=sample,
    )


_OPERATIONS: Final = {"I": "insert", "U": "update", "D": "delete", "T": "truncate"}


async def _transaction(conn: AsyncConnection[Any], lsn: Lsn) -> str:
    """Say what a transaction changed, as far as the journal still has it."""
    rows = await (
        await conn.execute(
            "select relations, body from cdc.journal where %s::pg_lsn between first_lsn and last_lsn", [str(lsn)]
        )
    ).fetchall()
    changes: Counter[str] = Counter()
    for relations, body in rows:
        known = {int(n): JournalRelation(r["table"], tuple(r["columns"])) for n, r in relations.items()}
        for entry in read_body(body, known):
            if entry.commit_lsn == lsn and entry.kind in _OPERATIONS:
                changes[f"{_OPERATIONS[entry.kind]} {entry.relation.table}"] += 1
    what = ", ".join(f"{words} ({n})" for words, n in changes.most_common(3))
    return f"transaction {lsn}" + (f": {what}" if what else "")


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One held key, and what would become of it."""

    key: str
    words: str
    since: datetime
    dirty_at: datetime


async def held_keys(conn: AsyncConnection[Any], selection: HeldSelection, limit: int) -> list[HeldKey]:
    """List held keys, in order."""
    cursor = await conn.execute(
        f"select key, coalesce(detail, 'withdrawal'), parked_at, dirty_at from cdc.outbox where {_HELD}"
        " order by feed, key limit %(limit)s",
        {**selection.params(), "limit": limit},
    )
    return [HeldKey(*row) for row in await cursor.fetchall()]


async def held_counts(conn: AsyncConnection[Any]) -> dict[str, int]:
    """Count held keys by feed."""
    cursor = await conn.execute(
        f"select feed, count(*) from cdc.outbox where {_HELD} group by feed order by feed", HeldSelection().params()
    )
    return dict(await cursor.fetchall())


_CHOSEN: LiteralString = f"""
with chosen as materialized (
    select feed, key, {_KIND} as kind, nextval('cdc.generation') as fresh
    from cdc.outbox where {_HELD} order by feed collate "C", key collate "C" for update
)
"""
_APPROVE_SQL: LiteralString = f"""
{_CHOSEN}
update cdc.outbox o
set parked_at = null, attempts = 0, due_at = now(), generation = c.fresh, approved = c.fresh,
    approved_for = coalesce(o.detail, 'withdrawal')
from chosen c where o.feed = c.feed and o.key = c.key
returning o.feed, o.key, c.kind
"""
_REJECT_SQL: LiteralString = f"""
{_CHOSEN}
update cdc.outbox o
set parked_at = now(), reason = 'REJECTED', forced = false, generation = c.fresh
from chosen c where o.feed = c.feed and o.key = c.key
returning o.feed, o.key, c.kind
"""


async def approve(conn: AsyncConnection[Any], selection: HeldSelection, who: str, because: str) -> int:
    """Let held keys go as they were held. Returns how many.

    An approval of all that is held of a feed and kind begins the breaker's count anew.

    Args:
        conn: in autocommit.
        selection: which.
        who: for the sync log.
        because: a person's words, for the sync log; may be empty.
    """
    words = f"approved by {who}" + (f": {because.strip()}" if because.strip() else "")
    return await _decide(conn, _APPROVE_SQL, selection, "approve", words)


async def reject(conn: AsyncConnection[Any], selection: HeldSelection, who: str, because: str) -> int:
    """Leave the CRM as it is, until the record changes again or a person retries it. Returns how many.

    No sweep brings a rejected key back, unless it is told to mark everything.

    Args:
        conn: in autocommit.
        selection: which.
        who: for the sync log.
        because: a person's words, for the sync log.

    Raises:
        ValueError: if `because` is blank.
    """
    if not because.strip():
        raise ValueError("say why these are rejected")
    return await _decide(conn, _REJECT_SQL, selection, "reject", f"rejected by {who}: {because.strip()}")


async def _decide(
    conn: AsyncConnection[Any], statement: LiteralString, selection: HeldSelection, action: str, words: str
) -> int:
    async with conn.transaction():
        rows = await (await conn.execute(statement, selection.params())).fetchall()
        groups = sorted({(feed, "*", kind) for feed, _, kind in rows}) if selection.is_whole else []
        status = Status.SUCCESS if action == "approve" else Status.FAILED
        await synclog.write(
            conn,
            [
                LogLine(
                    user_id=None,
                    feed=feed,
                    action=action,
                    status=status,
                    record_id=key,
                    reason="HELD_BY_BREAKER",
                    message=words,
                    judged=kind,
                )
                for feed, key, kind in (*rows, *groups)
            ],
        )
        await conn.execute(NOTIFY_SQL)
    return len(rows)
