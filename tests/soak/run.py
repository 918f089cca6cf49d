"""One soak: put everything up, let it go on, let it come to rest, and hold it against the oracle."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.waiting import wait_at_most
from tests.soak.cast import Player, make_cast
from tests.soak.faults import Trouble
from tests.soak.measure import Life
from tests.soak.writer import EnduringWorkload
from tests.support.oracle import verify
from tests.support.pipeline import SLOT, Crm, Site
from tests.support.postgres import fresh_database
from tests.support.waiting import until

_CREDITS = 100_000_000  # a soak is not about them
# A lease that is short enough to be outlived by a stop, and long enough for a call on a busy machine.
_SETTINGS = {"ZOHO_EDITION": "ultimate", "ZOHO_USERS": "50000", "CDC_LEASE_SECONDS": "15"}
_SERVER = {"max_replication_slots": "20", "max_wal_senders": "20", "max_connections": "200"}
_PAUSE_SECONDS = 0.13  # of each of three writers; an operation is two or three commits
_LOOK_SECONDS = 5.0
_REST_SECONDS = 600.0
_LAG_BYTES = 1_000_000
_HURRY = """
update cdc.outbox set due_at = now() where (feed, key) in (
    select feed, key from cdc.outbox
    where parked_at is null and reason is not null and (claimed_until is null or claimed_until <= now())
    order by feed collate "C", key collate "C" for update skip locked)
"""
_COUNTS = """
select (select pg_current_wal_lsn() - confirmed_flush_lsn from pg_replication_slots where slot_name = %s),
       (select count(*) from cdc.outbox), (select count(*) from cdc.outbox where parked_at is not null)
