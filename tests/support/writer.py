"""An application that writes at random and knows what it committed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg
from psycopg import AsyncConnection

from tests.support.capture import Entry, Source


@dataclass
class Writer:
    """Random transactions on rows of its own; several of them may write side by side.

    Each transaction leaves its number in the table `noise`, which nobody watches: after a lost connection that says
    whether the last one was committed.

    Attributes:
        entries: what the journal must hold of this writer, in order.
        transactions: how many were tried.
    """

    source: Source
    name: str
    random: Random
    entries: list[Entry] = field(default_factory=list)
    transactions: int = 0
    _items: dict[int, str | None] = field(default_factory=dict)
    _next: int = 0

    async def run(self, stop: asyncio.Event, *, pause: float = 0.002) -> None:
        """Write until `stop` is set, whatever happens to the server."""
        while not stop.is_set():
            try:
                async with await AsyncConnection.connect(self.source.database.dsn, autocommit=True) as conn:
                    while not stop.is_set():
                        await self._transaction(conn)
                        await asyncio.sleep(pause * self.random.random())
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)

    async def _transaction(self, conn: AsyncConnection[Any]) -> None:
        self.transactions += 1
        mark = f"{self.name} {self.transactions}"
        items, made = dict(self._items), list[Entry]()
        gives_up = self.random.random() < 0.1
        try:
            async with conn.transaction(force_rollback=gives_up):
                for _ in range(self.random.choice((1, 1, 1, 3, 40))):
                    await self._change(conn, items, made)
                await conn.execute("insert into noise (body) values (%s)", [mark])
        except psycopg.OperationalError:
            if await self._was_committed(mark):
                self._items, self.entries = items, self.entries + made
            raise
        if not gives_up:
            self._items = items
            self.entries += made

    async def _change(self, conn: AsyncConnection[Any], items: dict[int, str | None], made: list[Entry]) -> None:
        number = self.random.choice(sorted(items)) if items and self.random.random() < 0.6 else None
        owner = self.random.choice((None, "a", "b", "c"))
        owner = owner and f"{self.name}-{owner}"
        if number is None:
            self._next += 1
            number = int(self.name) * 1_000_000 + self._next
            await conn.execute("insert into items values (%s, %s, 'x')", [number, owner])
            made.append(("I", "items", (owner, str(number))))
        elif self.random.random() < 0.3:
            await conn.execute("delete from items where id = %s", [number])
            made.append(("D", "items", (items.pop(number), str(number))))
            return
        else:
            await conn.execute("update items set owner = %s, body = body || 'x' where id = %s", [owner, number])
            if owner != items[number]:
                made.append(("O", "items", (items[number], str(number))))
            made.append(("U", "items", (owner, str(number))))
        items[number] = owner
        if self.random.random() < 0.1:  # a savepoint that is given up
            async with conn.transaction(force_rollback=True):
                await conn.execute("update items set owner = 'never' where id = %s", [number])

    async def _was_committed(self, mark: str) -> bool:
        while True:
            try:
                async with await AsyncConnection.connect(self.source.database.dsn) as conn:
                    found = await conn.execute("select 1 from noise where body = %s", [mark])
                    return await found.fetchone() is not None
            except psycopg.OperationalError:
                await asyncio.sleep(0.02)


def of_writer(entries: list[Entry], name: str) -> list[Entry]:
    """The entries of one writer's rows, in order."""
    start = int(name) * 1_000_000
    return [e for e in entries if e[1] == "items" and start < int(e[2][1] or 0) < start + 1_000_000]


def expected_outbox(writers: list[Writer]) -> set[tuple[str, str]]:
    """The keys that all these writes make dirty."""
    rows = [values for writer in writers for _, _, values in writer.entries]
    owners = {("people", owner) for owner, _ in rows if owner is not None}
    return owners | {("items", str(number)) for _, number in rows}
