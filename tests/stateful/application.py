"""The application of the machine: three tables, its sessions, and the list of everything that it has committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, LiteralString

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from cdc.lsn import Lsn

SCHEMA = """
create table people (id int primary key, name text, version int, mood int, visible boolean not null default true);
create table awards (id int primary key, person int not null, times int not null);
create table visits (id int primary key, owner int);  -- the owner may be NULL: identity FULL
"""
VIEWS = """
create view cdc.people as
    select id, name as "Name", version as "Version", mood as "Mood",
           (select count(*) from visits v where v.owner = p.id) as "Visits"
    from people p where visible;
create view cdc.awards as
    select a.id, 'award-' || a.id || '-' || n as event_id, a.person, 'Award ' || n as "Title"
    from awards a, generate_series(1, a.times) n;
"""
FEEDS = """
[people]
sink = "memory.people"
view = "cdc.people"
key = "id"
gone = "delete"
mandatory = ["Name"]
withdraw_limit = 2
[people.watch]
people = { key = "id" }
visits = { key = "owner", lane = "rollup" }
[people.fields]
Visits = { label = "Visits", type = "integer", lane = "rollup" }

[awards]
sink = "memory.awards"
view = "cdc.awards"
key = "id"
once = "event_id"
needs = "people"
parent = "person"
[awards.watch]
awards = { key = "id" }
"""

Entry = tuple[str, str, tuple[str | None, ...]]
"""What the journal holds of a change: kind, table, key values."""


class Verb(StrEnum):
    """What the application does to a row."""

    EDIT = "edit"  # a person, made if need be; the version grows
    MOOD = "mood"  # a value that may go back to what it was
    TOUCH = "touch"  # a write that changes nothing
    HIDE = "hide"
    SHOW = "show"
    DELETE = "delete"
    MOVE = "move"  # to another key
    AWARD = "award"  # a new one, or the same once more
    STRIP = "strip"  # an award is deleted
    VISIT = "visit"
    FORGET = "forget"  # a visit is deleted


_SQL: Mapping[Verb, LiteralString] = {
    Verb.EDIT: "insert into people as p (id, name, version, mood) values (%(id)s, 'P' || %(id)s, %(stamp)s, 0)"
    " on conflict (id) do update set version = excluded.version"
    " returning case when xmax = 0 then 'I' else 'U' end, 'public.people', p.id::text",
    Verb.MOOD: "update people set mood = %(bit)s where id = %(id)s returning 'U', 'public.people', id::text",
    Verb.TOUCH: "update people set name = name where id = %(id)s returning 'U', 'public.people', id::text",
    Verb.HIDE: "update people set visible = false where id = %(id)s returning 'U', 'public.people', id::text",
    Verb.SHOW: "update people set visible = true where id = %(id)s returning 'U', 'public.people', id::text",
    Verb.DELETE: "delete from people where id = %(id)s returning 'D', 'public.people', id::text",
    Verb.MOVE: "with moved as (update people set id = %(to)s, version = %(stamp)s where id = %(id)s and not exists"
    " (select from people where id = %(to)s) returning id)"
    " select k.kind, 'public.people', k.id from moved,"
    " (values (1, 'O', %(id)s::text), (2, 'U', %(to)s::text)) as k (n, kind, id) order by k.n",
    Verb.AWARD: "insert into awards as a values (10 * %(id)s + %(bit)s, %(id)s, 1)"
    " on conflict (id) do update set times = a.times %% 3 + 1"
    " returning case when xmax = 0 then 'I' else 'U' end, 'public.awards', a.id::text",
    Verb.STRIP: "delete from awards where id = 10 * %(id)s + %(bit)s returning 'D', 'public.awards', id::text",
    Verb.VISIT: "insert into visits as v values (%(id)s, case when %(nobody)s then null else %(to)s end)"
    " on conflict (id) do update set owner = v.owner"
    " returning case when xmax = 0 then 'I' else 'U' end, 'public.visits', v.owner::text",
    Verb.FORGET: "delete from visits where id = %(id)s returning 'D', 'public.visits', owner::text",
}
"""Each returns what the journal must hold of it: kind, table, key."""


@dataclass(frozen=True)
class Act:
    """One statement about a row of the session's own.

    Attributes:
        other: a number for whatever else the statement needs: a mood, a key to move to, an owner.
        undone: it stands in a savepoint that is rolled back.
    """

    verb: Verb
    row: int
    other: int = 0
    undone: bool = False


@dataclass
class Commit:
    """A transaction that has committed: its commit, and nothing else of ours, lies right behind `before`."""

    entries: list[Entry]
    before: Lsn


@dataclass
class History:
    """Everything that was committed, in the order of the commits.

    Attributes:
        versions: of people, ever shown by their view.
        events: ever shown.
        stamp: the last version that was given.
    """

    commits: list[Commit] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    stamp: int = 0

    def entries(self) -> list[Entry]:
        return [entry for commit in self.commits for entry in commit.entries]

    def note_shown(self, conn: Connection) -> None:
        """Look at the views as they are now."""
        self.versions.update(v for (v,) in conn.execute('select "Version" from cdc.people'))
        self.events.update(e for (e,) in conn.execute("select event_id from cdc.awards"))


ROWS = 2
"""How many people each session has."""


@dataclass
class Session:
    """One connection of the application, with people of its own, so that no session waits for another.

    Attributes:
        first: the number of its first person.
        pending: what the open transaction has written so far; None if there is none.
    """

    conn: Connection
    history: History
    first: int
    pending: list[Entry] | None = None

    def write(self, acts: Sequence[Act]) -> None:
        """Write in the open transaction, or in a new one that stays open."""
        if self.pending is None:
            self.conn.execute("begin")
            self.pending = []
        for act in acts:
            if act.undone:
                self.conn.execute("savepoint s")
                self._one(act)
                self.conn.execute("rollback to savepoint s")
            else:
                self.pending += self._one(act)

    def _one(self, act: Act) -> list[Entry]:
        self.history.stamp += 1
        params = {
            "id": self.first + act.row % ROWS,
            "to": self.first + act.other % ROWS,
            "bit": act.other % 2,
            "nobody": act.other % 5 == 0,
            "stamp": self.history.stamp,
        }
        return [(kind, table, (key,)) for kind, table, key in self.conn.execute(_SQL[act.verb], params)]

    def commit(self) -> None:
        before = self.lsn()
        self.conn.execute("commit")
        self.committed(before)

    def committed(self, before: Lsn) -> None:
        """Note that the open transaction is committed."""
        assert self.pending is not None
        self.history.commits.append(Commit(self.pending, before))
        self.pending = None

    def roll_back(self) -> None:
        self.conn.execute("rollback")
        self.pending = None

    def abandon(self) -> None:
        """Give up whatever is open."""
        if self.conn.info.transaction_status is not TransactionStatus.IDLE:
            self.roll_back()

    def truncate(self, table: str) -> None:
        """Empty a table; nobody may have a transaction open."""
        self.conn.execute("begin")
        self.conn.execute(SQL("truncate {}").format(Identifier(table)))
        self.pending = [("T", f"public.{table}", ())]
        self.commit()

    def lsn(self) -> Lsn:
        [(text,)] = self.conn.execute("select pg_current_wal_insert_lsn()::text").fetchall()
        return Lsn.parse(text)


Connection = psycopg.Connection[Any]
