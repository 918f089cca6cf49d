"""OAuth tokens in `cdc.zoho_tokens`: encrypted, and shared by all workers.

Who refreshes holds an advisory lock of its transaction for as long as the OAuth server takes to answer. Such a lock
works through a transaction pooler as well, and goes by itself when the holder dies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.state.database import Pool
from cdc.state.envelope import Keyring, Place
from sinks.tokens import LockedTokens, TokenRecord

_TABLE: Final = "cdc.zoho_tokens"

LOCK_TOKENS: LiteralString = "select pg_advisory_xact_lock(hashtextextended('cdc.zoho_tokens:' || %s, 0))"
"""Keeps everybody else from the tokens of an account until the end of the transaction."""

_LOAD: LiteralString = """
select refresh_token, access_token, supersedes, api_domain, expires_at, minted_at, client_id, data_center
from cdc.zoho_tokens where id = %s
"""

_SAVE: LiteralString = """
insert into cdc.zoho_tokens as t
    (id, refresh_token, access_token, supersedes, api_domain, expires_at, minted_at, client_id, data_center)
values (%(id)s, %(refresh_token)s, %(access_token)s, %(supersedes)s, %(api_domain)s, %(expires_at)s, %(minted_at)s,
        %(client_id)s, %(data_center)s)
on conflict (id) do update set
    refresh_token = excluded.refresh_token, access_token = excluded.access_token, supersedes = excluded.supersedes,
    api_domain = excluded.api_domain, expires_at = excluded.expires_at, minted_at = excluded.minted_at,
    client_id = excluded.client_id, data_center = excluded.data_center, updated_at = now()
"""


class StoredTokens:
    """A `sinks.tokens.TokenStore` over a table.

    Args:
        pool: of the state database.
        keyring: seals the tokens.
        account: names the row, for several accounts in one database.
    """

    def __init__(self, pool: Pool, keyring: Keyring, *, account: str = "zoho") -> None:
        self._pool = pool
        self._keyring = keyring
        self._account = account

    async def load(self) -> TokenRecord | None:
        """See `sinks.tokens.TokenStore`.

        Raises:
            ConfigError: the row was encrypted with a key that we don't have.
            StateError: the row was tampered with.
        """
        async with self._pool.connection() as conn:
            return await self._load(conn)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[LockedTokens]:
        """See `sinks.tokens.TokenStore`. Takes one connection of the pool for the length of the block."""
        async with self._pool.connection() as conn, conn.transaction():
            await conn.execute(LOCK_TOKENS, [self._account])
            yield _Locked(self, conn)

    async def _load(self, conn: AsyncConnection[Any]) -> TokenRecord | None:
        row = await (await conn.execute(_LOAD, [self._account])).fetchone()
        if row is None:
            return None
        refresh, access, supersedes, api_domain, expires_at, minted_at, client_id, data_center = row
        return TokenRecord(
            refresh_token=self._keyring.open(refresh, self._place("refresh_token")),
            access_token=self._open(access, "access_token"),
            api_domain=api_domain,
            expires_at=None if expires_at is None else expires_at.astimezone(UTC),
            minted_at=tuple(t.astimezone(UTC) for t in minted_at),
            client_id=client_id,
            data_center=data_center,
            supersedes=self._open(supersedes, "supersedes"),
        )

    async def _save(self, conn: AsyncConnection[Any], record: TokenRecord) -> None:
        await conn.execute(
            _SAVE,
            {
                "id": self._account,
                "refresh_token": self._seal(record.refresh_token, "refresh_token"),
                "access_token": self._seal(record.access_token, "access_token"),
                "supersedes": self._seal(record.supersedes, "supersedes"),
                "api_domain": record.api_domain,
                "expires_at": record.expires_at,
                "minted_at": list(record.minted_at),
                "client_id": record.client_id,
                "data_center": record.data_center,
            },
        )

    def _open(self, envelope: str | None, column: str) -> str | None:
        return None if envelope is None else self._keyring.open(envelope, self._place(column))

    def _seal(self, plain: str | None, column: str) -> str | None:
        return None if plain is None else self._keyring.seal(plain, self._place(column))

    def _place(self, column: str) -> Place:
        return Place(_TABLE, self._account, column)


class _Locked:
    """The row, while its lock is held."""

    def __init__(self, store: StoredTokens, conn: AsyncConnection[Any]) -> None:
        self._store = store
        self._conn = conn

    async def load(self) -> TokenRecord | None:
        return await self._store._load(self._conn)  # noqa: SLF001  # the other half of the same class

    async def save(self, record: TokenRecord) -> None:
        await self._store._save(self._conn, record)  # noqa: SLF001
