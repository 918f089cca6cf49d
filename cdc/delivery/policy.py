"""What is done about each reason for which a delivery fails. Pure: times and chance come in as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sinks.reasons import Reason

MINUTE = 60.0
HOUR = 60 * MINUTE


class Response(StrEnum):
    """How a failure is met."""

    RETRY = "retry"  # this record, later, in growing pauses; parked when its attempts are used up
    PAUSE = "pause"  # everything in the scope; no record is at fault, so no attempt is counted
    PARK = "park"  # until the record's data change or a person acts
    WAIT = "wait"  # for another record; not counted


class Scope(StrEnum):
    """What a pause stops."""

    FAMILY = "family"  # all feeds of a sink family, such as zoho
    FEED = "feed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about one reason.

    Attributes:
        first: length of the first pause in seconds; doubled with each further failure in a row. Infinite where only a
            mended cause ends it.
        longest: where the doubling ends, in seconds.
        attempts: a record is parked when it has failed this often; RETRY only.
        scope: what stops; PAUSE only.
        isolate: when a call with several records fails as a whole for this reason, one of them may be the cause, so
            smaller calls are tried.
    """

    response: Response
    first: float = 0.0
    longest: float = 0.0
    attempts: int = 0
    scope: Scope = Scope.FAMILY
    isolate: bool = False


_PARK = Policy(response=Response.PARK, isolate=True)


def _pause(first: float, longest: float, scope: Scope = Scope.FAMILY, *, isolate: bool = False) -> Policy:
    return Policy(response=Response.PAUSE, first=first, longest=longest, scope=scope, isolate=isolate)


def _retry(first: float, longest: float, attempts: int) -> Policy:
    return Policy(response=Response.RETRY, first=first, longest=longest, attempts=attempts)


POLICIES: Mapping[Reason, Policy] = MappingProxyType(
    {
        Reason.REQUIRED_FIELD_MISSING: _PARK,
        Reason.FIELD_TOO_LONG: _PARK,
        Reason.WRONG_TYPE: _PARK,
        Reason.PICKLIST_VALUE_UNKNOWN: _PARK,
        Reason.FIELD_NOT_IN_CRM: _PARK,
        Reason.DUPLICATE_IN_CRM: _PARK,
        Reason.INVALID_VALUE: _PARK,
        Reason.HELD_BY_BREAKER: _PARK,
        Reason.REJECTED: _PARK,
        Reason.RECORD_GONE: _retry(1, 10 * MINUTE, attempts=5),
        Reason.RECORD_LOCKED: _retry(5 * MINUTE, 6 * HOUR, attempts=12),
        Reason.BAD_ANSWER: _retry(5, HOUR, attempts=8),
        Reason.PARENT_NOT_DELIVERED: Policy(response=Response.WAIT, first=1, longest=5 * MINUTE),
        Reason.TOKEN_INVALID: _pause(30, 15 * MINUTE),
        Reason.CLIENT_INVALID: _pause(30, 15 * MINUTE),
        Reason.TOKEN_THROTTLED: _pause(MINUTE, 10 * MINUTE),
        Reason.STORAGE_FULL: _pause(5 * MINUTE, HOUR),
        Reason.CREDITS_EXHAUSTED: _pause(5 * MINUTE, 30 * MINUTE),
        Reason.CONCURRENCY_LIMIT: _pause(1, MINUTE),
        Reason.UNAVAILABLE: _pause(1, 5 * MINUTE),
        Reason.OUTCOME_UNKNOWN: _pause(1, 5 * MINUTE),
        Reason.SCOPE_MISSING: _pause(MINUTE, 15 * MINUTE, Scope.FEED),
        Reason.NO_PERMISSION: _pause(MINUTE, 15 * MINUTE, Scope.FEED),
        Reason.REQUEST_REFUSED: _pause(MINUTE, 15 * MINUTE, Scope.FEED, isolate=True),
        Reason.KEY_NOT_CAPTURED: _pause(math.inf, math.inf, Scope.FEED),
        Reason.VIEW_UNREADABLE: _pause(10, 5 * MINUTE, Scope.FEED),
    }
)
"""One policy for each reason; a test proves that none is missing."""


def call_policy(reason: Reason) -> Policy:
    """Give the policy of a call's failure. One that blames records, when no single one is to blame, stops the feed."""
    policy = POLICIES[reason]
    return policy if policy.response is Response.PAUSE else POLICIES[Reason.REQUEST_REFUSED]


def pause_seconds(policy: Policy, failures: int, jitter: float, retry_after: float | None = None) -> float:
    """Say how long to pause after a failure.

    Args:
        policy: of the reason.
        failures: failures in a row before this one.
        jitter: from 0 to 1; spreads those that failed together over the upper half of the pause.
        retry_after: seconds that the service asked for; never undercut, and never answered with more than an hour
            on top of our own longest pause.
    """
    full = min(policy.longest, policy.first * 2.0 ** min(failures, 32))
    ours = full * (0.5 + jitter / 2)
    if retry_after is None:
        return ours
    return max(ours, min(retry_after, policy.longest + HOUR))


def is_used_up(policy: Policy, attempts: int) -> bool:
    """Tell whether a record with this many failed attempts is parked instead of retried."""
    return policy.response is Response.RETRY and attempts >= policy.attempts


def wait_seconds(policy: Policy, waited: float) -> float:
    """Say how long to wait for another record, given how long it has been waited for: a quarter of that again."""
    return min(policy.longest, max(policy.first, waited / 4))
