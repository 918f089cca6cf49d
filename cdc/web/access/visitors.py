"""Whoever is signed in, and why somebody isn't."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_LONGEST_NAME: Final = 80


class Role(IntEnum):
    """What somebody may do; the higher includes the lower."""

    VIEWER = 1
    OPERATOR = 2

    @property
    def word(self) -> str:
        """Give its name for people."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in.

    Attributes:
        name: for people to read; it may be an e-mail address. Not to be logged.
    """

    name: str
    role: Role

    @property
    def actor(self) -> str:
        """Give the name under which the audit knows them."""
        return f"web:{self.name}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A visitor whose credential was checked.

    Attributes:
        via: which way they came: `link`, `jwt`, or the print of a configured token.
        ends_at: when the credential runs out, in seconds since 1970; None if it doesn't.
    """

    visitor: Visitor
    via: str
    ends_at: float | None = None


class SignInRefused(Exception):
    """A credential that isn't accepted.

    Args:
        word: for the log. Never a part of the credential.
        sentence: for the visitor.
        status: of the answer.
    """

    def __init__(self, word: str, sentence: str, status: int = 401) -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.status = status


def plain_name(text: object, otherwise: str) -> str:
    """Make a name out of what a claim says: one short line of printable signs."""
    if not isinstance(text, str):
        return otherwise
    kept = "".join(sign for sign in text if sign.isprintable()).strip()
    return kept[:_LONGEST_NAME] or otherwise
