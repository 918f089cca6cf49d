"""Sends a message through every channel, side by side; one that fails holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from cdc.runtime.channels.channel import Channel, NotSent
from cdc.watch.alerts.wording import Message

log = structlog.get_logger()

ATTEMPTS: Final = 3
LIMIT_SECONDS: Final = 25.0
"""For all tries of a channel together; the turn to evaluate is held for longer."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message on a channel."""

    channel: str
    sent: bool
    attempts: int
    error: str | None = None


async def deliver(channels: Sequence[Channel], message: Message, *, limit: float = LIMIT_SECONDS) -> list[Delivery]:
    """Send a message through every channel.

    Args:
        channels: all that are configured.
        message: what to say.
        limit: seconds for each channel, all its tries together.
    """
    return list(await asyncio.gather(*(_through(channel, message, limit) for channel in channels)))


async def _through(channel: Channel, message: Message, limit: float) -> Delivery:
    attempts = 0
    retrying = AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=4.0),
        retry=retry_if_exception(lambda error: isinstance(error, NotSent) and error.again),
        reraise=True,
    )
    error: str | None = None
    try:
        async with asyncio.timeout(limit):
            async for attempt in retrying:
                with attempt:
                    attempts += 1
                    await channel.send(message)
    except NotSent as failure:
        error = failure.word
    except TimeoutError:
        error = "timeout"
    if error is not None:
        log.error("alert_not_sent", channel=channel.name, error=error, attempts=attempts, alerts=message.summary)
    return Delivery(channel.name, error is None, attempts, error)
