"""`make bench`: measure everything and write docs/benchmarks.md and .svg. Takes about twenty-five minutes.

`python -m tests.bench NAME …` measures only some of the parts anew.
"""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from cdc.embedded.binaries import find_binaries
from cdc.logging import configure_logging
from tests.bench.backfilling import backfill_contacts
from tests.bench.capture import ROUNDS, USERS, Race, Standing, races
from tests.bench.chart import draw
from tests.bench.dashboard import LEDGER, LOGGED, PARKED, measure_pages
from tests.bench.dashboard import ROUNDS as VISITS
from tests.bench.day import first_plans_day
from tests.bench.latency import COMMITS, PEER_COMMITS, REQUESTS, commit_to_outbox, commit_to_request, peers_latency
from tests.bench.memory import big_transaction
from tests.bench.page import replace_part
from tests.bench.peers.environments import NOT_RUN
from tests.bench.reconciling import reconcile_contacts
from tests.bench.replaying import replay_journal
from tests.bench.restart import KILLS, TAKEOVERS, in_words, successions
from tests.bench.sweeping import sweep_unchanged

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PICTURE = PAGE.with_suffix(".svg")
_GOAL_RATIO = 0.9
_GOAL_SINGLE = 25_000
_RACES: list[Race] = []  # for the picture


def capture() -> Iterator[str]:
    """Backlogs beside pg_recvlogical and the peers."""
    yield "## Capture of a backlog"
    yield ""
    yield (
        f"XP updates spread over {USERS:,} people. optio-cdc routes and makes durable (outbox, journal, position, "
        "fsync on). `pg_recvlogical` writes the same messages to /dev/null: it is the limit of what a client can "
        f"reach. The peers store nothing. All in turn over copies of one slot, each in a process of its own, {ROUNDS} "
        "rounds; Debezium one, measured from its first batch. Changes a second: the median, and the slowest and "
        "quickest round. Ratio: to `pg_recvlogical` in the same round, the median. Goals: a ratio of "
        f"{_GOAL_RATIO} in bulk, and {_GOAL_SINGLE:,} single-row transactions a second."
    )
    yield ""
    yield f"![Changes a second of each reader on each backlog]({PICTURE.name})"
    for race in races():
        _RACES.append(race)
        yield from _race(race)
    yield ""
    yield "Not run: " + "; ".join(f"{name} ({why})" for name, why in NOT_RUN.items()) + "."


def _race(race: Race) -> Iterator[str]:
    yield ""
    yield f"### {race.title}"
    yield ""
    yield "| reader | what it does | changes/s | slowest, quickest | ratio | client CPU, µs a change | peak memory |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for standing in sorted(race.standings, key=lambda standing: -standing.rate):
        yield _standing(standing)
    for name, why in race.absent:
        yield f"| {name} | not run: {why} | | | | | |"


def _standing(found: Standing) -> str:
    slowest, quickest = found.spread
    return (
        f"| {found.reader.name} | {found.reader.does} | {found.rate:,.0f} | {slowest:,.0f}, {quickest:,.0f} "
        f"| {median(found.ratios):.2f} | {found.cpu_us:.1f} | {found.peak_mb:.0f} MB |"
    )


def latency() -> Iterator[str]:
    """How long a change takes."""
    yield "## Latency"
    yield ""
    yield (
        f"From the moment the writer's commit returns. {COMMITS:,} commits for the outbox, {REQUESTS} single "
        "ones for the CRM. Goals: 3 / 15 ms to the outbox, 15 / 50 ms to the request."
    )
    yield ""
    yield "| way | p50 | p99 |"
    yield "| --- | ---: | ---: |"
    for found in (commit_to_outbox(), commit_to_request()):
        yield f"| {found.what} | {found.p50:.1f} ms | {found.p99:.1f} ms |"
    yield ""
    yield (
        f"The peers, from the commit's return to the callback in a process of its own, over TCP, {PEER_COMMITS} "
        "commits at 100 a second, with their default settings. They store nothing."
    )
    yield ""
    yield "| peer | p50 | p99 |"
    yield "| --- | ---: | ---: |"
    for name, latency_or_why in peers_latency():
        if isinstance(latency_or_why, str):
            yield f"| {name} | not run: {latency_or_why} | |"
        else:
            yield f"| {name} | {latency_or_why.p50:.1f} ms | {latency_or_why.p99:.1f} ms |"


