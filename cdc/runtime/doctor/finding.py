"""What a check has found. No finding without a fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from cdc.errors import CdcError
from sinks.errors import SinkError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it works, and somebody should look
    PROBLEM = "problem"  # something doesn't work, or won't before long
    SKIPPED = "skipped"  # not looked at: something before it failed, or it doesn't apply


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check says.

    Attributes:
        level: how bad it is.
        what: what was found, naming the thing. It holds no secret and no value of a row.
        why: why it matters.
        fix: the SQL or the command that mends it, line by line; a sentence where neither can. A warning and a problem
            always have one.
        check: id of the check; the run fills it in.
    """

    level: Level
    what: str
    why: str = ""
    fix: str = ""
    check: str = ""

    def __post_init__(self) -> None:
        if self.needs_a_person and not self.fix:
            raise ValueError(f"a finding without a fix: {self.what}")

    @property
    def needs_a_person(self) -> bool:
        """True for a warning and a problem."""
        return self.level in {Level.WARNING, Level.PROBLEM}

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)


Findings = Sequence[Finding]


def ok(what: str) -> Findings:
    """All is well."""
    return [Finding(level=Level.OK, what=what)]


def skipped(what: str) -> Findings:
    """It wasn't looked at."""
    return [Finding(level=Level.SKIPPED, what=what)]


def warning(what: str, *, why: str, fix: str) -> Finding:
    """It works, and somebody should look."""
    return Finding(level=Level.WARNING, what=what, why=why, fix=fix)


def problem(what: str, *, why: str, fix: str) -> Finding:
    """It doesn't work, or won't before long."""
    return Finding(level=Level.PROBLEM, what=what, why=why, fix=fix)


def from_error(error: CdcError, *, why: str, fix: str = "see docs/troubleshooting.md") -> Finding:
    """Make a problem of an error of ours.

    Args:
        error: its message, and its fix if it has one.
        why: why it matters.
        fix: if the error has none.
    """
    return problem(error.message, why=why, fix=error.fix or fix)


def from_sink_error(error: SinkError, *, why: str, fix: str | None = None) -> Finding:
    """Make a problem of what the CRM answered."""
    detail = f" ({error.detail})" if error.detail else ""
    return problem(f"{error.reason.name}: {error.reason.meaning}{detail}", why=why, fix=fix or error.reason.hint)
