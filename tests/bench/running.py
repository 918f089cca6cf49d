"""The whole pipeline on a backlog's server, with a simulator in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from cdc.runtime.connections import open_connections
from cdc.runtime.environment import Environment
from cdc.runtime.pipeline import Pipeline
from cdc.settings import load_settings
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import start_simulator
from sinks.zoho.config import ZohoConfig
from tests.bench.backlog import BASE_SLOT, PROFILE, PUBLICATION, Backlog

KEY = "0" * 64


@dataclass(frozen=True, slots=True)
class Running:
    """A pipeline that has delivered its backfill, and the simulator's call log."""

    pipeline: Pipeline
    http: httpx.AsyncClient
    url: str

    async def calls(self) -> list[dict[str, Any]]:
        """What the CRM was asked so far."""
        calls: list[dict[str, Any]] = (await self.http.get(f"{self.url}/_sim/calls")).json()
        return calls


@asynccontextmanager
async def running_pipeline(backlog: Backlog, **settings: object) -> AsyncIterator[Running]:
    """Run it for the length of the block, from the moment when everybody is in the CRM."""
    async with await start_simulator(SimulatorConfig(credits=1_000_000)) as simulator, httpx.AsyncClient() as http:
        zoho = ZohoConfig(
            client_id=simulator.client_id,
            client_secret=simulator.client_secret,
            refresh_token=simulator.refresh_token,
            accounts_url=simulator.url,
            api_domain=simulator.url,
        )
        environment = Environment(
            source_dsn=backlog.dsn,
            state_dsn=backlog.dsn,
            encryption_key=KEY,
            zoho=zoho,
            is_embedded=True,
            simulator_url=simulator.url,
        )
        chosen = load_settings(
            database_url=backlog.dsn,
            cdc_encryption_key=KEY,
            cdc_slot=BASE_SLOT,
            cdc_publication=PUBLICATION,
            **settings,
        )
        async with open_connections(environment) as connections:
            pipeline = Pipeline(environment, chosen, PROFILE, connections, transport="stream")
            stop = asyncio.Event()
            running = asyncio.create_task(pipeline.run(stop))
            await pipeline.wait_until_idle(flush=True)
            yield Running(pipeline, http, simulator.url)
            stop.set()
            await running
