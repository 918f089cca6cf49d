"""`make bench`: measure everything and write docs/benchmarks.md. Takes about a quarter of an hour.

`python -m tests.bench NAME …` runs only some of the parts and prints them.
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

from cdc.embedded.binaries import find_binaries
from cdc.logging import configure_logging
from tests.bench.backfilling import backfill_contacts
from tests.bench.capture import ROUNDS, USERS, Comparison, compare_capture, compare_polling
from tests.bench.day import first_plans_day
from tests.bench.latency import COMMITS, REQUESTS, commit_to_outbox, commit_to_request
from tests.bench.memory import big_transaction
from tests.bench.replaying import replay_journal
from tests.bench.sweeping import sweep_unchanged

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_GOAL_RATIO = 0.9


def capture() -> Iterator[str]:
    """Backlogs beside pg_recvlogical."""
    yield "## Capture of a backlog"
    yield ""
    yield (
        f"XP updates spread over {USERS:,} people. Ours decodes, routes and makes durable (outbox, journal, "
        "position, fsync on); `pg_recvlogical` writes the same messages to /dev/null and stores nothing: it "
        f"is the limit of what a client can reach. Both in turn over copies of one slot, {ROUNDS} rounds; "
        f"medians, and the median of the rounds' ratios. Goal: a ratio of {_GOAL_RATIO} in bulk, and 25,000 "
        "single-row transactions a second."
    )
    yield ""
    yield "| backlog | ours, changes/s | pg_recvlogical | ratio | our CPU, µs a change |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for found in compare_capture():
        yield _comparison(found)
    for found in compare_polling():
        yield _comparison(found)


def _comparison(found: Comparison) -> str:
    return f"| {found.what} | {found.ours:,.0f} | {found.limit:,.0f} | {found.ratio:.2f} | {found.client_cpu_us:.1f} |"


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


def memory() -> Iterator[str]:
    """A very big transaction."""
    yield "## One transaction of a million rows"
    yield ""
    yield (
        "A capture process of its own; time from the commit's return until everything is durable, and the "
        "process's peak resident memory. What storing costs grows with the distinct keys. Goals: 5 s and 150 "
        "MB."
    )
    yield ""
    yield "| transaction | durable after | peak memory |"
    yield "| --- | ---: | ---: |"
    for users in (10_000, 200_000):
        found = big_transaction(users)
        yield f"| {found.what} | {found.seconds_after_commit:.1f} s | {found.peak_rss_mb:.0f} MB |"


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


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "capture": capture,
    "latency": latency,
    "memory": memory,
    "sweep": sweep,
    "replay": replay,
    "backfill": backfill,
    "day": day,
}


def main(names: list[str]) -> None:
    """Run the named parts, or all of them and write the page."""
    configure_logging("json", level=logging.ERROR)
    lines: list[str] = list(_head())
    for name in names or PARTS:
        print(f"\n# {name}", flush=True)
        lines.append("")
        for line in PARTS[name]():
            lines.append(line)
            print(line, flush=True)
    if not names:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"\nwritten: {PAGE.relative_to(Path.cwd())}")


def _head() -> Iterator[str]:
    binaries = find_binaries()
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    yield "# Benchmarks"
    yield ""
    yield (
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{version.stdout.strip()}. Server and client share the cores. Absolute numbers are this machine's; "
        "ratios are from the same run."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
