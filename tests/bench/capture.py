"""Capture of a backlog, beside pg_recvlogical on the same backlog in the same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from cdc.source.preflight import TransportName
from tests.bench.backlog import Backlog, read_with_capture, read_with_pg_recvlogical, server_with_users, write

USERS = 5_000
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds of one backlog."""

    what: str
    ours: float
    limit: float
    ratio: float
    client_cpu_us: float


def compare_capture() -> Iterator[Comparison]:
    """Read each kind of backlog with both, in turn."""
    for line, listen_tcp in (("unix socket", False), ("TCP", True)):
        for rows, transactions in ((1_000, 300), (4, 75_000), (1, 100_000)):
            with server_with_users(USERS, listen_tcp=listen_tcp) as backlog:
                write(backlog, transactions=transactions, rows=rows)
                yield _compare(f"{rows:,}-row transactions, {line}", backlog)


def compare_polling() -> Iterator[Comparison]:
    """The same backlog by SQL."""
    with server_with_users(USERS) as backlog:
        write(backlog, transactions=75_000, rows=4)
        yield _compare("4-row transactions, by SQL polling", backlog, transport="poll")


def _compare(what: str, backlog: Backlog, transport: TransportName = "stream") -> Comparison:
    ours, limits = [], []
    read_with_pg_recvlogical(backlog, backlog.dsn)  # warms the server's caches
    for _ in range(ROUNDS):
        limits.append(read_with_pg_recvlogical(backlog, backlog.dsn))
        ours.append(read_with_capture(backlog, backlog.dsn, transport=transport))
    return Comparison(
        what,
        median(reading.rate for reading in ours),
        median(reading.rate for reading in limits),
        median(a.rate / b.rate for a, b in zip(ours, limits, strict=True)),
        median(reading.client_cpu_seconds / reading.changes * 1e6 for reading in ours),
    )
