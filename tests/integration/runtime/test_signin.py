"""A sign-in reaches processes that run already, and is asked for before anything is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from cdc.errors import ConfigError
from cdc.runtime.signin import refuse_without_sign_in, signed_in, store_sign_in
from cdc.state.database import Pool, migrate, open_pool
from cdc.state.envelope import Key, Keyring
from cdc.state.tokens import StoredTokens
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.simulator.server import RunningSimulator, start_simulator
from sinks.tokens import TokenRecord
from sinks.zoho.auth import Authenticator
from sinks.zoho.config import ZohoConfig
from sinks.zoho.transport import Transport
from tests.support.postgres import Database

RING = Keyring((Key(bytes(range(32))),))


@dataclass
class Site:
    dsn: str
    pool: Pool
    crm: RunningSimulator
    transport: Transport

    def config(self, refresh_token: str = "") -> ZohoConfig:
        return ZohoConfig(
            client_id=self.crm.client_id, client_secret=self.crm.client_secret, refresh_token=refresh_token,
            accounts_url=self.crm.url,
        )  # fmt: skip

    def process(self, refresh_token: str = "") -> Authenticator:
        return Authenticator(self.config(refresh_token), StoredTokens(self.pool, RING), self.transport)

    async def sign_in(self, *, configured: str = "") -> str:
        """Store a sign-in as `cdc login zoho` does; gives its refresh token."""
        form = {
            "grant_type": "authorization_code", "code": self.crm.simulation.tokens.new_code(),
            "client_id": self.crm.client_id, "client_secret": self.crm.client_secret,
        }  # fmt: skip
        answer = await self.transport.send("POST", self.config().token_url, form=form)
        record = TokenRecord(refresh_token=answer.json["refresh_token"], client_id=self.crm.client_id, data_center="EU")
        await store_sign_in(self.dsn, RING, record, configured=configured)
        return record.refresh_token

    async def stored(self) -> TokenRecord:
        record = await StoredTokens(self.pool, RING).load()
        assert record is not None
        return record


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    await migrate(database.dsn)
    async with (
        open_pool(database.dsn, purpose="test") as pool,
        await start_simulator() as crm,
        Transport() as transport,
    ):
        yield Site(database.dsn, pool, crm, transport)


async def test_a_process_whose_token_was_revoked_goes_on_with_the_sign_in(site: Site) -> None:
    running = site.process(site.crm.refresh_token)
    before = await running.access()
    site.crm.simulation.tokens.revoke_all()
    with pytest.raises(SinkError) as refused:
        await running.renew(before)
    assert refused.value.reason is Reason.TOKEN_INVALID

    token = await site.sign_in()
    assert (await running.access()).token != before.token
    assert (await site.process().access()).token == (await site.process(site.crm.refresh_token).access()).token
    stored = await site.stored()
    assert (stored.refresh_token, stored.client_id) == (token, site.crm.client_id)


async def test_a_second_sign_in_still_replaces_what_other_processes_are_configured_with(site: Site) -> None:
    await site.process(site.crm.refresh_token).access()
    await site.sign_in()
    second = await site.sign_in()
    await site.process(site.crm.refresh_token).access()
    assert (await site.stored()).refresh_token == second


async def test_a_token_that_is_configured_later_replaces_the_sign_in(site: Site) -> None:
    await site.sign_in(configured="1000.long.ago")
    await site.process(site.crm.refresh_token).access()
    stored = await site.stored()
    assert (stored.refresh_token, stored.supersedes, stored.data_center) == (site.crm.refresh_token, None, None)


async def test_without_either_a_running_process_is_told_what_to_do_and_stores_nothing(site: Site) -> None:
    with pytest.raises(SinkError) as refused:
        await site.process().access()
    assert refused.value.reason is Reason.TOKEN_INVALID
    assert "cdc login zoho" in refused.value.reason.hint
    assert await StoredTokens(site.pool, RING).load() is None
    assert site.crm.simulation.calls.select(kind="token") == []


async def test_a_start_without_a_sign_in_is_refused_before_anything_is_changed(site: Site, database: Database) -> None:
    with pytest.raises(ConfigError, match="nobody has signed in") as early:
        await refuse_without_sign_in(site.config(), site.dsn)
    assert "cdc login zoho" in str(early.value.fix)
    await refuse_without_sign_in(site.config("1000.token"), site.dsn)
    await site.sign_in()
    await refuse_without_sign_in(site.config(), site.dsn)
    database.execute("drop schema cdc cascade")
    with pytest.raises(ConfigError) as first:
        await refuse_without_sign_in(site.config(), site.dsn)
    assert "cdc setup" in str(first.value.fix)


async def test_where_the_account_lives_is_taken_from_the_sign_in(site: Site) -> None:
    await site.sign_in()
    stored = await site.stored()
    us = replace(site.config(), accounts_url=None)
    assert (signed_in(us, stored).data_center, signed_in(us, stored).accounts) == ("EU", "https://accounts.zoho.eu")
    assert signed_in(replace(us, refresh_token="1000.newer"), stored).data_center == "US"
    with pytest.raises(ConfigError, match="another ZOHO_CLIENT_ID"):
        signed_in(replace(us, client_id="1000.OTHER"), stored)
    with pytest.raises(ConfigError, match="nobody has signed in"):
        signed_in(us, None)
