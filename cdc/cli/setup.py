"""`cdc setup`: make what is missing in the databases and, if asked, the fields in the CRM."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cdc.cli.start import begin, configured_source
from cdc.connection import connect
from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.runtime.environment import prepare
from cdc.runtime.fields import create_missing_fields
from cdc.runtime.preparation import Plan, apply_plan, make_plan
from cdc.settings import Settings


def setup(
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Print the SQL that would run, and run nothing.")
    ] = False,
    create_fields: Annotated[
        bool, typer.Option("--create-fields", help="Also make the custom fields that the profile needs in the CRM.")
    ] = False,
) -> None:
    """Make publication, replica identities, views, slot and the cdc schema. Doing it twice changes nothing."""
    settings, profile = begin()
    asyncio.run(_setup(settings, profile, print_only=print_sql, create_fields=create_fields))


async def _setup(settings: Settings, profile: Profile, *, print_only: bool, create_fields: bool) -> None:
    source = configured_source(settings)
    state = settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else source
    plan = await make_plan(source, state, settings, profile)
    _print(plan)
    if print_only:
        return
    conn = await connect(source, purpose="setup")
    try:
        await apply_plan(conn, state, plan)
    finally:
        await conn.close()
    if plan.statements or plan.migrations:
        typer.echo("-- done", err=True)
    if create_fields:
        if not settings.has_crm:
            raise ConfigError(
                "--create-fields needs a CRM", fix="set ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET, ZOHO_REFRESH_TOKEN"
            )
        async with prepare(settings, profile) as environment:
            for line in await create_missing_fields(environment, profile):
                typer.echo(line)


def _print(plan: Plan) -> None:
    for migration in plan.migrations:
        typer.echo(f"-- state schema, migration {migration.version:04d} {migration.name}\n{migration.sql.strip()}\n")
    for statement in plan.statements:
        typer.echo(f"-- {statement.why}\n{statement.sql.strip().rstrip(';')};\n")
    if not plan.statements and not plan.migrations:
        typer.echo("-- nothing to do: everything is in place", err=True)
