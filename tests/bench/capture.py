"""Capture of a backlog: ours, the limit and the peers, in turn over copies of one slot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.backlog import Backlog, Line, server_with_users, write
from tests.bench.peers.environments import AbsentError
from tests.bench.readers import LIMIT, OURS, OURS_POLLING, PEERS, Reader, Reading, read

USERS: Final = 5_000
ROUNDS: Final = 3
SHAPES: Final = ((1_000, 300), (4, 75_000), (1, 100_000))
"""Rows of a transaction, and how many transactions."""
LINES: Final[tuple[Line, ...]] = ("unix socket", "TCP")


@dataclass(frozen=True, slots=True)
class Standing:
    """What one reader reached on one backlog.

    Attributes:
        ratios: to `pg_recvlogical` in the same round.
    """

    reader: Reader
    readings: Sequence[Reading]
    ratios: Sequence[float]

    @property
    def rate(self) -> float:
        """Median changes a second."""
        return median(reading.rate for reading in self.readings)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest and the quickest round."""
        rates = [reading.rate for reading in self.readings]
        return min(rates), max(rates)

    @property
    def cpu_us(self) -> float:
        """Median CPU of the client for each change, microseconds."""
        return median(reading.cpu_us for reading in self.readings)

    @property
    def peak_mb(self) -> float:
        """The most memory of all rounds."""
        return max(reading.peak_mb for reading in self.readings)


@dataclass(frozen=True, slots=True)
class Race:
    """Everybody on one backlog.

    Attributes:
        absent: who wasn't run, and why.
    """

    rows: int
    line: Line
    standings: Sequence[Standing]
    absent: Sequence[tuple[str, str]]

    @property
    def title(self) -> str:
        """Names it on the page."""
        return f"{self.rows:,}-row transactions, {self.line}"


def races() -> Iterator[Race]:
    """Let everybody read each kind of backlog over each line."""
    for rows, transactions in SHAPES:
        with server_with_users(USERS, listen_tcp=True) as backlog:
            write(backlog, transactions=transactions, rows=rows)
            for line in LINES:
                yield _race(backlog, rows, line)


def _race(backlog: Backlog, rows: int, line: Line) -> Race:
    readings: dict[Reader, list[Reading]] = {}
    absent: dict[str, str] = {}
    read(backlog, LIMIT, line)  # warms the server's caches
    for number in range(ROUNDS):
        for reader in (LIMIT, OURS, OURS_POLLING, *PEERS):
            if number >= reader.rounds or line not in reader.lines or reader.name in absent:
                continue
            try:
                readings.setdefault(reader, []).append(read(backlog, reader, line))
            except AbsentError as error:
                absent[reader.name] = str(error)
    limits = readings[LIMIT]
    standings = [
        Standing(reader, found, [a.rate / b.rate for a, b in zip(found, limits, strict=False)])
        for reader, found in readings.items()
        if found
    ]
    return Race(rows, line, standings, list(absent.items()))
