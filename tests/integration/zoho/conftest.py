"""A client of the simulated CRM, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sinks.base import Column
from sinks.calls import Called, Outcome
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.faults import FaultRule
from sinks.simulator.server import RunningSimulator, start_simulator
from sinks.zoho.auth import Authenticator, MemoryTokens
from sinks.zoho.client import ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.notes import NotesSink
from sinks.zoho.tasks import TasksSink
from sinks.zoho.transport import Transport


class Books:
    """Remembers what was spent."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []
        self.outcomes: list[Outcome] = []

    async def spend(self, kind: str, credits: int) -> None:
        self.entries.append((kind, credits))

    async def note(self, called: Called) -> None:
        self.outcomes.append(called.outcome)

    @property
    def total(self) -> int:
        return sum(credits for _, credits in self.entries)


@dataclass
class Crm:
    """A simulator with a client at it."""

    simulator: RunningSimulator
    config: ZohoConfig
    tokens: MemoryTokens
    transport: Transport
    client: ZohoClient
    books: Books = field(default_factory=Books)

    def break_(self, action: str, **rule: Any) -> None:
        """Arrange a fault."""
        self.simulator.simulation.faults.add(FaultRule.model_validate({"action": action, **rule}))

    def stored(self, module: str) -> list[dict[str, Any]]:
        """What the CRM holds of a module."""
        return list(self.simulator.simulation.records.tables[module].records.values())

    def calls(self, kind: str | None = None) -> list[Any]:
        """The CRM's own log."""
        return self.simulator.simulation.calls.select(kind=kind)

    async def contacts(self, *columns: Column, mandatory: tuple[str, ...] = ("Last_Name",)) -> ContactsSink:
        """A contacts sink that has had its fit."""
        sink = ContactsSink(self.client, external_id="External_ID", mandatory=mandatory)
        assert await sink.fit(columns or CONTACT_COLUMNS) == []
        return sink

    async def tasks(self) -> TasksSink:
        """A tasks sink that has had its fit."""
        sink = TasksSink(self.client, external_id="Event_ID", mandatory=("Subject",))
        assert await sink.fit(TASK_COLUMNS) == []
        return sink

    async def notes(self) -> NotesSink:
        """A notes sink that has had its fit."""
        sink = NotesSink(self.client)
        assert await sink.fit(NOTE_COLUMNS) == []
        return sink


CONTACT_COLUMNS = tuple(
    Column(name=name, type=type_)
    for name, type_ in (
        ("Last_Name", "text"),
        ("First_Name", "text"),
        ("Email", "text"),
        ("Total_XP", "bigint"),
        ("Level", "text"),
    )
)
TASK_COLUMNS = (Column(name="Subject", type="text"), Column(name="Status", type="text"))
NOTE_COLUMNS = (Column(name="Note_Title", type="text"), Column(name="Note_Content", type="text"))


@pytest.fixture
async def open_crm() -> AsyncIterator[Any]:
    """Start a simulator with settings of one's own, and a client at it."""
    async with AsyncExitStack() as stack:

        async def open_one(*, seconds: float = 5.0, **settings: Any) -> Crm:
            simulator = await stack.enter_async_context(await start_simulator(SimulatorConfig(**settings)))
            config = ZohoConfig(
                client_id=simulator.client_id,
                client_secret=simulator.client_secret,
                refresh_token=simulator.refresh_token,
                accounts_url=simulator.url,
                upload_url=simulator.url,
                timeout=seconds,
            )
            transport = await stack.enter_async_context(Transport(timeout=seconds))
            tokens, books = MemoryTokens(), Books()
            client = ZohoClient(config, Authenticator(config, tokens, transport), transport, books)
            return Crm(simulator, config, tokens, transport, client, books)

        yield open_one


@pytest.fixture
async def crm(open_crm: Any) -> Crm:
    """An ordinary simulator."""
    return await open_crm()


def other_worker(crm: Crm, **changes: Any) -> Authenticator:
    """An authenticator of another process that shares the store."""
    return Authenticator(replace(crm.config, **changes), crm.tokens, crm.transport)
