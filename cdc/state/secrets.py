"""What is kept encrypted: which key each value stands under, the ledger's own key, and changing keys.

The ledger's hashes are keyed with 32 bytes that never change: they stand in `cdc.secret`, encrypted like the tokens.
So `CDC_ENCRYPTION_KEY` can be replaced without making every record look changed. Where they don't stand there yet, they
are what has always been derived from the last key in the list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.errors import KeyMissing, StateError
from cdc.state.envelope import Keyring, Place, key_id
from cdc.state.tokens import LOCK_TOKENS

_LEDGER: Final = Place("cdc.secret", "ledger", "sealed")

_READ_LEDGER: LiteralString = "select sealed from cdc.secret where name = 'ledger'"
_KEEP_LEDGER: LiteralString = (
    "insert into cdc.secret (name, sealed) values ('ledger', %s) on conflict (name) do nothing"
)

# Columns are named through to_jsonb, so that a schema of an earlier version can be read as well.
_SEALED: LiteralString = """
select 'cdc.zoho_tokens', t.id, c.name, to_jsonb(t) ->> c.name
from cdc.zoho_tokens t cross join (values ('refresh_token'), ('access_token'), ('supersedes')) c (name)
where to_jsonb(t) ->> c.name is not null
order by t.id, c.name
"""
_SEALED_SECRETS: LiteralString = "select 'cdc.secret', name, 'sealed', sealed from cdc.secret order by name"

_RESEAL: Final[dict[tuple[str, str], LiteralString]] = {
    ("cdc.zoho_tokens", "refresh_token"): "update cdc.zoho_tokens set refresh_token = %s where id = %s",
    ("cdc.zoho_tokens", "access_token"): "update cdc.zoho_tokens set access_token = %s where id = %s",
    ("cdc.zoho_tokens", "supersedes"): "update cdc.zoho_tokens set supersedes = %s where id = %s",
    ("cdc.secret", "sealed"): "update cdc.secret set sealed = %s, updated_at = now() where name = %s",
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encrypted value.

    Attributes:
        place: where it stands.
        key: the id of the key it is encrypted with; empty if it is damaged.
    """

    place: Place
    key: str


async def envelopes(conn: AsyncConnection[Any]) -> AsyncIterator[tuple[Place, str]]:
    """Give everything that is encrypted, and where it stands. Works on a schema of any version, or on none."""
    for table, query in (("cdc.zoho_tokens", _SEALED), ("cdc.secret", _SEALED_SECRETS)):
        if not await _is_there(conn, table):
            continue
        for name, row, column, envelope in await (await conn.execute(query)).fetchall():
            yield Place(name, row, column), envelope


async def _is_there(conn: AsyncConnection[Any], table: str) -> bool:
    row = await (await conn.execute("select to_regclass(%s) is not null", [table])).fetchone()
    return bool(row and row[0])


async def sealed_values(conn: AsyncConnection[Any]) -> list[Sealed]:
    """List everything that is encrypted, with the key that it needs. Works on a schema of any version, or on none."""
    return [Sealed(place, key_id(envelope)) async for place, envelope in envelopes(conn)]


async def check_keys(conn: AsyncConnection[Any], keyring: Keyring) -> None:
    """Decrypt everything that is encrypted, and change nothing.

    Raises:
        KeyMissing: if something needs a key that we don't have; all missing ones are named.
        StateError: if something was damaged.
    """
    missing: dict[str, list[str]] = {}
    async for place, envelope in envelopes(conn):
        key = key_id(envelope)
        if key and key not in keyring.ids:
            missing.setdefault(key, []).append(f"{place.table}.{place.column}")
        else:
            keyring.open(envelope, place)
    if missing:
        what = "; ".join(f"key {key} ({', '.join(sorted(set(places)))})" for key, places in missing.items())
        raise KeyMissing(
            f"CDC_ENCRYPTION_KEY has {', '.join(keyring.ids)}, and this state was encrypted with {what}",
            fix="put the old key back, behind a comma if there is a new one, and run `cdc keys rotate` before it goes; "
            "docs/keys.md says what to do if it is lost",
        )


async def read_hash_key(conn: AsyncConnection[Any], keyring: Keyring) -> bytes:
    """Give the key of the ledger's hashes, and change nothing.

    Raises:
        KeyMissing: if it is encrypted with a key that we don't have.
        StateError: if it was damaged.
    """
    if not await _is_there(conn, _LEDGER.table):
        return keyring.derive("ledger")
    row = await (await conn.execute(_READ_LEDGER)).fetchone()
    if row is None:
        return keyring.derive("ledger")
    try:
        return base64.b64decode(keyring.open(row[0], _LEDGER), validate=True)
    except binascii.Error:
        raise StateError("cdc.secret.sealed of row ledger holds no key", fix="restore the row from a backup") from None


async def keep_hash_key(conn: AsyncConnection[Any], keyring: Keyring) -> bytes:
    """Give the key of the ledger's hashes, and write it down if that hasn't been done: from then on it stays.

    Raises:
        KeyMissing: as `check_keys`; then nothing is written.
        StateError: as `check_keys`.
    """
    await check_keys(conn, keyring)
    if await _is_there(conn, _LEDGER.table):
        plain = base64.b64encode(keyring.derive("ledger")).decode()
        await conn.execute(_KEEP_LEDGER, [keyring.seal(plain, _LEDGER)])
    return await read_hash_key(conn, keyring)  # another process may have been first


async def rotate(conn: AsyncConnection[Any], keyring: Keyring) -> list[Place]:
    """Encrypt everything with the first key, in one transaction: all of it, or nothing.

    Returns:
        What stood under another key.

    Raises:
        KeyMissing: if something needs a key that we don't have.
        StateError: if something was damaged.
    """
    async with conn.transaction():
        await conn.execute("lock table cdc.secret in share row exclusive mode")
        for (account,) in await (await conn.execute("select id from cdc.zoho_tokens order by id")).fetchall():
            await conn.execute(LOCK_TOKENS, [account])
        await keep_hash_key(conn, keyring)
        moved = []
        for place, envelope in [pair async for pair in envelopes(conn)]:
            renewed = keyring.renew(envelope, place)
            if renewed != envelope:
                await conn.execute(_RESEAL[place.table, place.column], [renewed, place.row])
                moved.append(place)
    return moved