def memory() -> Iterator[str]:
    """A very big transaction."""
    yield "## One transaction of a million rows"
    yield ""
    yield (
        "A capture process of its own; time from the commit's return until everything is durable, and the "
        "process's peak resident memory. What storing costs grows with the distinct keys. `pg_recvlogical` reads the "
        "same transaction afterwards, from a slot of its own. Goals: 5 s and 150 MB."
    )
    yield ""
    yield "| transaction | durable after | peak memory | `pg_recvlogical`, nothing stored |"
    yield "| --- | ---: | ---: | ---: |"
    for users in (10_000, 200_000):
        found = big_transaction(users)
        seconds = f"{found.seconds_after_commit:.1f} s"
        yield f"| {found.what} | {seconds} | {found.peak_mb:.0f} MB | {found.limit_seconds:.1f} s |"


def restart() -> Iterator[str]:
    """A killed process, a standby, and an idle one."""
    found = successions()
    yield "## Killed, stopped, taken over from"
    yield ""
    yield (
        "From the signal until the server streams to the successor. "
        f"Resident memory of an idle `cdc run`: {found.idle_mb:.0f} MB."
    )
    yield ""
    yield "| signal | successor | seconds | goal |"
    yield "| --- | --- | --- | ---: |"
    yield f"| SIGKILL, {KILLS} times | the same command, started again | {in_words(found.restarted)} | 3 s |"
    yield f"| SIGKILL, {TAKEOVERS} times | a standby | {in_words(found.killed)} | 15 s |"
    yield f"| SIGTERM, {TAKEOVERS} times | a standby | {in_words(found.stopped)} | 2 s |"


def sweep() -> Iterator[str]:
    """Comparing everything."""
    found = sweep_unchanged(100_000)
    yield "## Sweep"
    yield ""
    yield (
        f"{found.records:,} unchanged records compared in {found.seconds:.1f} s, {found.marked} marked, 0 credits. "
        "Goal: 10 s for 100,000."
    )


def replay() -> Iterator[str]:
    """Marking what a journal holds."""
    yield "## Replay of the journal"
    yield ""
    yield (
        "A journal that capture wrote, replayed whole: every chunk is read and decompressed, every distinct key "
        "decoded and, in the last column but one, marked in the outbox. Goal: 300,000 changes a second."
    )
    yield ""
    yield "| journal | chunks | size | keys | read, changes/s | read and marked | peak memory |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for users, transactions, rows in ((5_000, 3_000, 1_000), (100_000, 750_000, 4)):
        found = replay_journal(users, transactions, rows)
        yield (
            f"| {found.changes:,} changes in {rows:,}-row transactions | {found.chunks:,} | {found.megabytes:,.0f} MB "
            f"| {found.keys:,} | {found.changes / found.read_seconds:,.0f} | {found.changes / found.seconds:,.0f} "
            f"| {found.peak_rss_mb:,.0f} MB |"
        )


def backfill() -> Iterator[str]:
    """Sending everybody."""
    found = backfill_contacts(100_000)
    yield "## Backfill"
    yield ""
    yield (
        "A first backfill of contacts that the CRM has never seen: `cdc sweep`, then one `cdc worker`, against the "
        "simulator. By upserts it would cost 10,000 credits. Goal: 2,000 for the jobs and next to nothing beside them."
    )
    yield ""
    yield "| | |"
    yield "| --- | ---: |"
    yield f"| contacts | {found.records:,} |"
    yield f"| Bulk Write jobs | {found.jobs} |"
    yield f"| credits, all calls | {found.credits:,} |"
    yield f"| compared and marked in | {found.sweep_seconds:.0f} s |"
    yield f"| peak memory of the sweep | {found.sweep_mb:.0f} MB |"
    yield f"| delivered in | {found.seconds:.0f} s |"
    yield f"| peak memory of the worker | {found.worker_mb:.0f} MB |"


