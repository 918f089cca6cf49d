"""What the application does, one function for each kind of thing: its statements, in its order, one commit each.

A transaction stands only where a transaction is what is to be tried.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import LiteralString

from tests.support.app_writer import NAMES, Person, Writer

PILLARS = ("stem", "STEM & Logic", "wellness", "Life & Wellness", "communication", "civics", "art", "Arts & Creativity")
PLATFORMS = ("canvas", "google_classroom", "schoology", "moodle", "spark")
EMAILS = (
    None,
    "Person.{n}@Example.ORG",
    "p{n}@example.org",
    "pupil{n}@optio-internal-placeholder.local",
    "not an address",
)

Operation = Callable[[Writer], Awaitable[None]]
OPERATIONS: list[tuple[Operation, int]] = []
"""Each with how often it comes, in relation to the others."""


def _operation(weight: int) -> Callable[[Operation], Operation]:
    def add(operation: Operation) -> Operation:
        OPERATIONS.append((operation, weight))
        return operation

    return add


# -- people ------------------------------------------------------------------------------------------------------------


@_operation(10)
async def sign_up(w: Writer) -> None:
    """An account, a row, and five rows of XP, each a commit of its own."""
    person = Person(w.new_id(), inside=True)
    role = w.chance.choices(("student", "parent", "advisor", "observer"), (8, 3, 1, 1))[0]
    age = w.chance.choice((9, 14, 15, 17, None)) if role == "student" else None
    person.inside = role != "student" or (age is not None and age >= 13)
    email = w.chance.choice(EMAILS)
    if not person.inside:
        w.chronicle.kept_home.add(str(person.id))
    await w.write("insert into auth.users (id, email) values (%(id)s, %(email)s)", id=person.id, email=email)
    await w.write(
        "insert into public.users (id, first_name, last_name, display_name, email, role, date_of_birth) values"
        " (%(id)s, %(first)s, %(last)s, %(display)s, %(email)s, %(role)s,"
        " (now() - make_interval(years => %(age)s, days => 100))::date)",
        id=person.id,
        first=w.chance.choice(NAMES),
        last=w.chance.choice(NAMES),
        display=w.next_name(person),
        email=None if email is None else email.format(n=w.chance.randint(1, 9999)),
        role=role,
        age=age,
    )
    await _touch_xp(w, person)
    w.people.append(person)


@_operation(3)
async def import_roster(w: Writer) -> None:
    """Many rows in one statement; some of the pupils are too young."""
    ages = [w.chance.choice((8, 14, 16, None)) for _ in range(w.chance.randint(5, 25))]
    people = [Person(w.new_id(), inside=age is not None and age >= 13) for age in ages]
    w.chronicle.kept_home.update(str(p.id) for p in people if not p.inside)
    ids = [p.id for p in people]
    await w.write("insert into auth.users (id) select unnest(%(ids)s::uuid[])", ids=ids)
    await w.write(
        "insert into public.users (id, first_name, last_name, display_name, date_of_birth)"
        " select id, 'Pupil', 'No. ' || left(id::text, 4), 'Pupil v0',"
        " (now() - make_interval(years => age, days => 100))::date"
        " from unnest(%(ids)s::uuid[], %(ages)s::integer[]) as pupil (id, age)",
        ids=ids,
        ages=ages,
    )
    w.people += people[:3]


@_operation(16)
async def edit_profile(w: Writer) -> None:
    person = w.anybody()
    await w.write(
        "update public.users set first_name = %(first)s, last_name = %(last)s, display_name = %(display)s,"
        " bio = 'words' where id = %(id)s",
        id=person.id,
        first=w.chance.choice(NAMES),
        last=w.chance.choice(NAMES),
        display=w.next_name(person),
    )


@_operation(6)
async def change_email(w: Writer) -> None:
    email = w.chance.choice(EMAILS)
    await w.write(
        "update public.users set email = %(email)s where id = %(id)s",
        id=w.anybody().id,
        email=None if email is None else email.format(n=w.chance.randint(1, 9999)),
    )


@_operation(14)
async def log_in(w: Writer) -> None:
    """Writes a good deal and changes next to nothing."""
    person = w.anybody()
    await _touch_xp(w, person)
    await w.write("update public.users set welcome_email_sent = true where id = %(id)s", id=person.id)
    if w.chance.random() < 0.3:
        await w.write("update public.users set last_active = clock_timestamp() where id = %(id)s", id=person.id)


@_operation(3)
async def log_in_a_class(w: Writer) -> None:
    people = w.chance.sample(w.people, min(8, len(w.people)))
    await w.write(
        "update public.users set last_active = clock_timestamp(), welcome_email_sent = true where id = any(%(ids)s)",
        ids=[p.id for p in people],
    )


@_operation(4)
async def ask_for_consent(w: Writer) -> None:
    """Somebody leaves the gate, until the parents agree."""
    person = w.anybody()
    if person.inside and w.may_leave():
        await w.write("update public.users set requires_parental_consent = true where id = %(id)s", id=person.id)
        if w.chance.random() < 0.7:
            await w.write("update public.users set parental_consent_verified = true where id = %(id)s", id=person.id)


@_operation(3)
async def correct_date_of_birth(w: Writer) -> None:
    """Somebody turns out to be old enough, or too young."""
    person = w.anybody()
    if person.inside and not w.may_leave():
        return
    w.chronicle.kept_home.discard(str(person.id))
    person.inside = not person.inside
    await w.write(
        "update public.users set date_of_birth = (now() - make_interval(years => %(age)s, days => 100))::date"
        " where id = %(id)s",
        id=person.id,
        age=15 if person.inside else 9,
    )


@_operation(3)
async def ask_for_deletion(w: Writer) -> None:
    person = w.anybody()
    if not w.may_leave():
        return
    await w.write("update public.users set deletion_status = 'pending' where id = %(id)s", id=person.id)
    if w.chance.random() < 0.6:
        await w.write("update public.users set deletion_status = 'none' where id = %(id)s", id=person.id)


@_operation(2)
async def erase(w: Writer) -> None:
    """Table by table, a commit each; the account goes last and takes the row along."""
    if len(w.people) < 8 or not w.may_leave():
        return
    person = w.anybody()
    w.people.remove(person)
    for other in w.people:
        other.links = [link for link in other.links if link not in person.links]
    await w.write("delete from public.quest_task_completions where user_id = %(id)s", id=person.id)
    await w.write("delete from public.user_quest_tasks where user_id = %(id)s", id=person.id)
    await w.write("delete from public.user_quests where user_id = %(id)s", id=person.id)
    await w.write("delete from public.user_skill_xp where user_id = %(id)s", id=person.id)
    await w.write("delete from auth.users where id = %(id)s", id=person.id)


# -- quests, XP and badges ---------------------------------------------------------------------------------------------


@_operation(12)
async def pick_up(w: Writer) -> None:
    person, enrolment, quest = w.anybody(), w.new_id(), w.chance.choice(w.catalogue.quests)
    tasks = [w.new_id() for _ in range(w.chance.randint(1, 3))]
    await w.write(
        "insert into public.user_quests (id, user_id, quest_id) values (%(id)s, %(person)s, %(quest)s)",
        id=enrolment,
        person=person.id,
        quest=quest,
    )
    await w.write(
        "insert into public.user_quest_tasks (id, user_id, quest_id, user_quest_id, title, pillar, xp_value)"
        " select id, %(person)s, %(quest)s, %(enrolment)s, 'A task', 'stem', 50"
        " from unnest(%(tasks)s::uuid[]) as t (id)",
        person=person.id,
        quest=quest,
        enrolment=enrolment,
        tasks=tasks,
    )
    person.enrolments[enrolment] = False
    person.tasks += tasks


@_operation(10)
async def complete_task(w: Writer) -> None:
    person = w.anybody()
    if not person.tasks:
        return
    task = person.tasks.pop(w.chance.randrange(len(person.tasks)))
    await w.write(
        "insert into public.quest_task_completions (user_id, quest_id, task_id, user_quest_task_id)"
        " select user_id, quest_id, id, id from public.user_quest_tasks where id = %(id)s",
        id=task,
    )
    await w.write(
        "insert into public.user_skill_xp (user_id, pillar, xp_amount)"
        " select user_id, pillar, xp_value from public.user_quest_tasks where id = %(id)s"
        " on conflict (user_id, pillar) do update set xp_amount = user_skill_xp.xp_amount + excluded.xp_amount",
        id=task,
    )


@_operation(14)
async def end_quest(w: Writer) -> None:
    person, enrolment = _enrolment(w, completed=False)
    if person is not None and enrolment is not None:
        await _complete(w, person, enrolment)


@_operation(5)
async def reopen_quest(w: Writer) -> None:
    """That it had been completed is no longer in the database; often it is completed again at once."""
    person, enrolment = _enrolment(w, completed=True)
    if person is None or enrolment is None:
        return
    await w.write(
        "update public.user_quests set is_active = true, completed_at = null, times_picked_up = times_picked_up + 1"
        " where id = %(id)s",
        id=enrolment,
    )
    person.enrolments[enrolment] = False
    if w.chance.random() < 0.5:
        await _complete(w, person, enrolment)


@_operation(2)
async def delete_enrolment(w: Writer) -> None:
    person, enrolment = _enrolment(w, completed=w.chance.random() < 0.5)
    if person is not None and enrolment is not None:
        del person.enrolments[enrolment]
        person.tasks.clear()
        await w.write("delete from public.user_quests where id = %(id)s", id=enrolment)


@_operation(8)
async def change_xp(w: Writer) -> None:
    await w.write(
        "insert into public.user_skill_xp (user_id, pillar, xp_amount) values (%(id)s, %(pillar)s, %(start)s)"
        " on conflict (user_id, pillar) do update set"
        " xp_amount = greatest(0, user_skill_xp.xp_amount + %(change)s)",
        id=w.anybody().id,
        pillar=w.chance.choice(PILLARS),
        start=w.chance.randint(0, 900),
        change=w.chance.randint(-400, 600),
    )


@_operation(6)
async def select_badge(w: Writer) -> None:
    """A row is made when a badge is chosen; that is no award."""
    person, award = w.anybody(), w.new_id()
    person.badges[award] = False
    await w.write(
        "insert into public.user_badges (id, user_id, badge_id, badge_type, started_at)"
        " values (%(id)s, %(person)s, %(badge)s, 'exploration', now())",
        id=award,
        person=person.id,
        badge=w.chance.choice(w.catalogue.badges),
    )


@_operation(7)
async def award_badge(w: Writer) -> None:
    candidates = [(p, a) for p in w.people for a, awarded in p.badges.items() if not awarded]
    if not candidates:
        return
    person, award = w.chance.choice(candidates)
    person.badges[award] = True
    events = await w.write(
        "update public.user_badges set completed_at = clock_timestamp(), progress_percentage = 100, is_active = false"
        " where id = %(id)s returning cdc.event_id(id, completed_at)",
        id=award,
    )
    w.shown(person, events)


# -- links -------------------------------------------------------------------------------------------------------------


@_operation(4)
async def link_parent(w: Writer) -> None:
    parent, student = w.chance.sample(w.people, 2)
    link = w.new_id()
    made = await w.write(
        "insert into public.parent_student_links (id, parent_user_id, student_user_id) values"
        " (%(id)s, %(parent)s, %(student)s) on conflict do nothing returning id",
        id=link,
        parent=parent.id,
        student=student.id,
    )
    if made and w.chance.random() < 0.8:
        await w.write("update public.parent_student_links set status = 'active' where id = %(id)s", id=link)
    if made:
        parent.links.append(link)


@_operation(2)
async def unlink_parent(w: Writer) -> None:
    person = w.anybody()
    if person.links:
        await w.write("delete from public.parent_student_links where id = %(id)s", id=person.links.pop())


@_operation(4)
async def connect_lms(w: Writer) -> None:
    await w.write(
        "insert into public.lms_integrations (user_id, lms_platform, lms_user_id) values"
        " (%(id)s, %(platform)s, %(id)s::text || %(n)s::text)",
        id=w.anybody().id,
        platform=w.chance.choice(PLATFORMS),
        n=w.chance.getrandbits(40),
    )


@_operation(2)
async def disturb_lms(w: Writer) -> None:
    person = w.anybody()
    await w.write("update public.lms_integrations set sync_status = 'error' where user_id = %(id)s", id=person.id)
    if w.chance.random() < 0.4:
        await w.write("delete from public.lms_integrations where user_id = %(id)s", id=person.id)


# -- what must leave no trace ------------------------------------------------------------------------------------------


@_operation(6)
async def make_noise(w: Writer) -> None:
    """Tables that nobody watches."""
    await w.write(
        "insert into public.user_activity_events (user_id, session_id, event_type, event_category)"
        " select %(id)s, gen_random_uuid(), 'click', 'ui' from generate_series(1, 40)",
        id=w.anybody().id,
    )
    await w.write("update public.badges set updated_at = now()")


@_operation(4)
async def roll_back(w: Writer) -> None:
    """An edit, a completion and a new person that never come to be."""
    person, enrolment = _enrolment(w, completed=False)
    stranger = w.new_id()
    async with w.connection.transaction(force_rollback=True):
        name = w.next_name(someone := w.anybody())
        w.chronicle.undone.add(someone.mark)
        await w.write("insert into auth.users (id) values (%(id)s)", id=stranger)
        await w.write(
            "insert into public.users (id, last_name, display_name, role)"
            " values (%(id)s, 'Nobody', %(name)s, 'parent')",
            id=stranger,
            name=name,
        )
        if person is not None:
            events = await w.write(_COMPLETE, id=enrolment)
            w.chronicle.undone.update(event for (event,) in events)
    w.chronicle.kept_home.add(str(stranger))


@_operation(4)
async def save_a_part(w: Writer) -> None:
    """One transaction of which a part is undone: the name before the savepoint stays, the one after it doesn't."""
    person, other = w.chance.sample(w.people, 2)
    async with w.connection.transaction():
        await w.write(_RENAME, id=person.id, name=w.next_name(person))
        async with w.connection.transaction(force_rollback=True):
            await w.write(_RENAME, id=person.id, name=w.next_name(person))
            w.chronicle.undone.add(person.mark)
        await w.write(_RENAME, id=other.id, name=w.next_name(other))


_RENAME: LiteralString = "update public.users set display_name = %(name)s where id = %(id)s"
_COMPLETE: LiteralString = (
    "update public.user_quests set is_active = false, completed_at = clock_timestamp() where id = %(id)s"
    " returning cdc.event_id(id, completed_at)"
)


async def _complete(w: Writer, person: Person, enrolment: uuid.UUID) -> None:
    w.shown(person, await w.write(_COMPLETE, id=enrolment))
    person.enrolments[enrolment] = True


def _enrolment(w: Writer, *, completed: bool) -> tuple[Person, uuid.UUID] | tuple[None, None]:
    candidates = [(p, e) for p in w.people for e, done in p.enrolments.items() if done is completed]
    return w.chance.choice(candidates) if candidates else (None, None)


async def _touch_xp(w: Writer, person: Person) -> None:
    await w.write(
        "insert into public.user_skill_xp (user_id, pillar, xp_amount)"
        " select %(id)s, pillar, 0 from unnest(%(pillars)s::text[]) pillar"
        " on conflict (user_id, pillar) do update set xp_amount = user_skill_xp.xp_amount",
        id=person.id,
        pillars=["Arts & Creativity", "STEM & Logic", "Life & Wellness"],
    )
