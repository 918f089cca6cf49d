"""Calls that fail as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.calls import Answers, call
from sinks.base import Action, Delivered, Effect, Operation, Outcome, Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.support.sinks import Fault, MemorySink


def creates(count: int) -> list[Operation]:
    return [Operation(record_id=str(n), action=Action.CREATE, fields={"Name": "x"}) for n in range(count)]


async def deliver(sink: MemorySink, count: int, seconds: float = 5) -> Answers:
    answers = Answers()
    await call(sink, creates(count), answers, seconds)
    return answers


async def test_a_good_call_is_made_once() -> None:
    answers = await deliver(MemorySink(), 3)
    assert (answers.calls, set(answers.outcomes), answers.failure) == (1, {"0", "1", "2"}, None)


@given(st.integers(3, 100), st.data())
def test_one_or_two_spoilers_are_found_and_everybody_else_is_delivered(count: int, data: st.DataObject) -> None:
    spoilers = data.draw(st.sets(st.integers(0, count - 1).map(str), min_size=1, max_size=2))
    sink = MemorySink(spoil=lambda o: Reason.INVALID_VALUE if o.record_id in spoilers else None)
    answers = asyncio.run(deliver(sink, count))
    assert answers.culprits == spoilers
    assert {k for k, outcome in answers.outcomes.items() if isinstance(outcome, Refused)} == spoilers
    assert len(sink.records) == count - len(spoilers)
    assert answers.failure is None


@pytest.mark.parametrize("reason", [Reason.INVALID_VALUE, Reason.REQUEST_REFUSED])
async def test_when_everything_fails_no_record_is_blamed_and_few_calls_are_made(reason: Reason) -> None:
    answers = await deliver(MemorySink(spoil=lambda _: reason), 100)
    assert answers.failure is not None
    assert answers.failure.reason is reason
    assert (answers.outcomes, answers.culprits) == ({}, set())
    assert answers.calls < 15


async def test_a_lone_record_is_blamed_for_bad_data_and_not_for_a_refused_request() -> None:
    bad = await deliver(MemorySink(spoil=lambda _: Reason.INVALID_VALUE), 1)
    assert (bad.culprits, bad.failure) == ({"0"}, None)
    refused = await deliver(MemorySink(spoil=lambda _: Reason.REQUEST_REFUSED), 1)
    assert refused.culprits == set()
    assert refused.failure is not None


async def test_an_outage_is_not_searched_for_a_culprit() -> None:
    answers = await deliver(MemorySink(faults=[Fault(before=SinkError(Reason.UNAVAILABLE))]), 50)
    assert answers.calls == 1
    assert answers.failure is not None
    assert answers.doubtful == {}


async def test_a_lost_answer_leaves_all_its_records_in_doubt() -> None:
    lost = SinkError(Reason.OUTCOME_UNKNOWN, maybe_applied=True)
    answers = await deliver(MemorySink(faults=[Fault(after=lost)]), 3)
    assert set(answers.doubtful) == {"0", "1", "2"}


async def test_a_sink_that_takes_too_long_counts_as_a_lost_answer() -> None:
    answers = await deliver(MemorySink(faults=[Fault(hang=asyncio.Event())]), 2, seconds=0.05)
    assert answers.failure is not None
    assert answers.failure.reason is Reason.OUTCOME_UNKNOWN
    assert set(answers.doubtful) == {"0", "1"}


class _Careless(MemorySink):
    async def deliver(self, operations: Sequence[Operation]) -> list[Outcome]:
        return [Delivered(record_id=o.record_id, crm_id="x", effect=Effect.CREATED) for o in operations[1:]]


async def test_outcomes_that_do_not_match_are_not_believed() -> None:
    answers = await deliver(_Careless(), 3)
    assert {o.reason for o in answers.outcomes.values() if isinstance(o, Refused)} == {Reason.BAD_ANSWER}
    assert set(answers.doubtful) == {"0", "1", "2"}


async def test_a_cancelled_call_leaves_its_records_in_doubt() -> None:
    sink, answers = MemorySink(faults=[Fault(hang=asyncio.Event())]), Answers()
    task = asyncio.create_task(call(sink, creates(2), answers, 5))
    await sink.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(answers.doubtful) == {"0", "1"}


async def test_any_other_end_of_a_call_leaves_its_records_in_doubt() -> None:
    class Surprise(Exception):
        pass

    def surprise(_: Operation) -> Reason | None:
        raise Surprise

    answers = Answers()
    with pytest.raises(Surprise):
        await call(MemorySink(refuse=surprise), creates(2), answers, 5)
    assert set(answers.doubtful) == {"0", "1"}
