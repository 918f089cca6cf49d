"""The machine: an application, a capture, two workers and an outside system, in any order that Hypothesis thinks of."""

from __future__ import annotations

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from cdc.state.failures import Selection
from tests.stateful.actors import CALL, LEASE, Crew, Flight
from tests.stateful.application import ROWS, Act, Verb
from tests.stateful.application_rules import ApplicationRules
from tests.stateful.crm import Answer
from tests.stateful.operator import Operator

FEEDS = st.sampled_from(["people", "awards"])
CHOICE = st.integers(0, 3)
SECONDS = st.sampled_from([2.0, 400.0, CALL + 500, LEASE + 100])
_A_MOMENT = 60.0
_TURNS_AT_MOST = 60
_HELD = Selection(reason="HELD_BY_BREAKER")
_TO_COME = (
    "select exists (select from cdc.outbox where parked_at is null and reason is distinct from 'PARENT_NOT_DELIVERED')"
)
_MAY_WAIT = {("HELD_BY_BREAKER",), ("INVALID_VALUE",), ("BAD_ANSWER",), ("RECORD_LOCKED",), ("PARENT_NOT_DELIVERED",)}


class PipelineMachine(ApplicationRules):
    """One example: from an empty application to a drained pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.crew = Crew(self.ground, self.sinks)
        self.operator = Operator(self.ground)

    @initialize(people=st.integers(0, ROWS))
    def begin(self, people: int) -> None:
        """Some people are there, and delivered, before anything goes wrong."""
        if people:
            acts = [Act(Verb.EDIT, n) for n in range(people)] + [Act(Verb.AWARD, 0)]
            self.write(0, acts, end="commit and capture")
            self._deliver_everything()

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
    @rule(choice=CHOICE, answer=st.sampled_from(Answer), recorded=st.booleans())
    def call(self, choice: int, answer: Answer, recorded: bool) -> None:
        """Let a batch make its next call, which is answered in this way or not at all."""
        flight = self._flight(choice)
        if self.ground.run(self.crew.to_call(flight)):
            sink = self.sinks[flight.batch.line.feed.name]
            sink.answer = answer
            self.ground.run(self.crew.step(flight, 1))
            sink.answer = Answer.DONE
        if recorded and flight in self.crew.flights:
            self.ground.run(self.crew.finish(flight))

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

    @rule(worker=st.integers(0, 1), feed=FEEDS, after=st.sampled_from([0.0, 2.0]))
    def deliver(self, worker: int, feed: str, after: float) -> None:
        """One batch, undisturbed; a short pause may end before it."""
        if after:
            self.pass_time(after, [True])
        flight = self._turn(worker, feed)
        if flight is not None:
            self.ground.run(self.crew.finish(flight))

    @precondition(lambda self: self.crew.flights)
    @rule(choice=CHOICE, carried_out=st.booleans())
    def overtake(self, choice: int, carried_out: bool) -> None:
        """A batch stands still until its lease is over, and another worker delivers what it had."""
        line = self._flight(choice).batch.line
        self.pass_time(LEASE + 100, [carried_out])
        self.deliver(int(line.options.worker_id == "w0"), line.feed.name, 0.0)

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
        self.truths.may_withdraw_more |= seconds > _A_MOMENT
        self.ground.run(self.crew.pass_time(seconds, carried_out))

    # -- people who look after it, and repair ----------------------------------------------------------------------

    @rule(scope=st.sampled_from(["memory", "people", "awards"]))
    def hold_or_resume(self, scope: str) -> None:
        """Hold a scope; the next time, let everything go on."""
        held = [pause.scope for pause in self.ground.run(self.operator.pauses()) if pause.actor is not None]
        for one in held:
            self.ground.run(self.operator.resume(one))
        if not held:
            self.ground.run(self.operator.hold(scope))

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
