"""Makes one batch's calls to a sink, and finds the record at fault when a call fails as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cdc.delivery.policy import POLICIES, Response
from sinks.base import Operation, Outcome, Refused, Sink
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.sending import sending_while

_SENDING_SHARE = 0.5
_HOPELESS = 3
"""When this many records fail each on its own and no other gets an answer, the cause is not a record."""


@dataclass(slots=True)
class Answers:
    """What became of a batch's operations so far.

    Attributes:
        outcomes: by record id.
        culprits: record ids with a Refused outcome because each of them alone spoilt its call.
        failure: why the remaining ones have no outcome; None if all calls were answered.
        doubtful: record ids that may have been delivered all the same, or may yet be; with the loop's time at which
            their call's longest time is over.
        calls: how many were made.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    culprits: set[str] = field(default_factory=set)
    failure: SinkError | None = None
    doubtful: dict[str, float] = field(default_factory=dict)
    calls: int = 0


async def call(
    sink: Sink,
    operations: Sequence[Operation],
    answers: Answers,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Deliver operations: in one call, or in several if a record among them spoils it.

    Bytes leave only in the first half of a call's time; the other half is the sink's, to carry it out or not. So when
    the time is over nothing of it happens any more, whether this process ran all the while or was stopped.

    Args:
        sink: where to.
        operations: not more than the sink takes in a call.
        answers: is given the outcomes, and the failure if there is one.
        seconds: after which an answer counts as lost.
        clock: seconds that go on while the process is stopped.
    """
    pending = [list(operations)]
    suspects: dict[str, SinkError] = {}
    answered = False
    while pending:
        piece = pending.pop()
        answers.calls += 1
        over = asyncio.get_running_loop().time() + seconds
        latest = clock() + seconds * _SENDING_SHARE
        try:
            with sending_while(partial(_is_before, clock, latest)):
                outcomes = await _one_call(sink, piece, seconds)
        except SinkError as error:
            if error.maybe_applied:
                answers.doubtful |= dict.fromkeys((o.record_id for o in piece), over)
            policy = POLICIES[error.reason]
            if not policy.isolate or error.maybe_applied:
                if policy.response is Response.PAUSE:
                    answers.failure = error
                    break
                _refuse(answers, error, [o.record_id for o in piece])
            elif len(piece) > 1:
                half = len(piece) // 2
                pending += [piece[half:], piece[:half]]
            else:
                suspects[piece[0].record_id] = error
                if len(suspects) >= _HOPELESS and not answered:
                    break
        except BaseException:
            answers.doubtful |= dict.fromkeys((o.record_id for o in piece), over)
            raise
        else:
            answered = True
            answers.outcomes |= {outcome.record_id: outcome for outcome in outcomes}
    _judge(answers, suspects, answered=answered)


def _is_before(clock: Callable[[], float], moment: float) -> bool:
    return clock() < moment


def _judge(answers: Answers, suspects: dict[str, SinkError], *, answered: bool) -> None:
    """Blame the records that failed alone if others went through; else the service, or the whole mapping."""
    for record_id, error in suspects.items():
        whole = POLICIES[error.reason].response is Response.PAUSE or len(suspects) >= _HOPELESS
        if whole and not answered:
            answers.failure = answers.failure or error
        else:
            answers.culprits.add(record_id)
            _refuse(answers, error, [record_id])


def _refuse(answers: Answers, error: SinkError, record_ids: Sequence[str]) -> None:
    for record_id in record_ids:
        answers.outcomes[record_id] = Refused(record_id=record_id, reason=error.reason, detail=error.detail)


async def _one_call(sink: Sink, operations: Sequence[Operation], seconds: float) -> Sequence[Outcome]:
    try:
        async with asyncio.timeout(seconds):
            outcomes = await sink.deliver(operations)
    except TimeoutError:
        raise SinkError(Reason.OUTCOME_UNKNOWN, f"no answer in {seconds:g} s", maybe_applied=True) from None
    if [o.record_id for o in outcomes] != [o.record_id for o in operations]:
        raise SinkError(Reason.BAD_ANSWER, "outcomes don't match the operations", maybe_applied=True)
    return outcomes
