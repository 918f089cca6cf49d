from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from sinks.simulator import SimulatorConfig
from tests.contract.simulator.support import Crm

Start = Callable[..., Awaitable[Crm]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts simulators with settings of the test's own."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: object) -> Crm:
            return await stack.enter_async_context(Crm(SimulatorConfig(**{"search_lag": 0.0, **settings})))

        yield begin


@pytest.fixture
async def crm(start: Start) -> Crm:
    return await start()
