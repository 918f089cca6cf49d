"""Waiting that ends when it must."""

from __future__ import annotations

import asyncio

import pytest

from cdc.waiting import unless


async def test_work_that_ends_gives_what_it_found() -> None:
    assert await unless(asyncio.Event(), asyncio.sleep(0, "found")) == "found"


async def test_a_stop_ends_it_although_it_loses_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.11 may, where a cancellation meets the end of a wait."""
    monkeypatch.setattr("cdc.waiting._CANCEL_AGAIN_SECONDS", 0.01)
    stop, lost = asyncio.Event(), []

    async def work() -> str:
        while True:
            try:
                stop.set()
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(1)

    assert await unless(stop, work()) is None
    assert lost


async def test_what_goes_wrong_is_raised() -> None:
    async def work() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await unless(asyncio.Event(), work())
