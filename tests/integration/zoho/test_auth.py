"""Tokens over real HTTP: shared by workers, renewed in time, never asked for too often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.auth import MINTS, Authenticator, MemoryTokens
from sinks.zoho.connect import who_am_i
from tests.integration.zoho.conftest import Crm, other_worker


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **units: float) -> None:
        self.now += timedelta(**units)


def mints(crm: Crm) -> int:
    return len(crm.calls("token"))


async def test_many_calls_and_many_workers_make_one_token(crm: Crm) -> None:
    workers = [other_worker(crm) for _ in range(5)]
    accesses = await asyncio.gather(*(w.access() for w in workers for _ in range(10)))
    assert len({a.token for a in accesses}) == 1
    assert mints(crm) == 1


async def test_the_token_is_renewed_at_four_fifths_of_its_life(crm: Crm) -> None:
    clock = Clock()
    auth = Authenticator(crm.config, crm.tokens, crm.transport, clock=clock)
    first = await auth.access()
    clock.forward(seconds=2879)
    assert await auth.access() == first
    clock.forward(seconds=2)
    assert await auth.access() != first
    assert mints(crm) == 2


async def test_while_the_oauth_server_is_down_the_old_token_serves_out_its_life(crm: Crm) -> None:
    clock = Clock()
    auth = Authenticator(crm.config, crm.tokens, crm.transport, clock=clock)
    first = await auth.access()
    crm.break_("html_502", path="/oauth/*")
    clock.forward(seconds=3000)
    assert await auth.access() == first
    clock.forward(seconds=601)
    with pytest.raises(SinkError) as error:
        await auth.access()
    assert error.value.reason is Reason.UNAVAILABLE


async def test_a_token_that_died_early_is_renewed_once_for_all_calls(crm: Crm) -> None:
    await who_am_i(crm.client)
    crm.simulator.simulation.tokens.invalidate_access_tokens()
    await asyncio.gather(*(who_am_i(crm.client) for _ in range(8)))
    assert mints(crm) == 2


async def test_a_worker_takes_the_token_that_another_has_renewed(crm: Crm) -> None:
    one, two = other_worker(crm), other_worker(crm)
    old = await one.access()
    assert await two.access() == old
    new = await one.renew(old)
    assert await two.renew(old) == new
    assert mints(crm) == 2


async def test_a_call_that_is_refused_twice_gives_up(crm: Crm) -> None:
    crm.break_("status", kind="org", status=401, body={"code": "INVALID_TOKEN", "status": "error", "message": "no"})
    crm.break_("status", path="/crm/*", status=401, body={"code": "INVALID_TOKEN", "status": "error", "message": "no"})
    with pytest.raises(SinkError) as error:
        await who_am_i(crm.client)
    assert (error.value.reason, error.value.maybe_applied) == (Reason.TOKEN_INVALID, False)
    assert mints(crm) == 2


async def test_a_missing_scope_renews_nothing(crm: Crm) -> None:
    crm.break_("wrong_scope", path="/crm/*")
    with pytest.raises(SinkError) as error:
        await who_am_i(crm.client)
    assert error.value.reason is Reason.SCOPE_MISSING
    assert mints(crm) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"refresh_token": "1000.revoked"}, Reason.TOKEN_INVALID),
        ({"client_id": "1000.NOBODY"}, Reason.CLIENT_INVALID),
        ({"client_secret": "wrong"}, Reason.CLIENT_INVALID),
    ],
)
async def test_what_the_oauth_server_refuses_with_200_has_its_reason(
    crm: Crm, change: dict[str, str], reason: Reason
) -> None:
    with pytest.raises(SinkError) as error:
        await other_worker(crm, **change).access()
    assert error.value.reason is reason
    assert not any(value in str(error.value) for value in change.values())


async def test_no_more_than_eight_tokens_in_ten_minutes_over_all_workers(crm: Crm) -> None:
    clock = Clock()

    def worker() -> Authenticator:
        return Authenticator(crm.config, crm.tokens, crm.transport, clock=clock)

    access = await worker().access()
    for _ in range(1, MINTS):
        clock.forward(seconds=10)
        access = await worker().renew(access)
    clock.forward(seconds=10)
    with pytest.raises(SinkError) as error:
        await worker().renew(access)
    assert error.value.reason is Reason.TOKEN_THROTTLED
    assert error.value.retry_after == 600 - 10 * MINTS
    assert mints(crm) == MINTS
    clock.forward(seconds=error.value.retry_after)
    assert await worker().access() != access


async def test_a_program_in_a_restart_loop_makes_no_tokens(crm: Crm) -> None:
    for _ in range(30):
        await other_worker(crm).access()
    assert mints(crm) == 1


async def test_the_servers_throttle_silences_all_workers(open_crm: Any) -> None:
    crm = await open_crm(mints_in_ten_minutes=1)
    access = await other_worker(crm).access()
    for _ in range(3):
        with pytest.raises(SinkError) as error:
            await other_worker(crm).renew(access)
        assert error.value.reason is Reason.TOKEN_THROTTLED
    assert mints(crm) == 2


async def test_a_replaced_refresh_token_drops_what_was_cached(crm: Crm) -> None:
    await other_worker(crm).access()
    tokens = crm.simulator.simulation.tokens
    answer = tokens.token(
        {
            "grant_type": "authorization_code",
            "code": tokens.new_code(),
            "client_id": crm.config.client_id,
            "client_secret": crm.config.client_secret,
        }
    )
    replaced = answer.body["refresh_token"]
    fresh = await other_worker(crm, refresh_token=replaced).access()
    assert crm.tokens.record is not None
    assert (crm.tokens.record.refresh_token, crm.tokens.record.access_token) == (replaced, fresh.token)


async def test_an_unreachable_oauth_server_is_unavailable_and_costs_no_attempt(crm: Crm) -> None:
    closed = replace(crm.config, accounts_url="http://127.0.0.1:1")
    store = MemoryTokens()
    with pytest.raises(SinkError) as error:
        await Authenticator(closed, store, crm.transport).access()
    assert error.value.reason is Reason.UNAVAILABLE
    assert store.record is not None
    assert store.record.minted_at == ()
