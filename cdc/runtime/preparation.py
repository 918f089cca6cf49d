"""From settings to databases that are ready: check, plan, apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg import AsyncConnection

from cdc.connection import connect
from cdc.errors import PreflightError, ProfileError
from cdc.routing.feeds import Profile
from cdc.settings import Settings
from cdc.source.drift import without_missing
from cdc.source.poolers import check_sessions, refuse_transaction_pooler
from cdc.source.preflight import Readiness, check_source
from cdc.source.setup import plan_realtime_setup, plan_setup
from cdc.source.statements import Statement, run_setup
from cdc.source.views import rehearse_views, views_were_lost
from cdc.state.database import Migration, migrate, migration_script, pending_migrations
from cdc.state.envelope import Keyring
from cdc.state.lineage import read_lineage
from cdc.state.secrets import check_keys

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be changed, and what preflight found.

    Attributes:
        migrations: of the state schema; they run first.
        statements: in the source.
        stranger: the source is another cluster than the stored position's, so nothing is planned there.
    """

    readiness: Readiness
    migrations: Sequence[Migration]
    statements: Sequence[Statement]
    stranger: bool = False

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


async def make_plan(
    source_dsn: str,
    state_dsn: str,
    settings: Settings,
    profile: Profile,
    *,
    tolerant: bool = False,
    accept: bool = False,
) -> Plan:
    """Check everything and list what is missing; changes nothing.

    A slot that was there before isn't planned: capture makes it anew, with the gap on record. Nothing is planned for
    another cluster than the stored position's either: it may be the wrong one, and capture asks about it.

    Args:
        source_dsn: the database with the tables.
        state_dsn: the database with the cdc tables.
        settings: names of slot and publication.
        profile: the feeds.
        tolerant: where a pipeline has been set up before, a table, key column or view that is gone since breaks its
            feeds and refuses nothing. A profile that was edited is still held against the database as a whole.
        accept: a person says that another cluster is the right one.

    Raises:
        ConfigError: naming the cause and the fix, with exit code 2.
    """
    refuse_transaction_pooler(source_dsn)  # before anybody is called
    if state_dsn != source_dsn:
        await check_sessions(state_dsn, "CDC_STATE_DSN")  # advisory locks and LISTEN need a session
    state = await connect(state_dsn, purpose="setup")
    try:
        migrations = await pending_migrations(state)
        if settings.cdc_encryption_key is not None:
            await check_keys(state, Keyring.parse(settings.cdc_encryption_key.get_secret_value()))
        stored = await _stored_cluster(state, settings.cdc_slot)
    finally:
        await state.close()
    source = await connect(source_dsn, purpose="setup")
    try:
        there = await without_missing(source, profile) if tolerant and stored is not None else profile
        readiness = await check_source(
            source_dsn,
            there,
            slot=settings.cdc_slot,
            wanted=settings.cdc_transport,
            has_realtime=settings.has_realtime,
        )
        if stored not in {None, (await read_lineage(source)).system_id} and not accept:
            return Plan(readiness, migrations, (), stranger=True)
        if readiness.transport == "realtime":
            await rehearse_views(source, profile)
            statements = await plan_realtime_setup(source, profile)
        else:
            with_views = await _rehearse(source, profile, tolerant=tolerant and stored is not None)
            statements = await plan_setup(
                source,
                there,
                publication=settings.cdc_publication,
                slot=settings.cdc_slot if stored is None else None,
                with_views=with_views,
                failover=settings.cdc_slot_failover,
            )
    finally:
        await source.close()
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


async def _stored_cluster(state: AsyncConnection[Any], slot: str) -> str | None:
    """Give the system identifier of the stored position; None before the first set-up."""
    there = await (await state.execute("select to_regclass('cdc.position') is not null")).fetchone()
    if there is None or not there[0]:
        return None
    row = await (await state.execute("select system_id from cdc.position where slot = %s", [slot])).fetchone()
    return None if row is None else str(row[0])


async def _rehearse(source: AsyncConnection[Any], profile: Profile, *, tolerant: bool) -> bool:
    """Rehearse the views. Returns False if they can't be made because the database has changed under them."""
    try:
        await rehearse_views(source, profile)
    except ProfileError as error:
        if not (tolerant and await views_were_lost(source, profile)):
            raise
        log.warning("views_not_made", error=error.message, fix=error.fix)
        return False
    return True


async def apply_plan(source: AsyncConnection[Any], state_dsn: str, plan: Plan) -> None:
    """Carry a plan out. What another process has done meanwhile is not done twice."""
    if plan.migrations:
        await migrate(state_dsn)
    await run_setup(source, plan.statements)
