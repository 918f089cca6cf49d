"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from cdc.errors import ConfigError
from tests.support.postgres import Database, choose_provider, fresh_database, serve

# How long one example takes says something about the machine and nothing about the claim.
settings.register_profile("optio-cdc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("optio-cdc")

Connect = Callable[..., Awaitable[psycopg.AsyncConnection[Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Choose once, so that the workers of xdist, which inherit the environment, don't ask Docker again."""
    if hasattr(config, "workerinput"):
        return
    try:
        os.environ["CDC_TEST_POSTGRES"] = choose_provider()
    except ConfigError:
        os.environ.pop("CDC_TEST_POSTGRES", None)  # the tests that need it fail with the reason


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of every fault and workload; its own if left out")


def pytest_report_header(config: pytest.Config) -> list[str]:
    header = [f"postgres: {os.environ.get('CDC_TEST_POSTGRES', 'none; tests that need it will fail')}"]
    if config.getoption("markexpr") == "not long":
        header.append("tests marked long: not in this run; `make chaos` has them")
    return header


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failure how to play it again."""
    report = yield
    seed = getattr(item, "funcargs", {}).get("seed")
    if report.failed and seed is not None:
        report.sections.append(("seed", f"{seed}: run this test again with --seed {seed}"))
    return report


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What all chance in a test comes from: `--seed`, else a number of the test's own that is always the same."""
    given = request.config.getoption("seed")
    return zlib.crc32(request.node.nodeid.encode()) % 100_000 if given is None else int(given)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Leave logging as it was, so that no test writes to the stream of another one, which is closed."""
    before = structlog.get_config()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A server with wal_level=logical, one for each worker: its superuser's connection string."""
    with serve(choose_provider()) as dsn:
        yield dsn


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    """A fresh database, dropped afterwards with its slots and everybody in it."""
    with fresh_database(postgres_dsn) as made:
        yield made


@pytest.fixture
async def connect(database: Database) -> AsyncIterator[Connect]:
    """Open async autocommit connections to `database`; they are closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def open_one(**kwargs: Any) -> psycopg.AsyncConnection[Any]:
            options = {"autocommit": True, **kwargs}
            connection = await psycopg.AsyncConnection.connect(database.dsn, **options)
            return await stack.enter_async_context(connection)

        yield open_one
