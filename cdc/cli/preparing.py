"""The steps of `cdc init` that touch something: looked up first, and carried out once a person has agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from psycopg import errors

from cdc.cli.signing import SignedIn, whose
from cdc.connection import connect
from cdc.errors import CdcError
from cdc.routing.feeds import Profile
from cdc.runtime.environment import configured_account, prepare
from cdc.runtime.fields import create_missing_fields, fields_to_make
from cdc.runtime.preparation import Plan, apply_plan, make_plan
from cdc.runtime.signin import store_sign_in
from cdc.settings import Settings
from cdc.state.database import open_pool
from cdc.state.envelope import Keyring
from cdc.state.secrets import check_keys
from cdc.state.tokens import StoredTokens
from sinks.tokens import TokenRecord
from sinks.zoho.auth import MemoryTokens, choose_tokens
from sinks.zoho.client import NoBook, ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.connect import open_client


def keyring_of(settings: Settings) -> Keyring:
    """Give the keys that are set. Settings with a database have one."""
    key = settings.cdc_encryption_key
    return Keyring.parse(key.get_secret_value() if key else "")


def source_of(settings: Settings) -> str:
    """Give the source's DSN."""
    return settings.database_url.get_secret_value() if settings.database_url else ""


def state_of(settings: Settings) -> str:
    """Give the state's DSN."""
    return settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else source_of(settings)


async def check_state(settings: Settings) -> None:
    """See that what is stored can be decrypted.

    Raises:
        KeyMissing: if not.
    """
    conn = await connect(state_of(settings), purpose="init")
    try:
        await check_keys(conn, keyring_of(settings))
    finally:
        await conn.close()


async def plan_for(settings: Settings, profile: Profile) -> Plan:
    """Check the database against the profile, and list what is missing.

    Raises:
        ConfigError: if something isn't as it must be.
    """
    plan = await make_plan(source_of(settings), state_of(settings), settings, profile)
    if plan.stranger:
        raise CdcError(
            "this is another database than the one that was followed before",
            fix="check the address; if it is the right one, start `cdc run` and decide with `cdc slot repair`",
        )
    return plan


async def existing_sign_in(settings: Settings) -> TokenRecord | None:
    """Find a sign-in that is there already: stored, or configured as a refresh token."""
    account = configured_account(settings)
    stored = None
    try:
        async with open_pool(state_of(settings), purpose="init", size=1) as pool:
            stored = await StoredTokens(pool, keyring_of(settings)).load()
    except (errors.UndefinedTable, errors.UndefinedColumn):
        pass  # nobody can have signed in before there are tables
    return choose_tokens(account, stored)


async def try_sign_in(settings: Settings, record: TokenRecord) -> SignedIn:
    """See whose CRM an existing sign-in opens.

    Raises:
        ConfigError: if none.
    """
    account = configured_account(settings)
    zoho = account.moved_to(record.data_center) if record.data_center else account
    return SignedIn(zoho, record, await whose(zoho, record), ())


async def missing_in_crm(signed_in: SignedIn, profile: Profile) -> list[str]:
    """List the fields that the profile needs and the CRM lacks."""
    async with _client(signed_in.zoho, signed_in.record) as client:
        return await fields_to_make(client, profile)


@asynccontextmanager
async def _client(zoho: ZohoConfig, record: TokenRecord) -> AsyncIterator[ZohoClient]:
    account = replace(zoho, refresh_token=record.refresh_token)
    async with open_client(account, MemoryTokens(record), NoBook()) as client:
        yield client


async def carry_out(settings: Settings, plan: Plan) -> None:
    """Run the SQL of a plan."""
    conn = await connect(source_of(settings), purpose="setup")
    try:
        await apply_plan(conn, state_of(settings), plan)
    finally:
        await conn.close()


async def keep_sign_in(settings: Settings, signed_in: SignedIn) -> None:
    """Store a new sign-in, encrypted."""
    configured = settings.zoho_refresh_token.get_secret_value() if settings.zoho_refresh_token else ""
    await store_sign_in(state_of(settings), keyring_of(settings), signed_in.record, configured=configured)


async def make_fields(settings: Settings, profile: Profile) -> list[str]:
    """Make the fields that are missing; gives a line for each."""
    async with prepare(settings, profile) as environment:
        return await create_missing_fields(environment, profile)
