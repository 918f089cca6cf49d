"""What a channel is."""

from __future__ import annotations

from typing import Protocol

from cdc.watch.alerts.wording import Message


class NotSent(Exception):
    """A message didn't get through.

    Args:
        word: why, in a word or two. Never an address, a secret or the other side's own words.
        again: another try may help.
    """

    def __init__(self, word: str, *, again: bool) -> None:
        super().__init__(word)
        self.word = word
        self.again = again


class Channel(Protocol):
    """A way to tell people something."""

    @property
    def name(self) -> str:
        """One word."""
        ...

    async def send(self, message: Message) -> None:
        """Try once.

        Raises:
            NotSent: see there.
        """
        ...
