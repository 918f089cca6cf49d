"""What a worker is run with, and the times that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
        daily_seconds: how long a change of slow fields alone may wait.
        idle_seconds: longest sleep without looking, should a notification be missed.
        budget_seconds: how old the sum of spent credits may be.
        parallel: batches of one feed at the same time.
        credit_limits: credits in 24 hours by sink family; a family that isn't named costs none.
        credit_reserve: credits out of these that are kept for people and other programs.
        flush_all: treat what gathers or waits for its day as due (for `--until-idle`).
    """

    hash_key: bytes
    worker_id: str
    lease_seconds: float = 120.0
    call_seconds: float = 60.0
    settle_seconds: float = 10.0
    drain_seconds: float = 20.0
    daily_seconds: float = 86_400.0
    idle_seconds: float = 15.0
    budget_seconds: float = 5.0
    parallel: int = 4
    credit_limits: Mapping[str, int] = field(default_factory=dict)
    credit_reserve: int = 0
    flush_all: bool = False

    def __post_init__(self) -> None:
        if not 16 <= len(self.hash_key) <= 64:
            raise ValueError("hash_key takes 16 to 64 bytes")
        if self.lease_seconds <= self.call_seconds + self.settle_seconds:
            raise ValueError("lease_seconds must be longer than call_seconds and settle_seconds together")
