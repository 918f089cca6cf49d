"""Named jobs on a real database, with a clock that the test sets: once among all, late if need be, taken over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from cdc.errors import SourceUnavailable
from cdc.runtime import schedule
from cdc.runtime.plans import Daily, Every, Plan
from cdc.runtime.schedule import Job, Scheduler
from cdc.state import jobs
from cdc.state.database import Pool, open_pool
from tests.support.postgres import Database
from tests.support.waiting import until

NIGHT = Daily((time(2),))
SECRET = "ada@example.org"


class Site:
    """Processes that share a state and a clock."""

    def __init__(self, pool: Pool, database: Database) -> None:
        self.pool = pool
        self.database = database
        self.now = datetime(2026, 5, 10, 12, tzinfo=UTC)
        self.ran: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.gate: asyncio.Event | None = None

    async def clock(self, _: psycopg.AsyncConnection[Any]) -> datetime:
        return self.now

    def process(self, name: str, plan: Plan = NIGHT, **options: Any) -> Scheduler:
        async def work() -> Mapping[str, object]:
            self.ran[name] += 1
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return {"marked": 3}

        return Scheduler(self.pool, [Job(name="job", plan=plan, work=work, **options)], name, clock=self.clock)

    async def looks(self, *processes: Scheduler) -> int:
        """Let processes look at the same time, and finish what they begin. Returns how many began something."""
        begun = await asyncio.gather(*(process.look() for process in processes))
        for process in processes:
            await process.settled()
        return sum(map(len, begun))

    def runs(self) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self.database.execute("select actor, outcome from cdc.job_run order by id")]


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    database.apply_state()
    async with open_pool(database.dsn, purpose="test", size=6) as pool:
        yield Site(pool, database)


async def test_a_daily_job_begins_in_the_night_after_it_was_first_seen_and_runs_once_among_all(site: Site) -> None:
    ours = [site.process(name) for name in "abc"]
    assert await site.looks(*ours) == 0
    site.now += timedelta(hours=13)
    assert await site.looks(*ours) == 0, "01:00"
    site.now += timedelta(hours=1)
    assert await site.looks(*ours) == 1, "02:00"
    site.now += timedelta(seconds=15)
    assert await site.looks(*ours) == 0
    assert sum(site.ran.values()) == 1


async def test_what_is_done_every_few_minutes_begins_at_once(site: Site) -> None:
    one, other = site.process("a", Every(15)), site.process("b", Every(15))
    assert await site.looks(one, other) == 1
    site.now += timedelta(minutes=14, seconds=59)
    assert await site.looks(one, other) == 0
    site.now += timedelta(seconds=1)
    assert await site.looks(one, other) == 1


async def test_what_was_missed_is_done_once_and_late(site: Site) -> None:
    ours = site.process("a")
    await site.looks(ours)
    site.now += timedelta(days=5)
    assert await site.looks(ours) == 1
    assert await site.looks(ours) == 0
    site.now = datetime(2026, 5, 16, 2, tzinfo=UTC)
    assert await site.looks(ours) == 1


async def test_a_job_whose_process_died_is_taken_over_when_its_lease_is_out(site: Site) -> None:
    site.gate = asyncio.Event()
    dead, heir = site.process("dead", Every(60)), site.process("heir", Every(60))
    await dead.look()
    await until(lambda: site.ran["dead"], what="the job is under way")
    site.now += timedelta(seconds=schedule.LEASE_SECONDS - 1)
    assert await heir.look() == []
    site.now += timedelta(seconds=1)
    assert await heir.look() == ["job"]
    site.gate.set()
    await heir.settled()
    assert site.runs() == [("dead", "died"), ("heir", "done")]
    await dead.settled()
    assert site.runs() == [("dead", "died"), ("heir", "done")], "the dead one's word came late"


async def test_a_lease_is_renewed_for_as_long_as_the_job_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LEASE_SECONDS", 0.3)
    site.gate = asyncio.Event()
    ours, other = site.process("a", Every(60)), site.process("b", Every(60))
    await ours.look()
    first = site.database.execute("select leased_until from cdc.job_run")[0][0]
    site.now += timedelta(seconds=0.2)
    await until(
        lambda: site.database.execute("select leased_until from cdc.job_run")[0][0] > first, what="the lease is renewed"
    )
    site.now += timedelta(seconds=0.2)
    assert await other.look() == []
    site.gate.set()
    await ours.settled()


async def test_a_job_that_was_taken_over_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LEASE_SECONDS", 0.3)
    site.gate = asyncio.Event()
    ours = site.process("a", Every(60))
    await ours.look()
    site.database.execute("update cdc.job_run set ended_at = now(), outcome = 'died'")
    await asyncio.wait_for(ours.settled(), 30)
    assert site.runs() == [("a", "died")]


async def test_a_failure_is_tried_again_later_and_not_for_ever(site: Site) -> None:
    site.failure = SourceUnavailable("the database is away")
    ours = site.process("a", Every(24 * 60), tries=3)
    assert await site.looks(ours) == 1
    assert await site.looks(ours) == 0, "not at once"
    site.now += timedelta(seconds=60)
    assert await site.looks(ours) == 1
    site.now += timedelta(seconds=60)
    assert await site.looks(ours) == 0, "the pause doubles"
    site.now += timedelta(seconds=60)
    assert await site.looks(ours) == 1
    site.now += timedelta(hours=3)
    assert await site.looks(ours) == 0, "three tries for one moment"
    site.failure = None
    site.now += timedelta(days=1)
    assert await site.looks(ours) == 1
    assert [outcome for _, outcome in site.runs()] == ["failed", "failed", "failed", "done"]


@pytest.mark.parametrize("failure", [ValueError(SECRET), psycopg.DataError(SECRET)])
async def test_a_failure_is_on_record_without_its_own_words(site: Site, failure: Exception) -> None:
    site.failure = failure
    with capture_logs() as logs:
        await site.looks(site.process("a", Every(60)))
    [(detail,)] = site.database.execute("select detail from cdc.job_run")
    assert detail["error"] == type(failure).__name__
    assert SECRET not in str(detail) + str(logs)


async def test_a_stop_gives_the_job_back_and_another_process_goes_on_at_once(site: Site) -> None:
    site.gate = asyncio.Event()
    ours, other, stop = site.process("a", Every(60)), site.process("b", Every(60)), asyncio.Event()
    running = asyncio.create_task(ours.run(stop))
    await until(lambda: site.ran["a"], what="the job is under way")
    stop.set()
    await running
    site.gate.set()
    assert await site.looks(other) == 1
    assert site.runs() == [("a", "stopped"), ("b", "done")]


async def test_a_job_can_be_run_by_hand_but_not_twice_at_a_time(site: Site) -> None:
    ours, person = site.process("a"), site.process("person")
    await site.looks(ours)
    ending = await person.run_now("job")
    assert ending is not None
    assert (ending.outcome, ending.detail) == ("done", {"marked": 3})
    site.gate = asyncio.Event()
    first = asyncio.create_task(person.run_now("job"))
    await until(lambda: site.ran["person"] == 2, what="the job is under way")
    assert await ours.run_now("job") is None
    site.gate.set()
    await first
    site.now += timedelta(hours=14)
    assert await site.looks(ours) == 1, "the night's own run is still due"


async def test_a_run_by_hand_makes_up_for_the_night_that_failed(site: Site) -> None:
    ours = site.process("a")
    await site.looks(ours)
    site.now += timedelta(hours=14)
    site.failure = SourceUnavailable("the database is away")
    await site.looks(ours)
    site.failure = None
    await ours.run_now("job")
    site.now += timedelta(hours=1)
    assert await site.looks(ours) == 0


async def test_old_runs_are_forgotten_but_never_the_newest(site: Site) -> None:
    ours = site.process("a", Every(60))
    for _ in range(3):
        await site.looks(ours)
        site.now += timedelta(hours=1)
    site.database.execute("update cdc.job_run set ended_at = now() - interval '31 days'")
    async with site.pool.connection() as conn:
        await jobs.forget(conn, 30)
        assert list(await jobs.newest(conn)) == ["job"]
    assert len(site.runs()) == 1


async def test_the_schedule_outlives_a_database_that_is_away(site: Site) -> None:
    site.database.execute("alter table cdc.job_run rename to elsewhere")
    ours, stop = site.process("a", Every(60)), asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(ours.run(stop))
        await until(lambda: any(e["event"] == "schedule_interrupted" for e in logs), what="it is said")
        stop.set()
        await running
