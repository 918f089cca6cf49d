"""What becomes of calls to a sink, for whoever keeps account of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a call as a whole; single records in it are another matter."""

    OK = "ok"
    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    CONCURRENCY = "concurrency"
    CREDITS = "credits"
    SERVER_ERROR = "server_error"
    NO_ANSWER = "no_answer"
    NOT_SENT = "not_sent"

    @classmethod
    def of_status(cls, status: int) -> Outcome:
        """Read it from an HTTP status other than 429."""
        if status == 401:
            return cls.UNAUTHORISED
        return cls.OK if status < 400 else cls.REFUSED if status < 500 else cls.SERVER_ERROR

    @property
    def is_answered(self) -> bool:
        """True when an answer came, whatever it said."""
        return self not in {Outcome.NO_ANSWER, Outcome.NOT_SENT}

    @property
    def is_theirs(self) -> bool:
        """True when the service failed us, or couldn't be reached."""
        return self is Outcome.SERVER_ERROR or not self.is_answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call, as it went.

    Attributes:
        kind: of call, for the books.
        outcome: what became of it.
        seconds: that it took.
        is_file: it carried a file, so that its time says nothing of the service.
        remaining: credits that the service says are left, if it does.
    """

    kind: str
    outcome: Outcome
    seconds: float
    is_file: bool = False
    remaining: int | None = None
