"""Carries a plan out that a person has looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cdc.repair.reconcile.plan import Plan, read_plan
from cdc.runtime.reconcile.fixing import DELIVERY_SECONDS, Fixed, put_right
from cdc.runtime.reconcile.site import Site, mapping_of
from cdc.state import reconciles
from cdc.state.reconciles import ReconcileRun


async def apply_plan(
    site: Site, path: Path, *, requested_by: str = "cdc reconcile", delivery_seconds: float = DELIVERY_SECONDS
) -> tuple[Plan, Fixed]:
    """Carry a plan out: each of its records is looked at once more, and sent anew if it still differs.

    Raises:
        ConfigError: if the plan may not be carried out, naming why.
        StateError: if another process is at it.
    """
    started_at = datetime.now(UTC)
    async with site.connections.source.connection() as source:
        mapping = await mapping_of(source, site.profile)
    plan = read_plan(path, site.connections.hash_key, now=started_at, slot=site.slot, mapping=mapping)
    async with site.connections.state.connection() as guard, reconciles.alone(guard, site.slot):
        credits_before = await site.credits_left()
        fixed = await put_right(site, plan.fixes, delivery_seconds=delivery_seconds)
        open_ = len(fixed.left) - fixed.agreed + len(fixed.remaining)
        run = ReconcileRun(
            slot=site.slot,
            kind="apply",
            requested_by=requested_by,
            started_at=started_at,
            verdict="differs" if open_ else "fixed",
            complete=False,
            barrier_lsn=None,
            compared=len(plan.fixes),
            differing=len(plan.fixes),
            fixed=len(fixed.marked),
            remaining=len(fixed.remaining),
            counts={},
            crm_counts={},
            credits_before=credits_before,
            credits_planned=plan.credits,
            credits_used=site.meter.spent.total(),
            mapping=mapping,
        )
        await reconciles.record_run(guard, run)
    return plan, fixed
