"""The application's side of a profile: rows as it writes them, and what the views make of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

ADULT_BIRTHDAY = "1980-02-03"


@dataclass
class Application:
    """One test's writes, inside a transaction that is rolled back.

    Attributes:
        profile: `core` or `2026`.
        connection: in that transaction.
        organisation: an organisation's id in `2026`; None in `core`.
    """

    profile: str
    connection: psycopg.Connection[Any]
    organisation: uuid.UUID | None = field(default=None)

    def insert(self, table: str, **columns: Any) -> uuid.UUID:
        """Insert a row; its id is made up if not given."""
        columns.setdefault("id", uuid.uuid4())
        self.connection.execute(
            sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier("public", table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            ),
            list(columns.values()),
        )
        identity: uuid.UUID = columns["id"]
        return identity

    def update(self, table: str, row: uuid.UUID, **columns: Any) -> None:
        """Update one row by id."""
        pairs = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns]
        self.connection.execute(
            sql.SQL("update {} set {} where id = %s").format(
                sql.Identifier("public", table), sql.SQL(", ").join(pairs)
            ),
            [*columns.values(), row],
        )

    def person(self, *, age: str | None = "15 years", **columns: Any) -> uuid.UUID:
        """Insert a person, a student of 15 unless it says otherwise.

        Args:
            age: an interval, or None for an unknown date of birth.
            columns: of `users`; `org_role` and `org_roles` bring an organisation along.
        """
        identity = uuid.uuid4()
        self.connection.execute("insert into auth.users (id) values (%s)", [identity])
        if age is not None and "date_of_birth" not in columns:
            row = self.connection.execute("select (now() at time zone 'UTC' - %s::interval)::date", [age]).fetchone()
            assert row is not None
            columns["date_of_birth"] = row[0]
        if "org_role" in columns:
            columns.setdefault("role", "org_managed")
            columns.setdefault("organization_id", self.organisation)
        return self.insert("users", id=identity, **{"first_name": "Aru", "last_name": "Brendren", **columns})

    def quest(self, title: str = "Map your watershed", **columns: Any) -> uuid.UUID:
        """Insert a quest that nobody is said to have written."""
        return self.insert("quests", title=title, **columns)

    def enrol(self, user: uuid.UUID, quest: uuid.UUID | None = None, **columns: Any) -> uuid.UUID:
        """Insert an enrolment, in a new quest if none is given."""
        return self.insert("user_quests", user_id=user, quest_id=quest or self.quest(), **columns)

    def complete_task(self, enrolment: uuid.UUID, *, xp: int = 100, at: str = "2026-01-05 12:00+00") -> uuid.UUID:
        """Insert a task of an enrolment and its completion."""
        row = self.connection.execute(
            "select user_id, quest_id from public.user_quests where id = %s", [enrolment]
        ).fetchone()
        assert row is not None
        user, quest = row
        task = self.insert(
            "user_quest_tasks",
            user_id=user,
            quest_id=quest,
            user_quest_id=enrolment,
            title="Step",
            pillar="stem",
            xp_value=xp,
        )
        return self.insert(
            "quest_task_completions",
            user_id=user,
            quest_id=quest,
            task_id=task,
            user_quest_task_id=task,
            completed_at=at,
        )

    def rows(self, view: str, key: str, value: uuid.UUID) -> list[dict[str, Any]]:
        """What a view shows for a key, asked as the pipeline asks: in UTC, as JSON."""
        statement = sql.SQL("select to_jsonb(v) from {} v where {} = any(%s::uuid[])").format(
            sql.Identifier("cdc", view), sql.Identifier(key)
        )
        self.connection.execute("set local timezone to 'UTC'")
        return [row for (row,) in self.connection.execute(statement, [[str(value)]])]

    def contact(self, user: uuid.UUID) -> dict[str, Any] | None:
        """The person's contact, or None if they may not be in the CRM."""
        found = self.rows("contacts", "user_id", user)
        assert len(found) <= 1
        return found[0] if found else None

    def field(self, user: uuid.UUID, name: str) -> Any:
        """One field of a contact that must be there."""
        contact = self.contact(user)
        assert contact is not None, "the person is not in the view"
        return contact[name]

    def completions(self, enrolment: uuid.UUID) -> list[dict[str, Any]]:
        """The events of an enrolment."""
        return self.rows("quest_completions", "enrolment_id", enrolment)
