"""Capture is exactly-once, whatever the transactions, wherever groups end and wherever a crash falls.

A made-up server keeps a list of committed transactions and sends whole ones from any position that was once
acknowledged, as Postgres does. The collector is driven as the sessions drive it: groups are taken at any moment, are
made durable or lost in a crash, keepalives come in between. In the end the durable groups must say exactly what the
server's list says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import DecodeError
from cdc.lsn import Lsn
from cdc.routing.collector import Collector
from cdc.routing.feeds import Lane
from cdc.routing.groups import Group, Progress
from cdc.routing.router import Route, Target
from cdc.wire.journal import JournalEntry, JournalRelation, compress, read_body
from cdc.wire.messages import Begin, Column, Commit, Delete, Insert, Origin, PgMessage, Relation, Truncate, Type, Update
from tests.support.pgoutput import encode

ROUTES = {
    "public.users": Route("public.users", ("id",), (Target("contacts", Lane.LIVE, 0),)),
    "public.quests": Route(
        "public.quests", ("user_id", "id"), (Target("contacts", Lane.ROLLUP, 0), Target("quests", Lane.LIVE, 1))
    ),
    "app.links": Route(
        "app.links", ("parent", "child"), (Target("contacts", Lane.LIVE, 0), Target("contacts", Lane.LIVE, 1))
    ),
}
TABLES = {1: "public.users", 2: "public.quests", 3: "app.links", 4: "public.audit"}
SHAPES = {
    1: (("id", "name"), ("name", "id"), ("id",)),
    2: (("id", "user_id", "title"), ("id", "title", "user_id", "more")),
    3: (("parent", "child"), ("child", "note", "parent")),
    4: (("id",), ("id", "what")),
}
KEYS = (None, b"", b"a", b"b", "ü".encode())


@dataclass
class Change:
    """A row change or a truncate, with the shape its table had then."""

    kind: str  # I, U, D, T
    oids: tuple[int, ...]
    shape: tuple[str, ...] = ()
    old: tuple[bytes | None, ...] | None = None
    new: tuple[bytes | None, ...] = ()
    full: bool = False

    def message(self) -> PgMessage:
        match self.kind:
            case "I":
                return Insert(self.oids[0], self.new)
            case "U" if self.old is None:
                return Update(self.oids[0], self.new)
            case "U":
                return Update(self.oids[0], self.new, self.old, "O" if self.full else "K")
            case "D":
                assert self.old is not None
                return Delete(self.oids[0], self.old, "O" if self.full else "K")
            case _:
                return Truncate(0, self.oids)

    def keys(self, values: tuple[bytes | None, ...]) -> tuple[str | None, ...]:
        columns = ROUTES[TABLES[self.oids[0]]].columns
        return tuple(None if (v := values[self.shape.index(c)]) is None else v.decode() for c in columns)

    def entries(self) -> list[tuple[str, str, tuple[str | None, ...]]]:
        """What the journal must hold of it: (kind, table, key values)."""
        if self.kind == "T":
            return [("T", TABLES[oid], ()) for oid in self.oids if TABLES[oid] in ROUTES]
        table = TABLES[self.oids[0]]
        if table not in ROUTES:
            return []
        if self.kind == "D":
            assert self.old is not None
            return [("D", table, self.keys(self.old))]
        made = [(self.kind, table, self.keys(self.new))]
        if self.old is not None and self.keys(self.old) != self.keys(self.new):
            made.insert(0, ("O", table, self.keys(self.old)))
        return made


@dataclass
class Transaction:
    """A committed transaction."""

    commit: int
    end: int
    time: int
    changes: list[Change]

    def journal(self, first: int | None = None) -> list[JournalEntry]:
        """The entries of its first changes, all by default."""
        return [
            JournalEntry(kind, JournalRelation(table, ROUTES[table].columns), values, Lsn(self.commit), self.time)
            for change in self.changes[:first]
            for kind, table, values in change.entries()
        ]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    kind = draw(st.sampled_from("IIUUUDT"))
    if kind == "T":
        return Change("T", tuple(draw(st.lists(st.sampled_from(sorted(TABLES)), min_size=1, max_size=3, unique=True))))
    oid = draw(st.sampled_from(sorted(TABLES)))
    shape = draw(st.sampled_from(SHAPES[oid]))
    rows = st.tuples(*[st.sampled_from(KEYS)] * len(shape))
    old = draw(rows) if kind == "D" or (kind == "U" and draw(st.booleans())) else None
    return Change(kind, (oid,), shape, old, draw(rows), draw(st.booleans()))


@st.composite
def histories(draw: st.DrawFn) -> list[Transaction]:
    made, lsn = [], 100
    for listed in draw(st.lists(st.lists(changes(), max_size=7), min_size=1, max_size=6)):
        commit = lsn + draw(st.integers(0, 20))
        end = commit + draw(st.integers(1, 20))
        made.append(Transaction(commit, end, draw(st.integers(-5, 5)), listed))
        lsn = end
    return made


def stream(history: list[Transaction], start: int) -> Iterator[tuple[bytes, int]]:
    """Send whole transactions whose end is above `start`; with each message, the server's own position."""
    described: dict[int, tuple[str, ...]] = {}
    sent_up_to = start
    for transaction in history:
        if transaction.end <= start:
            continue
        yield encode(Begin(Lsn(transaction.commit), transaction.time, 7)), sent_up_to
        yield encode(Origin(Lsn(1), "elsewhere")), sent_up_to
        for change in transaction.changes:
            for oid in change.oids:
                shape = change.shape or described.get(oid) or SHAPES[oid][0]
                if described.get(oid) != shape:
                    described[oid] = shape
                    schema, _, name = TABLES[oid].partition(".")
                    columns = tuple(Column(False, column, 25, -1) for column in shape)
                    yield encode(Type(90000, "public", "mood")), sent_up_to
                    yield encode(Relation(oid, schema, name, "d", columns)), sent_up_to
            yield encode(change.message()), sent_up_to
        sent_up_to = transaction.end
        commit = Commit(0, Lsn(transaction.commit), Lsn(transaction.end), transaction.time)
        yield encode(commit), sent_up_to