def reconcile() -> Iterator[str]:
    """Comparing everybody with the CRM."""
    found = reconcile_contacts(100_000)
    yield "## Reconcile"
    yield ""
    yield (
        f"{found.records:,} contacts compared field by field between view, ledger and CRM in {found.seconds:.0f} s, "
        f"the process's start included: {found.differing} differ, {found.credits} credits, peak memory "
        f"{found.peak_mb:.0f} MB. Goals: 150 credits for the scan and 3 beside it, memory that doesn't grow with it."
    )


def day() -> Iterator[str]:
    """What it costs."""
    found = first_plans_day()
    yield "## The first plan's day, in credits"
    yield ""
    yield (
        "1,000 people, the plan's numbers of sign-ups, logins, tasks and quests, at 600 times the speed with "
        "the lanes' times shortened alike. Goal: at most 10 % of what one call for each change would cost."
    )
    yield ""
    yield "| | |"
    yield "| --- | ---: |"
    yield f"| row changes captured | {found.changes:,} |"
    yield f"| credits, one call for each change | {found.changes:,} |"
    yield f"| credits spent | {found.credits:,} ({found.share:.1%}) |"
    yield f"| calls made | {found.calls:,} |"
    yield f"| credits for rewriting everybody unchanged afterwards | {found.unchanged_credits} |"


def dashboard() -> Iterator[str]:
    """How long its pages take."""
    found = measure_pages()
    yield "## Dashboard"
    yield ""
    yield (
        f"{LEDGER:,} ledger rows, {PARKED:,} parked records and {LOGGED:,} sync-log rows over ninety days. From "
        f"request to answer, {VISITS} visits; the status, which all pages share for two seconds, is measured apart. "
        "Goal: 200 ms for each page."
    )
    yield ""
    yield "| page | median | longest |"
    yield "| --- | ---: | ---: |"
    for path, times in found.pages.items():
        yield f"| `{path}` | {times.p50:.0f} ms | {times.longest:.0f} ms |"
    yield f"| reading the status | {found.status.p50:.0f} ms | {found.status.longest:.0f} ms |"
    busy = found.status_busy
    yield f"| the same, all operations within 24 hours | {busy.p50:.0f} ms | {busy.longest:.0f} ms |"
    yield f"| `/failures.csv`, {PARKED:,} lines | {found.export_seconds:.1f} s | |"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "capture": capture,
    "latency": latency,
    "memory": memory,
    "restart": restart,
    "sweep": sweep,
    "replay": replay,
    "backfill": backfill,
    "reconcile": reconcile,
    "day": day,
    "dashboard": dashboard,
}


def main(names: list[str]) -> None:
    """Run the named parts, or all of them; each that ends is put in its place on the page."""
    configure_logging("json", level=logging.ERROR)
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    for name in names or PARTS:
        print(f"\n# {name}", flush=True)
        lines = []
        for line in PARTS[name]():
            lines.append(line)
            print(line, flush=True)
        heading, *rest = lines
        page = replace_part(page, name, [heading, "", _measured(), *rest], list(PARTS))
        PAGE.write_text(page, encoding="utf-8")
        if _RACES:
            PICTURE.write_text(draw(_RACES), encoding="utf-8")
            _RACES.clear()


HEAD = """# Benchmarks

Written by `make bench`, part by part; `python -m tests.bench NAME …` measures some of the parts anew. Server and
client share the cores. Absolute numbers are those of the machine that each part names; ratios are from one run.
"""


def _measured() -> str:
    binaries = find_binaries()
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    return (
        f"*{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {version.stdout.strip()}; load before it {os.getloadavg()[0]:.1f}.*"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
