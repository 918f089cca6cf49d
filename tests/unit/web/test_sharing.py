"""One read for however many ask."""

from __future__ import annotations

import asyncio

import pytest

from cdc.web.sharing import FRESH_SECONDS, SharedRead


class Source:
    def __init__(self) -> None:
        self.reads = 0
        self.now = 100.0
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.shared = SharedRead(self.read, clock=lambda: self.now)

    async def read(self) -> int:
        self.reads += 1
        count = self.reads
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return count


async def test_a_hundred_callers_are_one_read_and_all_get_its_answer() -> None:
    source = Source()
    callers = [asyncio.create_task(source.shared.now()) for _ in range(100)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*callers) == [1] * 100


async def test_an_answer_is_good_for_two_seconds_from_when_it_came() -> None:
    source = Source()
    first = asyncio.create_task(source.shared.now())
    await asyncio.sleep(0)
    source.now += 60  # a slow database
    source.gate.set()
    assert await first == 1
    source.now += FRESH_SECONDS - 0.1
    assert await source.shared.now() == 1
    source.now += 0.1
    assert await source.shared.now() == 2


async def test_a_failure_is_shared_and_then_forgotten() -> None:
    source = Source()
    source.gate.set()
    source.error = OSError("away")
    for _ in range(3):
        with pytest.raises(OSError, match="away"):
            await source.shared.now()
    assert source.reads == 1
    source.error = None
    source.now += FRESH_SECONDS
    assert await source.shared.now() == 2


async def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    source = Source()
    impatient, patient = (asyncio.create_task(source.shared.now()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    source.gate.set()
    assert await patient == 1
    assert source.reads == 1


async def test_closing_ends_a_read_that_is_under_way() -> None:
    source = Source()
    waiting = asyncio.create_task(source.shared.now())
    await asyncio.sleep(0)
    await source.shared.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await SharedRead(source.read).close()
