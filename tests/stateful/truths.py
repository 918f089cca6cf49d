"""What must be true at every moment, whoever has died and whatever was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.delivery.planner import field_hash
from cdc.lsn import Lsn
from cdc.wire.journal import JournalRelation, read_body
from sinks.base import Action
from tests.stateful.application import Entry, History
from tests.stateful.crm import SteppedSink
from tests.stateful.ground import HASH_KEY, Ground

_FEEDS_OF = {"public.people": "people", "public.visits": "people", "public.awards": "awards"}
_POSITION = """
select p.lsn::text, p.open_lsn is not null, p.open_changes, s.confirmed_flush_lsn::text
from cdc.position p join pg_replication_slots s on s.slot_name = p.slot
"""


@dataclass
class Journal:
    """The journal as it grows; a chunk is decoded once."""

    entries: list[Entry] = field(default_factory=list)
    newest: int = 0

    def read(self, ground: Ground) -> None:
        query = "select id, relations, body from cdc.journal where id > %s order by id"
        for number, relations, body in ground.observer.execute(query, [self.newest]):
            known = {int(n): JournalRelation(r["table"], tuple(r["columns"])) for n, r in relations.items()}
            self.entries += [(e.kind, e.relation.table, e.values) for e in read_body(body, known)]
            self.newest = number


@dataclass
class Truths:
    """Holds the pipeline against what the application committed.

    Attributes:
        may_withdraw_more: somebody has approved withdrawals, or time has passed.
        judged: how many writes of each sink have been looked at.
        newest: version by person, as the sink has seen them.
    """

    ground: Ground
    history: History
    sinks: Mapping[str, SteppedSink]
    may_withdraw_more: bool = False
    journal: Journal = field(default_factory=Journal)
    judged: Counter[str] = field(default_factory=Counter)
    newest: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises AssertionError with everything that is wrong."""
        self.journal.read(self.ground)
        checks = (self._capture, self._gaps, self._writes, self._doubles, self._bells, self._withdrawals, self._ledger)
        problems = [problem for check in checks for problem in check()]
        assert not problems, "\n".join(problems)

    def _capture(self) -> Iterator[str]:
        """Each committed change once, in order; the position says how far; the slot was told no more."""
        [(position, is_open, open_changes, confirmed)] = self.ground.observer.execute(_POSITION).fetchall()
        lsn, taken = Lsn.parse(position), len(self.journal.entries)
        wanted = self.history.entries()
        if self.journal.entries != wanted[:taken]:
            yield f"journal: {self.journal.entries} is not the beginning of {wanted}"
        if Lsn.parse(confirmed) > lsn:
            yield f"slot: acknowledged up to {confirmed}, stored up to {position}"
        whole = sum(len(commit.entries) for commit in self.history.commits if commit.before < lsn)
        inside = [kind for kind, _, _ in self.journal.entries[whole:] if kind != "O"]
        if taken < whole:
            yield f"position: {position} is beyond {whole} entries, and the journal has {taken}"
        elif is_open and len(inside) != open_changes:
            yield f"position: {open_changes} changes of the open transaction, and {len(inside)} in the journal"
        elif not is_open and taken > whole:
            yield f"position: {position} is beyond {whole} entries only, and the journal has {taken}"

    def _gaps(self) -> Iterator[str]:
        """Nothing here takes the slot away, so whatever crashes, no gap may be found."""
        for cause, detail in self.ground.observer.execute("select cause, detail from cdc.gap"):
            yield f"gap: {cause} ({detail})"

    def _writes(self) -> Iterator[str]:
        """Only what was committed, and never an older version after a newer one."""
        for feed, sink in self.sinks.items():
            for operation in sink.written[self.judged[feed] :]:
                if operation.action is Action.WITHDRAW:
                    continue
                version = operation.fields.get("Version")
                if feed == "awards" and operation.record_id not in self.history.events:
                    yield f"awards: {operation.record_id} was never shown"
                if version is None:
                    continue
                assert isinstance(version, int)
                if version not in self.history.versions:
                    yield f"people: version {version} of {operation.record_id} was never shown"
                if version < self.newest.get(operation.record_id, 0):
                    yield f"people: version {version} of {operation.record_id} came late"
                self.newest[operation.record_id] = version
            self.judged[feed] = len(sink.written)

    def _doubles(self) -> Iterator[str]:
        for feed, sink in self.sinks.items():
            held = Counter(h.record_id for h in sink.records.values())
            yield from (f"{feed}: {record} is there {n} times" for record, n in held.items() if n > 1)

    def _bells(self) -> Iterator[str]:
        """Whatever differs is known to differ: its key is dirty, or the change is yet to be captured."""
        known = self.known
        for feed, key, what in self.differences():
            if (feed, key) not in known and not self._is_to_come(feed, key):
                yield f"{feed} {key}: {what}, and nobody knows"

    @property
    def known(self) -> set[tuple[str, str]]:
        return set(self.ground.observer.execute("select feed, key from cdc.outbox"))

    def _ledger(self) -> Iterator[str]:
        """A hash stands in the ledger only while the sink certainly holds that value."""
        query = "select feed, record_id, crm_id, field_hashes from cdc.ledger where state = 'sent'"
        for feed, record_id, crm_id, hashes in self.ground.observer.execute(query):
            held = self.sinks[feed].records.get(crm_id)
            if hashes and held is None:
                yield f"ledger: {feed} has {record_id}, which the sink has not"
            elif held is not None:
                wrong = [n for n, digest in hashes.items() if field_hash(HASH_KEY, n, held.fields.get(n)) != digest]
                if wrong:
                    yield f"ledger: {feed} {record_id} is wrong about {wrong}"

    def _withdrawals(self) -> Iterator[str]:
        """Until somebody approves more, or an hour begins anew, no more have left than the breaker lets pass."""
        left, limit = set(self.sinks["people"].withdrawn), self.ground.profile.feeds["people"].withdraw_limit
        if not self.may_withdraw_more and len(left) > limit:
            yield f"breaker: {sorted(left)} have been withdrawn, {limit} may be"

    def keys_of(self, first: int, count: int) -> set[tuple[str, str]]:
        """Give (feed, key) of a part of the journal."""
        chosen = self.journal.entries[first % len(self.journal.entries) :][:count]
        return {(_FEEDS_OF[table], key) for _, table, values in chosen for key in values if key is not None}

    def _is_to_come(self, feed: str, key: str) -> bool:
        for kind, table, values in self.history.entries()[len(self.journal.entries) :]:
            if _FEEDS_OF[table] == feed and (kind == "T" or values == (key,)):
                return True
        return False

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """Give (feed, key, what) of all in which the sinks aren't what the views say.

        An award is compared while its person is as it should be; until then the person's key stands for both.
        """
        people = {str(row.pop("id")): row for (row,) in self._rows("people")}
        held = self.sinks["people"].fields() if not list(self._doubles()) else {}
        for key in people.keys() | held.keys():
            if people.get(key) != held.get(key):
                yield "people", key, f"is {held.get(key)} and should be {people.get(key)}"
        contacts = {h.record_id: h.crm_id for h in self.sinks["people"].records.values()}
        dirty = {key for feed, key in self.known if feed == "people"}
        awards = {h.record_id: h.parent_crm_id for h in self.sinks["awards"].records.values()}
        for (row,) in self._rows("awards"):
            person, event = str(row["person"]), row["event_id"]
            if person in people and person in contacts and person not in dirty:
                parent = awards.pop(event, None)
                if parent != contacts[person]:
                    yield "awards", str(row["id"]), f"{event} hangs on {parent} and should on {contacts[person]}"
            else:
                awards.pop(event, None)
        for event, parent in awards.items():
            person = event.split("-")[1][:-1]
            if parent not in contacts.values() and person not in dirty:
                yield "awards", event.split("-")[1], f"{event} hangs on nothing"

    def _rows(self, view: str) -> list[Any]:
        query = f"select to_jsonb(v) from cdc.{view} v"
        return self.ground.observer.execute(query.encode()).fetchall()
