"""`cdc setup`: make what is missing in the databases and, if asked, the fields in the CRM."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cdc.cli.start import begin, configured_source
from cdc.connection import connect
from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.runtime.environment import configured_account, prepare
from cdc.runtime.fields import create_missing_fields
from cdc.runtime.preparation import Plan, apply_plan, make_plan
from cdc.runtime.signin import refuse_without_sign_in
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
    if create_fields and not settings.has_crm:
        raise ConfigError(
            "--create-fields needs a CRM", fix="set ZOHO_CLIENT_ID and ZOHO_CLIENT_SECRET, and run `cdc login zoho`"
        )
    if create_fields:
        await refuse_without_sign_in(configured_account(settings), state)
    plan = await make_plan(source, state, settings, profile)
    if plan.stranger:
        raise ConfigError(
            "the database is another cluster than before, so nothing is set up there",
            fix="check DATABASE_URL; if it is the right one, start `cdc run` and decide with `cdc slot repair`",
        )
    for note in plan.readiness.notes:
        typer.echo(f"-- note: {note}", err=True)
    _print(plan, with_state=state == source)
    if print_only:
        return
    if not plan.is_empty:
        conn = await connect(source, purpose="setup")
        try:
            await apply_plan(conn, state, plan)
        finally:
            await conn.close()
        typer.echo("-- done", err=True)
    if create_fields:
        async with prepare(settings, profile) as environment:
            made = await create_missing_fields(environment, profile)
        for line in made:
            typer.echo(f"-- {line}")
        if not made:
            typer.echo("-- every field is in the CRM", err=True)


def _print(plan: Plan, *, with_state: bool) -> None:
    """Print what can be given to psql on the source; SQL for another database would only go astray there."""
    if plan.is_empty:
        typer.echo("-- nothing to do: everything is in place", err=True)
        return
    if plan.migrations and with_state:
        typer.echo(f"-- the state schema\n{plan.state_script()}")
    elif plan.migrations:
        typer.echo("-- the state schema goes into the database of CDC_STATE_DSN; `cdc setup` makes it", err=True)
    if plan.statements:
        typer.echo(plan.source_script())
