"""What commands share: settings, profile, log, signals."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.cli.stopping import StopLimit
from cdc.connection import connect, parse_dsn
from cdc.errors import ConfigError, SourceUnavailable, StateError
from cdc.logging import LEVELS, configure_logging
from cdc.routing.feeds import Profile, load_profile
from cdc.settings import Settings, load_settings, unknown_variables
from cdc.state.envelope import Keyring
from cdc.state.secrets import read_hash_key
from cdc.waiting import unless

T = TypeVar("T")

EXIT_ERROR = 1
EXIT_REFUSED = 2
EXIT_DEGRADED = 3
EXIT_INTERRUPTED = 130

EXIT_CODES = MappingProxyType(
    {
        0: "Fine.",
        EXIT_ERROR: "An error: the database or the CRM failed, or could not be reached.",
        EXIT_REFUSED: "A setting, an option, the database or the profile isn't as it must be. Nothing was changed.",
        EXIT_DEGRADED: "Done, but something is parked, paused or out of step, so that a person should look.",
        EXIT_INTERRUPTED: "Cut off before all in flight had ended: by a second signal, or since it took too long.",
    }
)
"""What an exit code means."""

log = structlog.get_logger()


def begin() -> tuple[Settings, Profile]:
    """Read settings and profile, set the log up, and warn of variables that nothing reads.

    Raises:
        ConfigError: if a setting or the profile isn't as it must be; nothing has been connected to yet.
    """
    settings = begin_with_settings()
    for dsn in (settings.database_url, settings.cdc_state_dsn):
        if dsn is not None:
            parse_dsn(dsn.get_secret_value())
    if settings.cdc_encryption_key is not None:
        Keyring.parse(settings.cdc_encryption_key.get_secret_value())
    return settings, load_profile(settings.cdc_profile)


def begin_with_settings() -> Settings:
    """Read the settings only, for a command that must work however wrong the rest is."""
    settings = load_settings()
    configure_logging(settings.cdc_log, level=LEVELS[settings.cdc_log_level])
    for warning in unknown_variables():
        log.warning("unknown_setting", warning=warning)
    return settings


def run_until_signalled(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, int]], *, drain_seconds: float | None = None
) -> NoReturn:
    """Run a command's coroutine and exit with what it returns.

    The first SIGINT or SIGTERM sets the event that it is given, so that it drains. The second one cuts it off.

    Args:
        work: the command.
        drain_seconds: how long it may drain; a few seconds later it is cut off. None: it takes the time that it needs.
    """
    limit = None if drain_seconds is None else StopLimit(drain_seconds, EXIT_INTERRUPTED)
    try:
        code = asyncio.run(_with_signals(work, limit))
    except asyncio.CancelledError:
        code = EXIT_INTERRUPTED
    sys.exit(code)


def run_unless_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    """Run what only looks on; Ctrl-C ends it, and gives None."""

    async def main() -> T | None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        return await unless(stop, work)

    return asyncio.run(main())


async def _with_signals(work: Callable[[asyncio.Event], Coroutine[Any, Any, int]], limit: StopLimit | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = loop.create_task(work(stop))

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        elif limit is not None:
            limit.begin(task)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await task


def configured_source(settings: Settings) -> str:
    """Give the source's DSN to commands that need a database that is there already.

    Raises:
        ConfigError: if there is none.
    """
    if settings.database_url is None:
        raise ConfigError(
            "DATABASE_URL is not set",
            fix="set it to the database that `cdc run` works on; the embedded one lives only as long as its run",
        )
    return settings.database_url.get_secret_value()


async def ledger_key(settings: Settings, state: AsyncConnection[Any]) -> bytes:
    """Give the key of the ledger's hashes. Settings with a database always have one to decrypt it with.

    Raises:
        KeyMissing: if it is encrypted with another key.
    """
    key = settings.cdc_encryption_key
    return await read_hash_key(state, Keyring.parse(key.get_secret_value() if key else ""))


def who() -> str:
    """Name the account and the machine that decide something."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


@asynccontextmanager
async def open_databases(settings: Settings) -> AsyncIterator[tuple[AsyncConnection[Any], AsyncConnection[Any]]]:
    """Connect to source and state, for the length of the block.

    Raises:
        StateError: if the cdc schema hasn't been made.
        SourceUnavailable: if a connection is lost meanwhile.
    """
    source_dsn = configured_source(settings)
    state_dsn = settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else source_dsn
    source = await connect(source_dsn, purpose="cli")
    try:
        state = await connect(state_dsn, purpose="cli")
        try:
            yield source, state
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            raise StateError(
                "the cdc schema or its views are not there, or older than this program", fix="run `cdc setup`"
            ) from None
        except psycopg.OperationalError as error:
            raise SourceUnavailable(
                f"the connection to the database was lost: {type(error).__name__}", fix="run the command again"
            ) from None
        finally:
            await state.close()
    finally:
        await source.close()
