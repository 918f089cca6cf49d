"""The pools and clients that one process works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cdc.runtime.environment import Environment
from cdc.runtime.signin import signed_in
from cdc.state.credits import CreditLedger
from cdc.state.database import Pool, open_pool
from cdc.state.envelope import Keyring
from cdc.state.secrets import keep_hash_key
from cdc.state.tokens import StoredTokens
from cdc.watch.meters import Meters
from sinks.zoho.client import ZohoClient
from sinks.zoho.connect import open_client


@dataclass(frozen=True, slots=True)
class Connections:
    """The pools and clients of one process."""

    source: Pool
    state: Pool
    credits: CreditLedger
    client: ZohoClient
    hash_key: bytes
    meters: Meters = field(default_factory=Meters)


@asynccontextmanager
async def open_connections(environment: Environment) -> AsyncIterator[Connections]:
    """Open what delivery and repair need, for the length of the block.

    Raises:
        ConfigError: nobody has signed in to the CRM, or (KeyMissing) something stored needs another key.
    """
    keyring, meters = Keyring.parse(environment.encryption_key), Meters()
    async with (
        open_pool(environment.source_dsn, purpose="views") as source,
        open_pool(environment.state_dsn, purpose="state", size=8) as state,
    ):
        async with state.connection() as conn:
            hash_key = await keep_hash_key(conn, keyring)
        tokens = StoredTokens(state, keyring)
        zoho = signed_in(environment.zoho, await tokens.load())
        async with CreditLedger(state, on_call=meters.called) as ledger, open_client(zoho, tokens, ledger) as client:
            yield Connections(source, state, ledger, client, hash_key, meters)
