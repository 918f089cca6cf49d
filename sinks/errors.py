"""A call that failed as a whole. Failures of single records are outcomes, not exceptions."""

from __future__ import annotations

from sinks.reasons import Reason


class SinkError(Exception):
    """No record of the call has an outcome of its own.

    Args:
        reason: why, from the closed registry.
        detail: the service's own code or words, free of values and secrets.
        retry_after: seconds the service asked us to wait, if it did.
        maybe_applied: True when the service may have carried the call out (a lost answer).
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        retry_after: float | None = None,
        maybe_applied: bool = False,
    ) -> None:
        super().__init__(f"{reason.name}: {detail or reason.meaning}")
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.maybe_applied = maybe_applied