@dataclass
class Pipeline:
    """The state, and a collector that is lost in every crash."""

    history: list[Transaction]
    progress: Progress = field(default_factory=lambda: Progress(Lsn(0)))
    sessions: list[list[Group]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=lambda: [0])

    def store(self, group: Group) -> None:
        self.sessions[-1].append(group)
        self.move(group.progress)

    def move(self, progress: Progress) -> None:
        """Store a position; it never goes back, and never claims more than is stored."""
        assert progress.lsn >= self.progress.lsn
        if progress.open_lsn is not None and progress.open_lsn == self.progress.open_lsn:
            assert progress.open_changes >= self.progress.open_changes
        self.progress = progress
        self.acknowledged.append(progress.lsn)
        claimed = [e for t in self.history if t.end <= progress.lsn for e in t.journal()]
        claimed += [e for t in self.history if t.commit == progress.open_lsn for e in t.journal(progress.open_changes)]
        assert self.journal() == claimed

    def journal(self) -> list[JournalEntry]:
        return [entry for groups in self.sessions for group in groups for entry in entries_of(group)]

    def session(self, random: Random) -> bool:
        """Read the stream until it is drained (True) or a crash (False)."""
        collector = Collector(ROUTES, self.progress)
        self.sessions.append([])
        for message, server_lsn in stream(self.history, random.choice(self.acknowledged)):
            collector.feed([message])
            if random.random() < 0.15 and not collector.in_transaction:
                before = collector.progress.lsn
                collector.advance(Lsn(server_lsn))
                assert collector.progress.lsn == max(before, server_lsn)
                if not collector.has_news:
                    self.move(collector.progress)
            if random.random() < 0.2 and collector.has_news:
                self.store(collector.take())
            if random.random() < 0.03:
                return False
            if random.random() < 0.03 and collector.has_news:
                collector.take()  # on its way to the state when the line went
                return False
        if collector.has_news:
            self.store(collector.take())
        return True


def entries_of(group: Group) -> list[JournalEntry]:
    return list(read_body(compress([group.body]), group.relations))


