"""What must be true once everything is delivered, whatever happened on the way.

The source's views say what the CRM must hold; the simulator says what it holds and every write that led there; the
chronicle of the workload says what was ever shown, what never was, and whom it must never have seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sinks.zoho.notes import reference
from tests.support.pipeline import SLOT, Site
from tests.support.postgres import Database

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)")
_MARK = re.compile(r"[0-9a-f]{8} v(\d+)$")
_SHOWN = 20
_OUR_SLOT = "select slot_name from pg_replication_slots where slot_name = %s and database = current_database()"

Record = Mapping[str, Any]


@dataclass(slots=True)
class Chronicle:
    """What a workload has done, as far as the database doesn't show it in the end.

    Attributes:
        shown: event ids that were ever committed, with the person's id. They may be in the CRM, once each.
        undone: event ids and marks of display names that were rolled back. They may never have been there.
        kept_home: ids of people who were outside the gate all the time.
        seed: of the workload, to be told with a failure.
    """

    shown: dict[str, str] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    kept_home: set[str] = field(default_factory=set)
    seed: int | None = None


async def verify(site: Site, chronicle: Chronicle) -> None:
    """Hold the CRM and the pipeline's books against the database.

    Raises:
        AssertionError: with what is wrong, at most twenty lines of it.
    """
    crm = await CrmState.read(site)
    problems = [
        *_contacts(site.database, crm),
        *_events(site.database, crm, chronicle),
        *_never(crm, chronicle),
        *_never_twice(crm),
        *_never_older(crm),
        *_books(site.database, crm),
        *_capture(site),
    ]
    more = f"\n... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    assert not problems, (
        f"the CRM is not what it must be (seed {chronicle.seed}):\n" + "\n".join(problems[:_SHOWN]) + more
    )


@dataclass(frozen=True, slots=True)
class CrmState:
    """All that the simulator holds, and how it came to that."""

    contacts: list[Record]
    tasks: list[Record]
    notes: list[Record]
    contact_history: list[Record]
    task_history: list[Record]
    note_history: list[Record]

    @classmethod
    async def read(cls, site: Site) -> CrmState:
        modules = ("Contacts", "Tasks", "Notes")
        records = [await site.crm.records(module) for module in modules]
        return cls(*records, *[await site.crm.history(module) for module in modules])

    @property
    def people(self) -> dict[str, str]:
        """The person's id by the contact's."""
        return {c["id"]: c["External_ID"] for c in self.contacts}


def _contacts(database: Database, crm: CrmState) -> Iterator[str]:
    wanted = {
        row[0]: row[1] for row in database.execute("select user_id::text, to_jsonb(c) - 'user_id' from cdc.contacts c")
    }
    held = Counter(c["External_ID"] for c in crm.contacts)
    yield from (f"contact {who}: {n} of them" for who, n in held.items() if n > 1)
    yield from (f"contact {who}: missing" for who in wanted.keys() - held.keys())
    yield from (f"contact {who}: may not be there" for who in held.keys() - wanted.keys())
    for contact in crm.contacts:
        for name, value in wanted.get(contact["External_ID"], {}).items():
            if name != "External_ID" and _plain(contact[name]) != _plain(value):
                yield f"contact {contact['External_ID']}: {name} is {contact[name]!r} and should be {value!r}"


def _plain(value: Any) -> Any:
    """Make one instant equal to itself in another zone."""
    return datetime.fromisoformat(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else value


def _events(database: Database, crm: CrmState, chronicle: Chronicle) -> Iterator[str]:
    """Each event that the view shows is there once; one that it showed before may be, under a contact that is there."""
    completions = 'select event_id, user_id::text, "Subject" from cdc.quest_completions'
    awards = 'select event_id, user_id::text, "Note_Title" from cdc.badges_earned'
    tasks = [(t["Event_ID"], t["Who_Id"], t["Subject"]) for t in crm.tasks]
    by_reference = {reference(event): event for event in chronicle.shown}
    notes = [(by_reference.get(_reference(n)), n["Parent_Id"], n["Note_Title"]) for n in crm.notes]
    for kind, query, held in (("task", completions, tasks), ("note", awards, notes)):
        wanted = {event: (person, text) for event, person, text in database.execute(query)}
        times = Counter(event for event, _, _ in held)
        yield from (f"{kind} {event}: missing" for event in wanted.keys() - times.keys())
        yield from (f"{kind} {event}: {n} of them" for event, n in times.items() if n > 1)
        for event, parent, text in held:
            person = crm.people.get(parent["id"]) if parent else None
            if event is None or event not in chronicle.shown:
                yield f"{kind} {event}: never happened"
            elif person != chronicle.shown[event]:
                yield f"{kind} {event}: hangs on {person} and should on {chronicle.shown[event]}"
            elif event in wanted and text != wanted[event][1]:
                yield f"{kind} {event}: says {text!r} and should say {wanted[event][1]!r}"


def _reference(note: Record) -> str:
    return str(note["Note_Content"]).rpartition("\n")[2]


def _never(crm: CrmState, chronicle: Chronicle) -> Iterator[str]:
    """What was rolled back, or stayed outside the gate, has never been there, not even for a moment."""
    for change in crm.contact_history:
        fields = change["fields"]
        if fields.get("External_ID") in chronicle.kept_home:
            yield f"contact {fields['External_ID']}: was there, and should have stayed at home"
        mark = _MARK.search(fields.get("Display_Name") or "")
        if mark is not None and mark[0] in chronicle.undone:
            yield f"contact {change['id']}: bore a name that was rolled back"
    for change in crm.task_history:
        if change["fields"].get("Event_ID") in chronicle.undone:
            yield f"task {change['fields']['Event_ID']}: was rolled back"


def _never_twice(crm: CrmState) -> Iterator[str]:
    """At no moment have there been two records of one identity."""
    histories = (
        ("contact", crm.contact_history, lambda f: f.get("External_ID")),
        ("task", crm.task_history, lambda f: f.get("Event_ID")),
        ("note", crm.note_history, lambda f: _reference(f) if f.get("Note_Content") else None),
    )
    for kind, history, identity in histories:
        alive: Counter[str] = Counter()
        who: dict[str, str] = {}
        for change in history:
            if change["action"] == "insert":
                who[change["id"]] = name = identity(change["fields"])
                alive[name] += 1
                if alive[name] > 1:
                    yield f"{kind} {name}: there twice (write {change['number']})"
            elif change["action"] == "delete":
                alive[who[change["id"]]] -= 1


def _never_older(crm: CrmState) -> Iterator[str]:
    """The number in a display name grows with each edit; in the CRM it has never gone back."""
    person: dict[str, str] = {}
    newest: dict[str, int] = {}
    for change in crm.contact_history:
        fields = change["fields"]
        if change["action"] == "insert":
            person[change["id"]] = fields["External_ID"]
        found = _MARK.search(fields.get("Display_Name") or "")
        if found is None:
            continue
        who, version = person[change["id"]], int(found[1])
        if version < newest.get(who, 0):
            yield f"contact {who}: version {version} after {newest[who]} (write {change['number']})"
        newest[who] = max(version, newest.get(who, 0))


def _books(database: Database, crm: CrmState) -> Iterator[str]:
    """The pipeline's own tables say the same as the CRM."""
    for feed, key, reason in database.execute("select feed, key, reason from cdc.outbox"):
        yield f"outbox: {feed} {key} is left ({reason})"
    doubtful = dict(database.execute("select record_id, feed from cdc.ledger where state = 'sending'"))
    yield from (f"ledger: {doubtful[record]} {record} says sending" for record in doubtful.keys() & _in_views(database))
    for scope, reason in database.execute("select scope, reason from cdc.control"):
        yield f"control: {scope} is paused for {reason}"
    for cause, *_ in database.execute("select cause from cdc.gap"):
        yield f"gap: {cause}"
    held = {"contacts": crm.contacts, "quest_completions": crm.tasks, "badges_earned": crm.notes}
    for feed, records in held.items():
        query = "select crm_id from cdc.ledger where feed = %s and state = 'sent'"
        known = {row[0] for row in database.execute(query, [feed])}
        there = {record["id"] for record in records}
        yield from (f"ledger: {feed} has {crm_id}, which the CRM has not" for crm_id in known - there)
        unknown = {r["id"] for r in records if not _identities(r) & {*doubtful, *map(reference, doubtful)}} - known
        yield from (f"ledger: {feed} knows nothing of {crm_id}" for crm_id in unknown)


