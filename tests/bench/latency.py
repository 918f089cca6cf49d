"""From commit to outbox, and from commit to the request that leaves for the CRM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from cdc.routing.feeds import Lane
from cdc.routing.router import build_routes
from cdc.source.capture import Capture
from cdc.source.session import CaptureConfig
from tests.bench.backlog import BASE_SLOT, PROFILE, PUBLICATION, Backlog, server_with_users
from tests.bench.peers.environments import AbsentError
from tests.bench.readers import PEERS, SQL_CHANGES, Running
from tests.bench.running import running_pipeline
from tests.support.waiting import until

COMMITS = 1_000
PER_SECOND = 100
REQUESTS = 100
PEER_COMMITS = 300


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    what: str
    p50: float
    p99: float
    samples: int


def _summarise(what: str, seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(
        what,
        ordered[len(ordered) // 2] * 1e3,
        ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
        len(ordered),
    )


def commit_to_outbox() -> Latency:
    """A steady 100 commits a second; from the moment the writer's commit returns to the moment the mark is durable."""
    with server_with_users(1_000) as backlog:
        return asyncio.run(_commit_to_outbox(backlog))


async def _commit_to_outbox(backlog: Backlog) -> Latency:
    stop = asyncio.Event()
    committed: list[float] = []
    durable: list[float] = []
    capture = Capture(
        CaptureConfig(
            source_dsn=backlog.dsn, state_dsn=backlog.dsn, slot=BASE_SLOT, publication=PUBLICATION, transport="stream",
            routes=build_routes(PROFILE), lane_seconds={Lane.ROLLUP: 300},
        ),
        on_group=lambda: durable.extend([time.perf_counter()] * (capture.stats.changes - len(durable))),
    )  # fmt: skip
    running = asyncio.create_task(capture.run(stop))
    await until(lambda: capture.stats.state == "capturing", what="capture to start")
    async with await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as conn:
        started = time.perf_counter()
        for n in range(COMMITS):
            await asyncio.sleep(max(0.0, started + n / PER_SECOND - time.perf_counter()))
            await conn.execute(
                "update public.users set last_active = now() where id = md5('user' || %s::text)::uuid", [1 + n % 1000]
            )
            committed.append(time.perf_counter())
    await until(lambda: len(durable) >= COMMITS, what="everything to be durable")
    stop.set()
    await running
    return _summarise(
        "commit → durable in the outbox, 100 commits a second",
        [max(0.0, d - c) for c, d in zip(committed, durable, strict=False)],
    )


def peers_latency() -> Iterator[tuple[str, Latency | str]]:
    """The same commits with the peers that stream; or why one can't be run."""
    with server_with_users(1_000, listen_tcp=True) as backlog, psycopg.connect(backlog.dsn, autocommit=True) as conn:
        for reader in PEERS:
            if reader is SQL_CHANGES:
                continue
            conn.execute(f"select pg_replication_slot_advance('{BASE_SLOT}', pg_current_wal_lsn())")
            slot = backlog.copy_slot()
            try:
                command = reader.start()
                with Running(backlog, command, "TCP", slot, PEER_COMMITS, with_times=True) as running:
                    running.wait_until_it_reads(conn)
                    started = time.perf_counter()
                    committed = [_commit_in_step(conn, n, started) for n in range(PEER_COMMITS)]
                    times = running.result().times
                yield (
                    reader.name,
                    _summarise(reader.name, [max(0.0, t - c) for c, t in zip(committed, times, strict=True)]),
                )
            except AbsentError as error:
                yield reader.name, str(error)
            finally:
                backlog.drop_slot(slot)


def _commit_in_step(conn: psycopg.Connection, number: int, started: float) -> float:
    """Commit when its turn comes; give the time right after."""
    time.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
    conn.execute(
        "update public.users set last_active = now() where id = md5('user' || %s::text)::uuid", [1 + number % 1000]
    )
    return time.time()


def commit_to_request() -> Latency:
    """One change at a time on an idle pipeline; from the commit's return to the request's arrival at the simulator."""
    with server_with_users(500) as backlog:
        return asyncio.run(_commit_to_request(backlog))


async def _commit_to_request(backlog: Backlog) -> Latency:
    seconds = []
    async with (
        running_pipeline(backlog) as running,
        await psycopg.AsyncConnection.connect(backlog.dsn, autocommit=True) as conn,
    ):
        for n in range(REQUESTS):
            await conn.execute(
                "update public.users set first_name = %s where id = md5('user' || %s::text)::uuid", [f"Name{n}", 1 + n]
            )
            committed = time.time()
            await running.pipeline.wait_until_idle()
            seconds.append(max(0.0, [c["at"] for c in await running.calls() if c["kind"] == "upsert"][-1] - committed))
    return _summarise("commit → request at the CRM, idle pipeline", seconds)