def check_groups(groups: list[Group]) -> None:
    """What the groups of one session say follows from their own journal entries."""
    earlier: list[JournalEntry] = []  # of the transaction that the group before left open
    for group in groups:
        entries = entries_of(group)
        assert list(group.transactions.items()) == list({e.commit_lsn: e.commit_time for e in entries}.items())
        truncates = [e for e in entries if e.kind == "T"]
        assert group.truncated == {t.feed for e in truncates for t in ROUTES[e.relation.table].targets}
        assert group.changes == sum(e.kind != "O" for e in entries)
        check_dirty(group, entries, earlier)
        open_lsn = group.progress.open_lsn
        earlier = [e for e in [*earlier, *entries] if open_lsn is not None and e.commit_lsn == open_lsn]


def check_dirty(group: Group, entries: list[JournalEntry], earlier: list[JournalEntry]) -> None:
    """Every key is dirty with the span and the lane of its changes.

    A row of the open transaction that an earlier group marked for the same transaction may be left out.
    """
    known = {(e.relation, e.values, e.commit_lsn) for e in earlier}
    every = touched(entries)
    needed = touched([e for e in entries if (e.relation, e.values, e.commit_lsn) not in known])
    assert needed.keys() <= group.dirty.keys() <= every.keys()
    for where, dirty in group.dirty.items():
        lanes, lsns = zip(*needed.get(where, every[where]), strict=True)
        all_lanes, all_lsns = zip(*every[where], strict=True)
        assert min(all_lsns) <= dirty.first_lsn <= min(lsns)
        assert dirty.last_lsn == max(lsns) == max(all_lsns)
        assert dirty.lane in {urgent(lanes), urgent(all_lanes)}


def urgent(lanes: Sequence[Lane]) -> Lane:
    return Lane.LIVE if Lane.LIVE in lanes else Lane.ROLLUP


def touched(entries: list[JournalEntry]) -> dict[tuple[str, str], list[tuple[Lane, int]]]:
    """Keys of feeds, each with the lanes and commits that touched it."""
    found: dict[tuple[str, str], list[tuple[Lane, int]]] = {}
    for entry in entries:
        for target in ROUTES[entry.relation.table].targets if entry.kind != "T" else ():
            key = entry.values[target.position]
            if key is not None:
                found.setdefault((target.feed, key), []).append((target.lane, entry.commit_lsn))
    return found


@settings(max_examples=150)
@given(histories(), st.integers(0, 2**32))
def test_every_change_is_captured_once_and_in_order(history: list[Transaction], seed: int) -> None:
    pipeline, random = Pipeline(history), Random(seed)
    while not pipeline.session(random):
        pass
    assert pipeline.journal() == [entry for transaction in history for entry in transaction.journal()]
    for groups in pipeline.sessions:
        check_groups(groups)


@given(histories())
def test_a_stream_in_one_go_gives_one_group_and_the_last_end_lsn(history: list[Transaction]) -> None:
    collector = Collector(ROUTES, Progress(Lsn(0)))
    for message, _ in stream(history, 0):
        collector.feed([b"frame" + message], len(b"frame"))
    group = collector.take()
    assert group.progress == Progress(Lsn(history[-1].end), commit_time=history[-1].time)
    assert (collector.size, collector.has_news) == (0, False)
    assert collector.take().body == b""
    check_groups([group])


@given(histories(), st.data())
def test_after_damage_the_group_is_whole_and_claims_nothing_of_the_damaged_message(
    history: list[Transaction], data: st.DataObject
) -> None:
    messages = [message for message, _ in stream(history, 0)]
    looked_into = [i for i, m in enumerate(messages) if m[:1] not in b"IUD" or m[1:5] != b"\0\0\0\4"]
    at = data.draw(st.sampled_from(looked_into))
    collector, reference = Collector(ROUTES, Progress(Lsn(0))), Collector(ROUTES, Progress(Lsn(0)))
    for message in messages[:at]:
        collector.feed([message])
        reference.feed([message])
    with pytest.raises(DecodeError):
        collector.feed([messages[at][: data.draw(st.integers(0, len(messages[at]) - 1))]])
    assert collector.take() == reference.take()
