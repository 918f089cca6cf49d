"""A capture in a process of its own, to be killed. Its arguments are those of `main`."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

from cdc.routing.feeds import load_profile
from cdc.source.capture import Capture
from tests.support.capture import Source
from tests.support.postgres import Database


async def main(dsn: str, folder: str, name: str, transport: str, group_changes: str) -> None:
    """Capture until SIGTERM, then say how much memory it took at most."""
    source = Source(Database(name, dsn), load_profile(folder), name)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = source.config("stream" if transport == "stream" else "poll", group_changes=int(group_changes))
    await Capture(config).run(stop)
    unit = 1024 if sys.platform == "linux" else 1024 * 1024  # of ru_maxrss
    print(json.dumps({"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}), flush=True)


def command(source: Source, folder: Path, transport: str, group_changes: int) -> list[str]:
    """The command line of such a process."""
    module = [sys.executable, "-m", "tests.support.capture_process"]
    return [*module, source.database.dsn, str(folder), source.name, transport, str(group_changes)]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
