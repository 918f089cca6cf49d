"""What can go wrong on our side, as a tree.

Every message names the thing and says what to do. None of them holds a secret or a row value.
"""

from __future__ import annotations


class CdcError(Exception):
    """The root of everything this package raises on purpose.

    Args:
        message: what is wrong, naming the thing.
        fix: what to do about it: a setting, a command, or SQL to run.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  fix: {self.fix}"


class ConfigError(CdcError):
    """A setting is missing, malformed or contradicts another one."""

    exit_code = 2


class KeyMissing(ConfigError):
    """Something stored is encrypted with a key that `CDC_ENCRYPTION_KEY` doesn't hold."""


class ProfileError(ConfigError):
    """`feeds.toml` or a view doesn't fit the database or the CRM."""


class PreflightError(ConfigError):
    """The source can't serve us as it is; nothing was changed."""


class SourceError(CdcError):
    """The source database failed us while running."""


class SourceUnavailable(SourceError):
    """The source can't be reached now; worth another try."""


class SlotInUse(SourceUnavailable):
    """Another process streams from the slot; this one stands by."""


class GapUndecided(SourceUnavailable):
    """The stream doesn't join up with our position, and a person has yet to decide; this one waits."""


class RealtimeLost(SourceUnavailable):
    """The connection to Supabase Realtime is of no use any more; a new one is made, and a sweep is owed.

    Args:
        cause: one word for the log: refused, unreachable, channel_error, closed, timed_out, not_ready, deaf, ...
        message: what happened.
        fix: what to do, where a person can do anything.
    """

    def __init__(self, cause: str, message: str, *, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.cause = cause


class SlotLost(SourceError):
    """The slot is missing, invalidated, or no longer joins up with our position."""


class StreamUnreadable(SourceError):
    """The server can't decode what comes next: it was written while the publication didn't exist."""


class DecodeError(SourceError):
    """Bytes that are not valid pgoutput.

    Args:
        kind: the message kind that was being read.
        offset: the byte offset within the message at which reading failed.
        problem: what was expected.
    """

    def __init__(self, kind: str, offset: int, problem: str) -> None:
        super().__init__(
            f"invalid pgoutput message: {kind} at byte {offset}: {problem}",
            fix="check that the slot's output plugin is pgoutput (`cdc status`)",
        )
        self.kind = kind
        self.offset = offset


class StateError(CdcError):
    """The state schema is missing, newer than this program, or moved under our feet."""
