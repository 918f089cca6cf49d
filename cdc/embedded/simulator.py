"""The Zoho simulator as a process of its own, for `cdc run` without a CRM."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from cdc.errors import CdcError

_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class SimulatorAccess:
    """How to reach a running simulator."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)


@asynccontextmanager
async def simulator_process(*, port: int = 0, options: Sequence[str] = ()) -> AsyncIterator[SimulatorAccess]:
    """Run a simulator for the length of the block; `options` are further ones of its command line.

    It stands in a session of its own, so that Ctrl-C reaches us and not it, and ends by itself when we die: it
    watches its standard input, which is a pipe that we hold.

    Raises:
        CdcError: if it doesn't come up.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sinks.simulator", "--port", str(port), "--json", "--until-eof", *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield await _access(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _access(process: asyncio.subprocess.Process) -> SimulatorAccess:
    assert process.stdout is not None  # noqa: S101 - asked for above
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        said = json.loads(line)
        return SimulatorAccess(said["url"], said["client_id"], said["client_secret"], said["refresh_token"])
    except (TimeoutError, ValueError, KeyError):
        raise CdcError("the simulator did not start", fix="run `cdc simulator` by itself to see what it says") from None
