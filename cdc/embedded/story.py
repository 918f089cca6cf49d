"""A day in the life of the application, for the demo: writes to its tables, and what the CRM should make of them.

Every chapter says as data what it changes, so that the demo can check itself and a test can hold the views against it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg

from cdc.embedded.application import Application
from cdc.errors import ConfigError

PROFILES = ("core", "2026")
_CLASS_SIZE = 30
_ROSTER_AGES: list[int | None] = [*[13 + n % 5 for n in range(80)], *[8 + n % 4 for n in range(12)], *[None] * 8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deltas:
    """What a chapter changes in the CRM.

    Attributes:
        contacts: how many contacts more, or fewer if negative.
        changed: how many contacts that stay get other values, fields that may wait a day aside.
        tasks: how many tasks more.
        notes: how many notes more.
    """

    contacts: int = 0
    changed: int = 0
    tasks: int = 0
    notes: int = 0


@dataclass(slots=True)
class Cast:
    """Who and what the story is about, filled in as it goes."""

    school: uuid.UUID | None = None
    quest: uuid.UUID = field(default_factory=uuid.uuid4)
    teen: uuid.UUID = field(default_factory=uuid.uuid4)
    parent: uuid.UUID = field(default_factory=uuid.uuid4)
    pupils: list[uuid.UUID] = field(default_factory=list)
    enrolment: uuid.UUID = field(default_factory=uuid.uuid4)
    tasks: list[uuid.UUID] = field(default_factory=list)


Scene = Callable[[Application, Cast], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Chapter:
    """One step of the story.

    Attributes:
        title: two or three words.
        narration: what happens, in one sentence.
        scene: the writes.
        expects: what the CRM shows afterwards, against before.
        after_settling: the chapter before must have been delivered first, because this one takes back what it wrote.
    """

    title: str
    narration: str
    scene: Scene
    expects: Deltas = Deltas()
    after_settling: bool = False


async def _school_begins(app: Application, cast: Cast) -> None:
    cast.quest = await app.add_quest("Build a solar oven")
    cast.school = await app.add_organisation("Made-up Academy") if app.modern else None
    cast.pupils = await app.import_roster([14] * _CLASS_SIZE, cast.school)


async def _teen_registers(app: Application, cast: Cast) -> None:
    email = f"Maro.OTavi.{uuid.uuid4().hex[:6]}@Example.ORG"
    cast.teen = await app.sign_up("Maro", "O&#x27;Tavi", email=email, age=15)


async def _teen_logs_in(app: Application, cast: Cast) -> None:
    await app.log_in(cast.teen)


async def _quest_picked_up(app: Application, cast: Cast) -> None:
    cast.enrolment, cast.tasks = await app.pick_up(cast.teen, cast.quest, ["stem", "stem", "art"])


async def _three_tasks(app: Application, cast: Cast) -> None:
    for task in cast.tasks:
        await app.complete_task(task)


async def _quest_ended(app: Application, cast: Cast) -> None:
    await app.end_quest(cast.enrolment)


async def _badge_earned(app: Application, cast: Cast) -> None:
    badge, award = uuid.uuid4(), uuid.uuid4()
    await app.write(
        "insert into public.badges (id, name, identity_statement, description, pillar_primary)"
        " values (%(id)s, 'Tinkerer', 'I make things work.', 'What it takes.', 'stem')",
        id=badge,
    )
    await app.write(
        "insert into public.user_badges (id, user_id, badge_id, badge_type, is_active, started_at)"
        " values (%(id)s, %(teen)s, %(badge)s, 'custom', true, now())",
        id=award,
        teen=cast.teen,
        badge=badge,
    )
    await app.write("update public.user_badges set progress_percentage = 60 where id = %(id)s", id=award)
    await app.write(
        "update public.user_badges set completed_at = now(), claimed_at = now(), progress_percentage = 100,"
        " is_active = false where id = %(id)s",
        id=award,
    )
    await app.write(
        "update public.users set achievements_count = achievements_count + 1 where id = %(id)s", id=cast.teen
    )


async def _parent_joins(app: Application, cast: Cast) -> None:
    email = f"ren.otavi.{uuid.uuid4().hex[:6]}@example.org"
    if not app.modern:
        await app.write(
            "insert into public.parent_invitations (email, invited_by_student_id, token, expires_at)"
            " values (%(email)s, %(teen)s, gen_random_uuid()::text, now() + interval '48 hours')",
            email=email,
            teen=cast.teen,
        )
    cast.parent = await app.sign_up("Ren", "O&#x27;Tavi", email=email, age=None)
    await app.write("update public.users set role = 'parent' where id = %(id)s", id=cast.parent)
    await app.write(
        "insert into public.parent_student_links (parent_user_id, student_user_id, status)"
        " values (%(parent)s, %(teen)s, 'pending_approval')",
        parent=cast.parent,
        teen=cast.teen,
    )
    if app.modern:
        await app.write(
            "update public.parent_student_links set status = 'approved', verified_at = now()"
            " where parent_user_id = %(parent)s",
            parent=cast.parent,
        )
        return
    await app.write("delete from public.parent_invitations where email = %(email)s", email=email)
    await app.write(
        "update public.parent_student_links set status = 'active', approved_at = now()"
        " where parent_user_id = %(parent)s",
        parent=cast.parent,
    )


async def _class_logs_in(app: Application, cast: Cast) -> None:
    for pupil in cast.pupils:
        await app.log_in(pupil)


async def _quest_again(app: Application, cast: Cast) -> None:
    await app.reopen_quest(cast.enrolment)
    await app.end_quest(cast.enrolment)


async def _child_added(app: Application, cast: Cast) -> None:
    child = await app.sign_up("Ila", "O&#x27;Tavi", email=None, age=9)
    if app.modern:
        await app.write(
            "update public.users set is_dependent = true, managed_by_parent_id = %(parent)s where id = %(id)s",
            id=child,
            parent=cast.parent,
        )


async def _column_added(app: Application, cast: Cast) -> None:
    await app.write("alter table public.users add column if not exists favourite_tool text")
    await app.write(
        "update public.users set favourite_tool = 'spirit level', display_name = 'Maro the Builder' where id = %(id)s",
        id=cast.teen,
    )


async def _roster_imported(app: Application, cast: Cast) -> None:
    await app.import_roster(_ROSTER_AGES, cast.school)


async def _erasure_asked_for(app: Application, cast: Cast) -> None:
    await app.write(
        "update public.users set deletion_status = 'pending', deletion_requested_at = now(),"
        " deletion_scheduled_for = now() + interval '30 days' where id = %(id)s",
        id=cast.teen,
    )


async def _erased(app: Application, cast: Cast) -> None:
    await app.erase(cast.teen)


def chapters(profile: str) -> list[Chapter]:
    """Return the story for a shipped profile.

    Raises:
        ConfigError: for any other; the story writes to the application's own tables.
    """
    if profile not in PROFILES:
        raise ConfigError(f"there is no demo story for profile {profile!r}", fix="use core or 2026")
    badge = Chapter(
        "A badge is earned",
        "The award is an update of a row that was made when the badge was chosen; it becomes one note.",
        _badge_earned,
        Deltas(changed=1, notes=1),
    )
    return [
        Chapter(
            "School begins",
            f"A school imports a class of {_CLASS_SIZE}, all of them fourteen.",
            _school_begins,
            Deltas(contacts=_CLASS_SIZE),
        ),
        Chapter(
            "A teenager registers",
            "The e-mail comes in mixed case and the surname with an escaped apostrophe.",
            _teen_registers,
            Deltas(contacts=1),
        ),
        Chapter("A login", "Five rows of XP are rewritten as they were, and nothing is sent.", _teen_logs_in),
        Chapter("A quest is picked up", "One more active quest.", _quest_picked_up, Deltas(changed=1)),
        Chapter(
            "Three tasks are done",
            "Every task is two or three commits; together they change one contact.",
            _three_tasks,
            Deltas(changed=1),
        ),
        Chapter(
            "The quest is ended",
            "One completed quest, and one task in the CRM.",
            _quest_ended,
            Deltas(changed=1, tasks=1),
        ),
        *([badge] if profile == "core" else []),
        Chapter(
            "A parent joins",
            "The parent registers and is approved: a new contact, and the teenager's changes too.",
            _parent_joins,
            Deltas(contacts=1, changed=1),
        ),
        Chapter("The class logs in", f"{_CLASS_SIZE} logins at first bell, and no call to the CRM.", _class_logs_in),
        Chapter(
            "The quest, again",
            "It is opened and completed a second time, which is a second event.",
            _quest_again,
            Deltas(tasks=1),
            after_settling=True,
        ),
        Chapter("A child under 13", "A child of nine is added, and nothing leaves the database.", _child_added),
        Chapter(
            "A new column",
            "The table gains a column while we stream; only the new display name goes out.",
            _column_added,
            Deltas(changed=1),
        ),
        Chapter(
            "A roster of a hundred",
            "Eighty are old enough; twelve are under 13 and eight of unknown age, and they stay.",
            _roster_imported,
            Deltas(contacts=80),
        ),
        Chapter(
            "Erasure is asked for",
            "The teenager asks to be deleted, and the contact is withdrawn at once.",
            _erasure_asked_for,
            Deltas(contacts=-1),
        ),
        Chapter(
            "Thirty days later",
            "The application erases the account table by table; the parent is no longer linked to anybody.",
            _erased,
            Deltas(changed=1),
        ),
    ]


async def _at_once() -> None:
    return None


async def play(
    dsn: str,
    *,
    profile: str,
    pace_seconds: float,
    on_chapter: Callable[[Chapter], None],
    settled: Callable[[], Awaitable[None]] = _at_once,
) -> None:
    """Tell the story on a connection of its own.

    Args:
        dsn: of a database with the profile's schema.
        profile: `core` or `2026`.
        pace_seconds: pause after each chapter; 0 for none.
        on_chapter: called when a chapter begins.
        settled: waits until what was written so far is delivered. Awaited where the story takes back what it wrote: an
            event that the database no longer shows is not invented afterwards.

    Raises:
        ConfigError: for a profile without a story.
    """
    script, cast = chapters(profile), Cast()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        app = Application(connection, profile)
        for chapter in script:
            if chapter.after_settling:
                await settled()
            on_chapter(chapter)
            await chapter.scene(app, cast)
            await asyncio.sleep(pace_seconds)
