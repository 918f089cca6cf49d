"""Our own capture as an adapter: decoded, routed, durable in outbox, journal and position. Run by the project's Python.

It ends when everything is durable.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from psycopg.conninfo import make_conninfo

from cdc.logging import configure_logging
from cdc.routing.feeds import Lane, load_profile
from cdc.routing.router import build_routes
from cdc.source.capture import Capture
from cdc.source.preflight import TransportName
from cdc.source.session import CaptureConfig
from tests.bench.peers.measuring import Meter, asked


async def capture(transport: TransportName) -> None:
    """Capture as many changes as were asked for."""
    wanted = asked()
    dsn = make_conninfo(**{name: wanted[name] for name in ("host", "port", "dbname", "user")})
    stop = asyncio.Event()
    counted = 0

    def on_group() -> None:
        nonlocal counted
        new, counted = ours.stats.changes - counted, ours.stats.changes
        if meter.count(new):
            meter.report()
            stop.set()

    ours = Capture(
        CaptureConfig(
            source_dsn=dsn, state_dsn=dsn, slot=wanted["slot"], publication=wanted["publication"],
            transport=transport, routes=build_routes(load_profile("core")), lane_seconds={Lane.ROLLUP: 300},
        ),
        on_group=on_group,
    )  # fmt: skip
    meter = Meter(wanted["changes"])
    await ours.run(stop)


if __name__ == "__main__":
    configure_logging("json", level=logging.ERROR)
    asyncio.run(capture("poll" if sys.argv[2:] == ["poll"] else "stream"))
