"""The demo's stand-in for the application: the writes that the real one makes, in its order, one commit each.

The application talks to its database over HTTP, one statement in one transaction a call, so what looks like one thing
to a person is several commits with nothing around them.
"""

from __future__ import annotations

import uuid
from typing import Any, LiteralString

import psycopg

LEGACY_PILLARS = [
    "Arts & Creativity",
    "STEM & Logic",
    "Life & Wellness",
    "Language & Communication",
    "Society & Culture",
]


class Application:
    """Writes to the tables of a shipped profile.

    Args:
        connection: in autocommit mode.
        profile: `core` or `2026`.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], profile: str) -> None:
        self._connection = connection
        self.profile = profile

    @property
    def modern(self) -> bool:
        """Whether this is the application of 2026: organisations, dependents, no badges."""
        return self.profile == "2026"

    async def write(self, statement: LiteralString, **values: object) -> None:
        """Run one statement; it is committed when this returns."""
        await self._connection.execute(statement, values)

    async def add_organisation(self, name: str) -> uuid.UUID:
        """Add a school; only the application of 2026 has them."""
        school = uuid.uuid4()
        await self.write(
            "insert into public.organizations (id, name, slug) values (%(id)s, %(name)s, %(slug)s)",
            id=school,
            name=name,
            slug=f"school-{school}",
        )
        return school

    async def add_quest(self, title: str) -> uuid.UUID:
        """Add a quest to the catalogue."""
        quest = uuid.uuid4()
        await self.write("insert into public.quests (id, title) values (%(id)s, %(title)s)", id=quest, title=title)
        return quest

    async def sign_up(self, first: str, last: str, *, email: str | None, age: int | None) -> uuid.UUID:
        """Register somebody: the account, the row, and five rows of XP in a vocabulary that holds nothing.

        Args:
            first: as typed.
            last: as stored, which is HTML-escaped.
            email: as typed.
            age: in years; None for an adult, who isn't asked.
        """
        person = uuid.uuid4()
        await self.write("insert into auth.users (id, email) values (%(id)s, %(email)s)", id=person, email=email)
        await self.write(
            "insert into public.users (id, first_name, last_name, display_name, email, date_of_birth) values"
            " (%(id)s, %(first)s, %(last)s, %(first)s, %(email)s,"
            " (now() - make_interval(years => %(age)s, months => 6))::date)"
            " on conflict (id) do update set email = excluded.email",
            id=person,
            first=first,
            last=last,
            email=email,
            age=age,
        )
        await self._touch_xp(person)
        return person

    async def log_in(self, person: uuid.UUID) -> None:
        """Log somebody in: writes a good deal and changes nothing that the CRM should see at once."""
        await self._touch_xp(person)
        if self.modern:
            await self.write(
                "update public.users set last_active = now(), last_logout_at = null where id = %(id)s", id=person
            )
        else:
            await self.write("update public.users set welcome_email_sent = true where id = %(id)s", id=person)
        await self.write(
            "insert into public.user_activity_events (user_id, session_id, event_type, event_category)"
            " values (%(id)s, gen_random_uuid(), 'login', 'auth')",
            id=person,
        )

    async def import_roster(self, ages: list[int | None], school: uuid.UUID | None) -> list[uuid.UUID]:
        """Import pupils in batches of forty.

        Args:
            ages: of each pupil in years; None where the school's list has no date of birth.
            school: their organisation; None in `core`, which has none.
        """
        people = [uuid.uuid4() for _ in ages]
        await self.write("insert into auth.users (id) select unnest(%(ids)s::uuid[])", ids=people)
        for start in range(0, len(people), 40):
            await self.write(
                "insert into public.users (id, first_name, last_name, date_of_birth)"
                " select id, 'Pupil', 'No. ' || left(id::text, 4),"
                " (now() - make_interval(years => age, months => 6))::date"
                " from unnest(%(ids)s::uuid[], %(ages)s::integer[]) as pupil (id, age)",
                ids=people[start : start + 40],
                ages=ages[start : start + 40],
            )
        if school is not None:
            await self.write(
                "update public.users set role = 'org_managed', org_role = 'student', organization_id = %(school)s"
                " where id = any(%(ids)s)",
                school=school,
                ids=people,
            )
        return people

    async def pick_up(
        self, person: uuid.UUID, quest: uuid.UUID, pillars: list[str]
    ) -> tuple[uuid.UUID, list[uuid.UUID]]:
        """Enrol somebody, with one task for each pillar; returns the enrolment and the tasks."""
        enrolment, tasks = uuid.uuid4(), [uuid.uuid4() for _ in pillars]
        await self.write(
            "insert into public.user_quests (id, user_id, quest_id) values (%(id)s, %(person)s, %(quest)s)",
            id=enrolment,
            person=person,
            quest=quest,
        )
        await self.write(
            "insert into public.user_quest_tasks (id, user_id, quest_id, user_quest_id, title, pillar)"
            " select id, %(person)s, %(quest)s, %(enrolment)s, 'A task', pillar"
            " from unnest(%(tasks)s::uuid[], %(pillars)s::text[]) as task (id, pillar)",
            person=person,
            quest=quest,
            enrolment=enrolment,
            tasks=tasks,
            pillars=pillars,
        )
        await self.write(
            "update public.user_quests set personalization_completed = true where id = %(id)s", id=enrolment
        )
        return enrolment, tasks

    async def complete_task(self, task: uuid.UUID) -> None:
        """Complete a task: the completion, the XP of its pillar, and since 2026 the person's total."""
        await self.write(
            "insert into public.quest_task_completions (user_id, quest_id, task_id, user_quest_task_id, evidence_text)"
            " select user_id, quest_id, id, id, 'A student''s own work.' from public.user_quest_tasks"
            " where id = %(id)s",
            id=task,
        )
        await self.write(
            "insert into public.user_skill_xp (user_id, pillar, xp_amount)"
            " select user_id, pillar, xp_value from public.user_quest_tasks where id = %(id)s"
            " on conflict (user_id, pillar) do update set xp_amount = user_skill_xp.xp_amount + excluded.xp_amount",
            id=task,
        )
        if self.modern:
            await self.write(
                "update public.users u set total_xp ="
                " (select sum(xp_amount) from public.user_skill_xp x where x.user_id = u.id)"
                " where id = (select user_id from public.user_quest_tasks where id = %(id)s)",
                id=task,
            )

    async def end_quest(self, enrolment: uuid.UUID) -> None:
        """Complete an enrolment."""
        await self.write(
            "update public.user_quests set is_active = false, completed_at = clock_timestamp(),"
            " last_set_down_at = clock_timestamp() where id = %(id)s",
            id=enrolment,
        )

    async def reopen_quest(self, enrolment: uuid.UUID) -> None:
        """Take a completed enrolment up again; that it had been completed is no longer in the database."""
        await self.write(
            "update public.user_quests set is_active = true, completed_at = null, status = 'picked_up',"
            " times_picked_up = times_picked_up + 1, last_picked_up_at = clock_timestamp() where id = %(id)s",
            id=enrolment,
        )

    async def erase(self, person: uuid.UUID) -> None:
        """Erase somebody as the nightly job does: table by table, and the account last, which takes the row along."""
        await self.write("delete from public.quest_task_completions where user_id = %(id)s", id=person)
        await self.write("delete from public.user_quest_tasks where user_id = %(id)s", id=person)
        await self.write("delete from public.user_quests where user_id = %(id)s", id=person)
        await self.write("delete from public.user_skill_xp where user_id = %(id)s", id=person)
        await self.write("delete from auth.users where id = %(id)s", id=person)

    async def _touch_xp(self, person: uuid.UUID) -> None:
        await self.write(
            "insert into public.user_skill_xp (user_id, pillar, xp_amount)"
            " select %(id)s, pillar, 0 from unnest(%(pillars)s::text[]) pillar"
            " on conflict (user_id, pillar) do update set xp_amount = user_skill_xp.xp_amount",
            id=person,
            pillars=LEGACY_PILLARS,
        )
