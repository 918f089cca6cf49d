"""Puts the dashboard together for `cdc run`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from starlette.routing import BaseRoute

from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.runtime.environment import sink_specs
from cdc.runtime.jobs import plans
from cdc.settings import Settings
from sinks.base import Readable
from sinks.zoho.connect import build_sinks

if TYPE_CHECKING:
    from cdc.web.sharing import StatusFeed


@asynccontextmanager
async def dashboard_routes(
    settings: Settings, profile: Profile, connections: Connections, status: StatusFeed
) -> AsyncIterator[list[BaseRoute]]:
    """Make the pages, for the length of the block; then what goes on behind them is ended."""
    from cdc.web.dashboard.dashboard import Dashboard  # only here, so that no other command pays for it
    from cdc.web.dashboard.ground import Ground

    sinks = build_sinks(connections.client, sink_specs(profile))
    ground = Ground(
        status=status,
        source=connections.source,
        state=connections.state,
        profile=profile,
        slot=settings.cdc_slot,
        hash_key=connections.hash_key,
        plans=plans(settings),
        runbook=settings.cdc_runbook_url,
        readers={feed: cast("Readable", sink) for feed, sink in sinks.items()},
    )
    dashboard = Dashboard(ground)
    try:
        yield dashboard.routes()
    finally:
        await dashboard.close()
