"""An outside system whose answers the machine decides: done, refused, lost before or after, or carried out late."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sinks.base import Action, Operation, Outcome
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.stateful.gates import GATE, Killed, reach
from tests.support.sinks import MemorySink


class Answer(StrEnum):
    """What becomes of a call."""

    DONE = "done"
    REFUSED = "refused"  # its first record is
    LOCKED = "locked"  # its first record can't be written just now
    DOWN = "down"  # nothing is done, and it says so
    LOST_BEFORE = "lost before"  # nothing is done, and nobody knows
    LOST_AFTER = "lost after"  # all is done, and nobody knows
    LATE = "late"  # the answer is lost, and the call is carried out later, or never
    UNREADABLE = "unreadable"  # all is done, and the answer makes no sense


_REFUSALS = {Answer.REFUSED: Reason.INVALID_VALUE, Answer.LOCKED: Reason.RECORD_LOCKED}
_LOST = {Answer.LOST_BEFORE, Answer.LOST_AFTER, Answer.LATE}
_DOUBT = SinkError(Reason.OUTCOME_UNKNOWN, "no answer", maybe_applied=True)


@dataclass
class Late:
    """A call that the service may still carry out, until the clock says `deadline`."""

    operations: Sequence[Operation]
    deadline: float


@dataclass(slots=True)
class SteppedSink(MemorySink):
    """A sink that stops its caller before and after it does anything.

    Attributes:
        answer: to the next call.
        call_seconds: after which a caller gives up; the service surely has by then.
        late: calls whose answer is lost and that are not over.
        written: everything that was carried out, in order.
    """

    answer: Answer = Answer.DONE
    call_seconds: float = 0.0
    late: list[Late] = field(default_factory=list)
    written: list[Operation] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    async def deliver(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out, or not, as `answer` says when the call is let on."""
        late = Late(operations, get_running_loop().time() + self.call_seconds - 1)
        gate = GATE.get()
        if gate is not None:
            gate.deadline = late.deadline + 2
        try:
            await reach("call")
        except (Killed, CancelledError):  # the request is on its way, whatever becomes of the caller
            self.late.append(late)
            raise
        answer, self.answer = self.answer, Answer.DONE
        reason, first = _REFUSALS.get(answer), operations[0].record_id
        self.refuse = lambda operation: reason if operation.record_id == first else None
        if answer is Answer.DOWN:
            raise SinkError(Reason.UNAVAILABLE, "503")
        if answer is Answer.LATE:
            self.late.append(late)
        outcomes = [] if answer in (Answer.LOST_BEFORE, Answer.LATE) else await MemorySink.deliver(self, operations)
        await reach("answer")
        if answer in _LOST:
            raise _DOUBT
        return outcomes[1:] if answer is Answer.UNREADABLE else outcomes

    def end_late(self, now: float, carried_out: Sequence[bool]) -> None:
        """Decide the calls that are over by `now`: one answer for each, in turn."""
        over = [late for late in self.late if late.deadline <= now]
        self.late = [late for late in self.late if late.deadline > now]
        for n, late in enumerate(over):
            if carried_out[n % len(carried_out)]:
                self.land(late)

    def land(self, late: Late) -> None:
        """Carry out a call that nobody waits for any more."""
        self.refuse = lambda _: None
        for operation in late.operations:
            self._one(operation)

    def _one(self, operation: Operation) -> Outcome:
        outcome = MemorySink._one(self, operation)
        if self.refuse(operation) is None:
            self.written.append(operation)
            if operation.action is Action.WITHDRAW:
                self.withdrawn.append(operation.record_id)
        return outcome
