"""Settling a batch: what one key's verdict says must not trouble another's."""

from __future__ import annotations

from datetime import UTC, datetime

from cdc.routing.feeds import Lane
from cdc.state.claims import ClaimRequest, claim
from cdc.state.ledger import LedgerChange
from cdc.state.outbox import Mark, mark
from cdc.state.settle import Fate, Settlement, Verdict, settle
from tests.conftest import Connect
from tests.support.postgres import Database

NOW = datetime.now(UTC)


async def test_pauses_of_whole_and_broken_seconds_may_stand_in_one_batch(database: Database, connect: Connect) -> None:
    database.apply_state()
    conn = await connect()
    await mark(conn, [Mark(feed="f", key=key, lane=Lane.LIVE, dirty_at=NOW) for key in ("a", "b")])
    claimed = await claim(conn, _request())
    assert claimed is not None
    verdicts = [
        Verdict(key=c.key, generation=c.generation, fate=Fate.POSTPONE, due_in=due_in, reason="PARENT_NOT_DELIVERED")
        for c, due_in in zip(claimed.claims, (1, 0.5), strict=True)
    ]

    settled = await settle(
        conn,
        Settlement(
            feed="f",
            worker="w",
            claimed_at=claimed.at,
            claimed_until=claimed.until,
            verdicts=verdicts,
            ledger=LedgerChange(feed="f"),
        ),
    )

    assert settled
    assert await claim(conn, _request()) is None


def _request() -> ClaimRequest:
    return ClaimRequest(feed="f", worker="w", scopes=("f",), lanes=(Lane.LIVE,), limit=10, lease_seconds=60)
