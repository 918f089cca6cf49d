"""The machine: an application, a capture, two workers and an outside system, in any order that Hypothesis thinks of."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cdc.state.failures import Selection
from tests.stateful.actors import CALL, LEASE, Capturer, Crew, Flight
from tests.stateful.application import ROWS, Act, Commit, History, Session, Verb
from tests.stateful.crm import Answer, SteppedSink
from tests.stateful.ground import Ground
from tests.stateful.operator import Operator
from tests.stateful.truths import Truths
from tests.support.waiting import until

ACTS = st.builds(
    Act,
    st.sampled_from(Verb),
    st.integers(0, ROWS - 1),
    st.integers(0, 5),
    st.sampled_from([False, False, False, True]),
)
FEEDS = st.sampled_from(["people", "awards"])
CHOICE = st.integers(0, 3)
SECONDS = st.sampled_from([2.0, 400.0, CALL + 500, LEASE + 100])
_TURNS_AT_MOST = 60
_HELD = Selection(reason="HELD_BY_BREAKER")
_TO_COME = (
    "select exists (select from cdc.outbox where parked_at is null and reason is distinct from 'PARENT_NOT_DELIVERED')"
)
_MAY_WAIT = {("HELD_BY_BREAKER",), ("INVALID_VALUE",), ("BAD_ANSWER",), ("RECORD_LOCKED",), ("PARENT_NOT_DELIVERED",)}


class PipelineMachine(RuleBasedStateMachine):
    """One example: from an empty application to a drained pipeline."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.ground.reset()
        self.history = History()
        self.sinks = {
            "people": SteppedSink(name="memory.people", batch_size=2, call_seconds=CALL),
            "awards": SteppedSink(name="memory.awards", batch_size=2, unique=False, call_seconds=CALL),
        }
        self.sessions = [Session(conn, self.history, 1 + n * ROWS) for n, conn in enumerate(self.ground.apps)]
        self.capturer = Capturer(self.ground)
        self.crew = Crew(self.ground, self.sinks)
        self.operator = Operator(self.ground)
        self.truths = Truths(self.ground, self.history, self.sinks)
        self.hanging: asyncio.Task[Any] | None = None

    # -- the application -------------------------------------------------------------------------------------------

    @initialize(people=st.integers(0, ROWS))
    def begin(self, people: int) -> None:
        """Some people are there, and delivered, before anything goes wrong."""
        if people:
            acts = [Act(Verb.EDIT, n) for n in range(people)] + [Act(Verb.AWARD, 0)]
            self.write(0, acts, end="commit")
            self.capture_everything()
            self._deliver_everything()

    @rule(
        session=st.integers(0, 1),
        acts=st.lists(ACTS, min_size=1, max_size=4),
        end=st.sampled_from(["commit"] * 4 + ["roll back", "leave open"]),
    )
    def write(self, session: int, acts: list[Act], end: str) -> None:
        chosen = self.sessions[session]
        chosen.write(acts)
        if end == "commit":
            chosen.commit()
            self.history.note_shown(self.ground.observer)
        elif end == "roll back":
            chosen.roll_back()

    @precondition(lambda self: any(s.pending is not None for s in self.sessions[:2]))
    @rule(commits=st.booleans())
    def end_open(self, commits: bool) -> None:
        for session in self.sessions[:2]:
            if session.pending is not None:
                session.commit() if commits else session.roll_back()
        self.history.note_shown(self.ground.observer)

    @precondition(lambda self: self.hanging is None)
    @rule(acts=st.lists(ACTS, min_size=1, max_size=2))
    def commit_unseen(self, acts: list[Act]) -> None:
        """A commit is in the log, and nobody sees it yet: it waits for a standby."""
        session = self.sessions[2]
        session.write([Act(Verb.EDIT, 0), *acts])
        before = session.lsn()
        task = self.ground.run(self._commit_in_thread(session))
        assert session.pending is not None
        self.history.commits.append(Commit(session.pending, before))
        self.hanging = task

    async def _commit_in_thread(self, session: Session) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(asyncio.to_thread(session.conn.execute, "commit"))
        query = "select 1 from pg_stat_activity where pid = %s and wait_event = 'SyncRep'"
        pid = session.conn.info.backend_pid
        await until(lambda: self.ground.observer.execute(query, [pid]).fetchall(), what="the wait", interval=0.0005)
        return task

    @precondition(lambda self: self.hanging is not None)
    @rule()
    def commit_seen(self) -> None:
        assert self.hanging is not None
        session, task = self.sessions[2], self.hanging
        self.ground.observer.execute("select pg_cancel_backend(%s)", [session.conn.info.backend_pid])
        self.ground.run(asyncio.wait_for(task, 60))
        session.pending, self.hanging = None, None
        self.history.note_shown(self.ground.observer)

    @precondition(lambda self: self.hanging is None and all(s.pending is None for s in self.sessions))
    @rule(table=st.sampled_from(["people", "awards", "visits"]))
    def truncate(self, table: str) -> None:
        self.sessions[0].truncate(table)

    # -- capture ---------------------------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 12))
    def capture_a_little(self, steps: int) -> None:
        self.ground.run(self.capturer.step(steps))

    @precondition(lambda self: self.hanging is None)
    @rule()
    def capture_everything(self) -> None:
        self.ground.run(self.capturer.catch_up(self.ground.lsn()))

    @rule(steps=st.integers(0, 20))
    def kill_capture(self, steps: int) -> None:
        """It goes on a little, and dies."""
        self.ground.run(self.capturer.step(steps))
        self.ground.run(self.capturer.kill())

    # -- delivery --------------------------------------------------------------------------------------------------

    @rule(worker=st.integers(0, 1), feed=FEEDS)
    def look_for_work(self, worker: int, feed: str) -> None:
        self._turn(worker, feed)

    def _turn(self, worker: int, feed: str) -> Flight | None:
        held = {p.scope for p in self.ground.run(self.operator.pauses()) if p.until is None}
        flight: Flight | None = self.ground.run(self.crew.turn(worker, feed))
        assert flight is None or not held & {feed, "memory"}, f"{feed} is held, and {flight} was claimed"
        return flight

    def _flight(self, choice: int) -> Flight:
        return self.crew.flights[choice % len(self.crew.flights)]

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE, steps=st.integers(1, 4))
    def go_on(self, choice: int, steps: int) -> None:
        self.ground.run(self.crew.step(self._flight(choice), steps))

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE, answer=st.sampled_from(Answer))
    def call(self, choice: int, answer: Answer) -> None:
        """Let a batch make its next call, which is answered in this way or not at all."""
        flight = self._flight(choice)
        if self.ground.run(self.crew.to_call(flight)):
            sink = self.sinks[flight.batch.line.feed.name]
            sink.answer = answer
            self.ground.run(self.crew.step(flight, 1))
            sink.answer = Answer.DONE

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE)
    def finish(self, choice: int) -> None:
        self.ground.run(self.crew.finish(self._flight(choice)))

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE)
    def stop_worker(self, choice: int) -> None:
        self.ground.run(self.crew.stop(self._flight(choice)))

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE, steps=st.integers(0, 4))
    def kill_worker(self, choice: int, steps: int) -> None:
        flight = self._flight(choice)
        self.ground.run(self.crew.step(flight, steps))
        if flight in self.crew.flights:
            self.ground.run(self.crew.kill(flight))

    @rule(worker=st.integers(0, 1), feed=FEEDS)
    def deliver(self, worker: int, feed: str) -> None:
        """One batch, undisturbed."""
        flight = self._turn(worker, feed)
        if flight is not None:
            self.ground.run(self.crew.finish(flight))

    @precondition(lambda self: any(sink.late for sink in self.sinks.values()))
    @rule()
    def carry_out_late(self) -> None:
        """The service gets round to a call that nobody waits for any more."""
        for sink in self.sinks.values():
            late, sink.late = sink.late, []
            for call in late:
                sink.land(call)

    @rule(seconds=SECONDS, carried_out=st.lists(st.booleans(), min_size=1, max_size=3))
    def pass_time(self, seconds: float, carried_out: list[bool]) -> None:
        self.truths.may_withdraw_more = True
        self.ground.run(self.crew.pass_time(seconds, carried_out))

    # -- people who look after it, and repair ----------------------------------------------------------------------

    @rule(scope=st.sampled_from(["memory", "people", "awards"]), hold=st.booleans())
    def hold_or_resume(self, scope: str, hold: bool) -> None:
        self.ground.run(self.operator.hold(scope) if hold else self.operator.resume(scope))

    @rule(approve=st.booleans())
    def retry_parked(self, approve: bool) -> None:
        """Let parked keys try again: those that the breaker holds, or all."""
        self.truths.may_withdraw_more = True
        self.ground.run(self.operator.retry(_HELD if approve else Selection()))

    @rule(feed=FEEDS, forced=st.booleans(), with_parked=st.booleans())
    def sweep(self, feed: str, forced: bool, with_parked: bool) -> None:
        self.ground.run(self.operator.sweep(feed, forced=forced, with_parked=with_parked))

    @precondition(lambda self: self.truths.journal.entries)
    @rule(first=st.integers(0, 30), count=st.integers(1, 10), forced=st.booleans())
    def replay(self, first: int, count: int, forced: bool) -> None:
        """Mark the keys of a part of the journal again."""
        self.ground.run(self.operator.replay(self.truths.keys_of(first, count), forced=forced))

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self.truths.check()

    def teardown(self) -> None:
        """Let everything come to rest; then the sinks hold what the views say."""
        try:
            self._come_to_rest()
        finally:
            self.ground.run(self._abandon())

    def _come_to_rest(self) -> None:
        if self.hanging is not None:
            self.commit_seen()
        self.end_open(commits=True)
        for scope in ("memory", "people", "awards"):
            self.ground.run(self.operator.resume(scope))
        self.capture_everything()
        self._deliver_everything()
        self.truths.check()
        rest = set(self.ground.observer.execute("select reason from cdc.outbox"))
        assert rest <= _MAY_WAIT, f"what can be delivered is not: {rest}"
        for _ in range(_TURNS_AT_MOST):
            self.truths.may_withdraw_more = True
            self.ground.run(self.operator.retry(Selection()))
            self._deliver_everything()
            if not self.truths.known:
                break
        self.truths.check()
        assert not self.truths.known, f"never delivered: {self.truths.known}"
        assert not list(self.truths.differences())
        assert len(self.truths.journal.entries) == len(self.history.entries())

    def _deliver_everything(self) -> None:
        """Go on until nothing is left that could go, however often it takes."""
        self.ground.run(self.crew.finish_all())
        for _ in range(_TURNS_AT_MOST):
            flights = [self._turn(0, feed) for feed in self.sinks]
            self.ground.run(self.crew.finish_all())
            if not any(flights):
                [(due,)] = self.ground.observer.execute(_TO_COME).fetchall()
                if not due:
                    return
                self.pass_time(LEASE + 700, [True])
        note(f"outbox: {self.ground.observer.execute('select * from cdc.outbox').fetchall()}")
        raise AssertionError("delivery doesn't come to rest")

    async def _abandon(self) -> None:
        for flight in list(self.crew.flights):
            await self.crew.kill(flight)
        await self.capturer.kill()
        for session in self.sessions:
            session.abandon()
