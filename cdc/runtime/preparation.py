"""From settings to databases that are ready: check, plan, apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from cdc.connection import connect
from cdc.errors import PreflightError
from cdc.routing.feeds import Profile
from cdc.settings import Settings
from cdc.source.preflight import Readiness, check_source, refuse_transaction_pooler
from cdc.source.setup import plan_realtime_setup, plan_setup
from cdc.source.statements import Statement, run_setup
from cdc.source.views import rehearse_views
from cdc.state.database import Migration, migrate, migration_script, pending_migrations


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be changed, and what preflight found.

    Attributes:
        migrations: of the state schema; they run first.
        statements: in the source.
    """

    readiness: Readiness
    migrations: Sequence[Migration]
    statements: Sequence[Statement]

    @property
    def is_empty(self) -> bool:
        """True when everything is in place."""
        return not self.migrations and not self.statements

    def state_script(self) -> str:
        """Give the SQL for the database with the cdc tables, as one transaction."""
        return migration_script(self.migrations)

    def source_script(self) -> str:
        """Give the SQL for the source; statement by statement, since some can't run in a transaction."""
        return "\n".join(f"-- {s.why}\n{s.sql.strip().rstrip(';')};\n" for s in self.statements)


async def make_plan(source_dsn: str, state_dsn: str, settings: Settings, profile: Profile) -> Plan:
    """Check everything and list what is missing; changes nothing.

    Raises:
        ConfigError: naming the cause and the fix, with exit code 2.
    """
    if state_dsn != source_dsn:
        refuse_transaction_pooler(state_dsn, "CDC_STATE_DSN")  # advisory locks and LISTEN need a session
    readiness = await check_source(
        source_dsn,
        profile,
        slot=settings.cdc_slot,
        wanted=settings.cdc_transport,
        has_realtime=settings.has_realtime,
    )
    source = await connect(source_dsn, purpose="setup")
    try:
        await rehearse_views(source, profile)
        if readiness.transport == "realtime":
            statements = await plan_realtime_setup(source, profile)
        else:
            statements = await plan_setup(source, profile, publication=settings.cdc_publication, slot=settings.cdc_slot)
    finally:
        await source.close()
    state = await connect(state_dsn, purpose="setup")
    try:
        migrations = await pending_migrations(state)
    finally:
        await state.close()
    return Plan(readiness, migrations, statements)


def refuse_unasked(plan: Plan) -> None:
    """Refuse to change the source on the way, where the publication belongs to the application as well.

    Raises:
        PreflightError: naming the first thing that is missing; `cdc setup` makes it.
    """
    if plan.readiness.transport == "realtime" and plan.statements:
        raise PreflightError(
            f"the database isn't set up for Realtime: it takes a statement to {plan.statements[0].why}",
            fix="run `cdc setup` (with --print-sql it only shows what it would do)",
        )


async def apply_plan(source: AsyncConnection[Any], state_dsn: str, plan: Plan) -> None:
    """Carry a plan out. What another process has done meanwhile is not done twice."""
    if plan.migrations:
        await migrate(state_dsn)
    await run_setup(source, plan.statements)
