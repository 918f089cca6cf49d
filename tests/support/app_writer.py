"""One connection of the application, and what it remembers of the people whom it made."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from tests.support.oracle import Chronicle

NAMES = ("Zoë", "O&#x27;Neil", "Smith &amp; Daughter", "  Ann   Marie ", "User", "", "n" * 95, "Jo&#39;", "&lt;b&gt;")
"""As the application stores them: escaped for HTML, unless an import did not."""


@dataclass(slots=True)
class Person:
    """What a writer remembers of somebody."""

    id: uuid.UUID
    inside: bool
    version: int = 0
    enrolments: dict[uuid.UUID, bool] = field(default_factory=dict)
    tasks: list[uuid.UUID] = field(default_factory=list)
    badges: dict[uuid.UUID, bool] = field(default_factory=dict)
    links: list[uuid.UUID] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The end of the display name: found on nobody else, and its number only grows."""
        return f"{str(self.id)[:8]} v{self.version}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is there before anybody is."""

    quests: list[uuid.UUID]
    badges: list[uuid.UUID]


class Writer:
    """One connection of the application.

    Args:
        connection: in autocommit mode.
        chance: its own.
        catalogue: quests and badges.
        chronicle: is told what the database will not show in the end.
        departures: how often somebody may leave the gate; keeps below the limit that the breaker watches.
    """

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        chance: random.Random,
        catalogue: Catalogue,
        chronicle: Chronicle,
        departures: int,
    ) -> None:
        self.connection = connection
        self.chance = chance
        self.catalogue = catalogue
        self.chronicle = chronicle
        self._departures = departures
        self.people: list[Person] = []

    async def write(self, statement: LiteralString, **values: object) -> list[tuple[Any, ...]]:
        """Run one statement, which commits it, and give the rows that it returns."""
        cursor = await self.connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []

    def new_id(self) -> uuid.UUID:
        return uuid.UUID(int=self.chance.getrandbits(128), version=4)

    def anybody(self) -> Person:
        return self.chance.choice(self.people)

    def next_name(self, person: Person) -> str:
        """The display name that somebody takes now, with a new mark."""
        person.version += 1
        return f"{self.chance.choice(NAMES)[:60]} {person.mark}"

    def shown(self, person: Person, events: list[tuple[Any, ...]]) -> None:
        self.chronicle.shown.update((event, str(person.id)) for (event,) in events)

    def may_leave(self) -> bool:
        """Tell whether somebody may still leave the gate, and count it."""
        self._departures -= 1
        return self._departures >= 0
