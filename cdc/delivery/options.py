"""What a worker is run with, and the times that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

_CALL_SHARE, _CALL_SECONDS = 0.6, 60.0
_SETTLE_SHARE, _SETTLE_SECONDS = 0.2, 10.0
_IDLE_SHARE, _IDLE_SECONDS = 0.5, 15.0


class LeaseTimes(TypedDict):
    """The times of `DeliveryOptions` that depend on the lease."""

    lease_seconds: float
    call_seconds: float
    settle_seconds: float
    idle_seconds: float


def times_within(lease_seconds: float) -> LeaseTimes:
    """Divide a lease: most of it for a call, some for recording, the rest for what comes before the call.

    A longer lease than the default gains nothing from a longer call. A worker that died is noticed when its lease has
    run out and somebody looks, so the longest sleep follows the lease as well.
    """
    return LeaseTimes(
        lease_seconds=lease_seconds,
        call_seconds=min(_CALL_SECONDS, lease_seconds * _CALL_SHARE),
        settle_seconds=min(_SETTLE_SECONDS, lease_seconds * _SETTLE_SHARE),
        idle_seconds=min(_IDLE_SECONDS, lease_seconds * _IDLE_SHARE),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOptions:
    """Settings of bulk jobs; all times in seconds.

    Attributes:
        rows: most records in a job, if less than the sink takes.
        job_from: due records from which a job is made; None for where it is cheaper, 0 for never.
        portion: keys that are read, planned and settled together.
        poll_seconds: first pause between two questions about a job; grows by half each time.
        poll_longest: longest such pause.
        claim_seconds: how long a job may hold its keys. One that hasn't ended by then is given up.
        retreat_seconds: how long a feed goes by ordinary calls after a job has failed.
        starts: how often a job is started when the answer gets lost, each time at its full price.
    """

    rows: int | None = None
    job_from: int | None = None
    portion: int = 500
    poll_seconds: float = 2.0
    poll_longest: float = 60.0
    claim_seconds: float = 86_400.0
    retreat_seconds: float = 3_600.0
    starts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """Settings of a delivery worker; all times in seconds.

    Attributes:
        hash_key: 16 to 64 secret bytes that key the ledger's hashes.
        worker_id: unique among all workers on the outbox.
        lease_seconds: how long a claim holds.
        call_seconds: after which a sink's answer counts as lost. A call starts only while the lease outlasts it.
        settle_seconds: what recording a batch may take, kept free at the end of the lease.
        drain_seconds: how long a stop waits for what is under way.
        rollup_seconds: how long a change of `rollup` fields alone may wait.
        daily_seconds: how long a change of `daily` fields alone may wait.
        idle_seconds: longest sleep without looking, should a notification be missed.
        budget_seconds: how old the sum of spent credits may be.
        parallel: batches of one feed at the same time.
        credit_limits: credits in 24 hours by sink family; a family that isn't named costs none.
        credit_reserve: credits out of these that are kept for people and other programs.
        bulk: of bulk jobs.
    """

    hash_key: bytes
    worker_id: str
    lease_seconds: float = 120.0
    call_seconds: float = _CALL_SECONDS
    settle_seconds: float = _SETTLE_SECONDS
    drain_seconds: float = 20.0
    rollup_seconds: float = 300.0
    daily_seconds: float = 86_400.0
    idle_seconds: float = _IDLE_SECONDS
    budget_seconds: float = 5.0
    parallel: int = 4
    credit_limits: Mapping[str, int] = field(default_factory=dict)
    credit_reserve: int = 0
    bulk: BulkOptions = field(default_factory=BulkOptions)

    def __post_init__(self) -> None:
        if not 16 <= len(self.hash_key) <= 64:
            raise ValueError("hash_key takes 16 to 64 bytes")
        if self.lease_seconds <= self.call_seconds + self.settle_seconds:
            raise ValueError("lease_seconds must be longer than call_seconds and settle_seconds together")
