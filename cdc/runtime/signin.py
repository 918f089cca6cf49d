"""Who is signed in to the CRM: checked before anything is changed, and written down when somebody does it."""

from __future__ import annotations

from dataclasses import replace

from cdc.connection import connect
from cdc.errors import ConfigError, StateError
from cdc.state.database import open_pool, pending_migrations
from cdc.state.envelope import Keyring
from cdc.state.secrets import keep_hash_key
from cdc.state.tokens import StoredTokens
from sinks.tokens import TokenRecord
from sinks.zoho.auth import choose_tokens
from sinks.zoho.config import ZohoConfig, center_named

_NOBODY = "ZOHO_CLIENT_ID is set, and nobody has signed in to Zoho with it"
_FIX = "run `cdc login zoho`, or set ZOHO_REFRESH_TOKEN"


def signed_in(zoho: ZohoConfig, stored: TokenRecord | None) -> ZohoConfig:
    """Give the account with the data centre that a sign-in found, which is a fact and no preference.

    Raises:
        ConfigError: if no refresh token is configured and none that fits is stored.
    """
    chosen = choose_tokens(zoho, stored)
    if chosen is None and stored is not None:
        raise ConfigError("the stored sign-in to Zoho was made with another ZOHO_CLIENT_ID", fix=_FIX)
    if chosen is None:
        raise ConfigError(_NOBODY, fix=_FIX)
    found = center_named(chosen.data_center or "")
    return zoho if found is None else zoho.moved_to(found)


async def refuse_without_sign_in(zoho: ZohoConfig, state_dsn: str) -> None:
    """Refuse to begin where it is plain that nobody can have signed in; changes nothing.

    Raises:
        ConfigError: naming the command that does it.
    """
    if zoho.refresh_token:
        return
    conn = await connect(state_dsn, purpose="setup")
    try:
        row = await (await conn.execute("select to_regclass('cdc.zoho_tokens') is not null")).fetchone()
        if row is None or not row[0]:
            raise ConfigError(_NOBODY, fix=f"run `cdc setup`, then {_FIX}")
        row = await (await conn.execute("select exists (select from cdc.zoho_tokens where id = 'zoho')")).fetchone()
        if row is None or not row[0]:
            raise ConfigError(_NOBODY, fix=_FIX)
    finally:
        await conn.close()


async def require_state(state_dsn: str, keyring: Keyring) -> None:
    """Make sure that a sign-in could be stored, before anybody is asked for one.

    Raises:
        StateError: if the tables aren't there.
        KeyMissing: if what is stored already needs another key.
    """
    conn = await connect(state_dsn, purpose="login")
    try:
        if await pending_migrations(conn):
            raise StateError("the cdc schema is not there, or older than this program", fix="run `cdc setup`")
        await keep_hash_key(conn, keyring)
    finally:
        await conn.close()


async def store_sign_in(state_dsn: str, keyring: Keyring, record: TokenRecord, *, configured: str) -> None:
    """Write a sign-in down, in place of whatever was there.

    Args:
        state_dsn: the database with the cdc tables.
        keyring: encrypts it.
        record: the tokens, with client and data centre.
        configured: ZOHO_REFRESH_TOKEN as it is set here, if it is. A process that still has it takes the new one.

    Raises:
        KeyMissing: if what is stored needs another key.
    """
    async with open_pool(state_dsn, purpose="login", size=1) as pool:
        async with pool.connection() as conn:
            await keep_hash_key(conn, keyring)
        async with StoredTokens(pool, keyring).locked() as slot:
            before = await slot.load()
            old = configured or (None if before is None else before.supersedes or before.refresh_token)
            await slot.save(replace(record, supersedes=None if old == record.refresh_token else old))