"""


@dataclass(slots=True)
class Figures:
    """What was seen on the way."""

    lag_max: int = 0
    outbox_max: int = 0
    parked_max: int = 0
    others: list[Life] = field(default_factory=list)


class Soak:
    """Everything that a run has.

    Args:
        minutes: how long things go wrong.
        seed: of the application's writes and of the faults.
        folder: for logs.
        every: mean seconds between two faults.
    """

    def __init__(self, minutes: float, seed: int, folder: Path, every: float) -> None:
        self.minutes = minutes
        self.seed = seed
        self.folder = folder
        self.every = every
        self.begun = time.monotonic()
        self.figures = Figures()

    async def run(self) -> dict[str, Any]:
        """Run it.

        Returns:
            The summary, with `problem` None if nothing was lost or doubled and all came to rest.
        """
        async with AsyncExitStack() as stack:
            server = stack.enter_context(EmbeddedPostgres.start(settings=_SERVER))
            database = stack.enter_context(fresh_database(server.dsn))
            crm = await stack.enter_async_context(Crm.open("--credits", str(_CREDITS), "--edition", "ultimate"))
            site = Site(database, crm, self.folder, settings=_SETTINGS)
            stack.push_async_callback(site.close)
            await site.set_up()
            players = await make_cast(stack, database, crm, self.folder, _SETTINGS)
            trouble = Trouble(server, database, crm, players, random.Random(self.seed))
            workload = EnduringWorkload(database, self.seed, departures=90)
            self.figures.others = [Life("simulator", _child("sinks.simulator")), Life("harness", os.getpid())]
            problem = await self._go(site, players, trouble, workload)
            return await self._summary(site, players, trouble, workload, problem)

    async def _go(self, site: Site, players: list[Player], trouble: Trouble, workload: EnduringWorkload) -> str | None:
        stop, over = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            lives = [group.create_task(player.live(self.begun)) for player in players]
            watching = group.create_task(self._watch(site, players, over))
            await until(lambda: players[0].child and players[0].child.said("capture_started"), 60, what="capture")
            troubles = [group.create_task(trouble.make(stop, 2 * self.every)) for _ in range(2)]
            writing = group.create_task(workload.run(0, pause=_PAUSE_SECONDS, stop=stop))
            await asyncio.sleep(self.minutes * 60)
            stop.set()
            await asyncio.gather(*troubles, writing)
            try:
                await self._rest(site, players, trouble)
                await asyncio.gather(*(player.stop() for player in players))
                await site.settle(within=120)
                await verify(site, workload.chronicle)
            except AssertionError as error:
                return str(error)
            finally:
                over.set()
                for player in players:
                    player.wanted = False
                    await player.kill()
                await asyncio.gather(*lives, watching)
        return None

    async def _rest(self, site: Site, players: list[Player], trouble: Trouble) -> None:
        """Take all faults away, mend the poisoned, and wait until everything is delivered and the slot has followed."""
        await site.crm.mend()
        while trouble.poisoned:
            await trouble.mend()
        hurrying = asyncio.ensure_future(self._hurry(site))
        try:
            await site.until_delivered(within=_REST_SECONDS)
        finally:
            hurrying.cancel()
        await site.until_captured(within=60)

    async def _hurry(self, site: Site) -> None:
        """After so many failures in a row pauses are minutes long; nobody wants to wait for that."""
        while True:
            site.let_pauses_end()
            site.database.execute(_HURRY)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _watch(self, site: Site, players: list[Player], over: asyncio.Event) -> None:
        while not over.is_set():
            at = time.monotonic() - self.begun
            for life in (*self.figures.others, *(p.lives[-1] for p in players if p.lives)):
                life.look(at)
            with suppress(psycopg.OperationalError):  # the server is away
                await self._count(site)
            await wait_at_most(over, _LOOK_SECONDS)

    async def _count(self, site: Site) -> None:
        [(behind, dirty, parked)] = await asyncio.to_thread(site.database.execute, _COUNTS, [SLOT])
        figures = self.figures
        figures.lag_max = max(figures.lag_max, int(behind))
        figures.outbox_max = max(figures.outbox_max, dirty)
        figures.parked_max = max(figures.parked_max, parked)

    async def _summary(
        self, site: Site, players: list[Player], trouble: Trouble, workload: EnduringWorkload, problem: str | None
    ) -> dict[str, Any]:
        figures, seconds = self.figures, time.monotonic() - self.begun
        delivered = dict(site.database.execute("select feed, count(*) from cdc.ledger where state = 'sent' group by 1"))
        [(log_lines,)] = site.database.execute("select count(*) from cdc.zoho_sync_log where status = 'success'")
        [(credits, calls)] = site.database.execute("select sum(credits)::int, sum(calls)::int from cdc.credit_usage")
        [(changes,)] = site.database.execute("select sum(changes)::bigint from cdc.journal")
        return {
            "minutes": round(seconds / 60, 1),
            "seed": self.seed,
            "problem": problem,
            "transactions": workload.statements,
            "transactions_per_second": round(workload.statements / (self.minutes * 60), 1),
            "row_changes": int(changes or 0),
            "writer_interruptions": workload.interruptions,
            "faults": dict(sorted(trouble.done.items())),
            "records_held": delivered,
            "operations_delivered": log_lines,
            "calls": calls,
            "credits": credits,
            "slot_lag_max_bytes": figures.lag_max,
            "outbox_max": figures.outbox_max,
            "parked_max": figures.parked_max,
            "processes": {p.role: _process(p.lives, p.unexpected) for p in players},
            "others": {life.role: _life(life) for life in figures.others},
        }


def _process(lives: list[Life], unexpected: list[str]) -> dict[str, Any]:
    longest = max(lives, key=lambda life: life.seconds)
    rss = [s.rss_mb for life in lives for s in life.samples]
    return {
        "lives": len(lives),
        "unexpected_ends": unexpected,
        "rss_max_mb": round(max(rss), 1),
        "longest": _life(longest),
    }


def _life(life: Life) -> dict[str, Any]:
    slopes, warm = life.slopes(), life.warm() or life.samples
    return {
        "minutes": round(life.seconds / 60, 1),
        "end": life.end,
        "rss_mb": [round(warm[0].rss_mb, 1), round(warm[-1].rss_mb, 1)] if warm else None,
        "rss_mb_per_hour": None if slopes is None else round(slopes[0], 2),
        "handles": [min(s.handles for s in warm), max(s.handles for s in warm)] if warm else None,
        "handles_per_hour": None if slopes is None else round(slopes[1], 1),
    }


def _child(module: str) -> int:
    """The process id of a child that runs this module."""
    return next(c.pid for c in psutil.Process().children() if module in c.cmdline())