def _in_views(database: Database) -> set[str]:
    """Record ids of all that the views show.

    An event whose answer was lost, and that the database no longer shows, stays in doubt: nobody needs to know.
    """
    query = (
        "select user_id::text from cdc.contacts union all select event_id from cdc.quest_completions"
        " union all select event_id from cdc.badges_earned"
    )
    return {row[0] for row in database.execute(query)}


def _identities(record: Record) -> set[str]:
    return {str(record.get("Event_ID")), _reference(record) if "Note_Content" in record else ""}


def _capture(site: Site) -> Iterator[str]:
    """Each row change is in the journal once, and the slot was never acknowledged beyond the position."""
    if site.transport == "realtime":  # no position and no journal: what counts is what the CRM holds
        yield from (f"slot: {name} is there" for (name,) in site.database.execute(_OUR_SLOT, [SLOT]))
        return
    streamed, journaled = site.row_changes()
    if streamed != journaled:
        yield f"journal: {journaled} row changes of {streamed}"
    [(ahead,)] = site.database.execute(
        "select s.confirmed_flush_lsn > p.lsn from pg_replication_slots s"
        " join cdc.position p on p.slot = s.slot_name where s.slot_name = %s",
        [SLOT],
    )
    if ahead:
        yield "slot: acknowledged beyond the position"
