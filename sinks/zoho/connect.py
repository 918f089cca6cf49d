"""Puts the Zoho sinks together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from sinks.base import BulkSink, Sink
from sinks.scan import Scannable
from sinks.tokens import TokenStore
from sinks.zoho.auth import Authenticator
from sinks.zoho.bulk import BulkWrite
from sinks.zoho.client import CreditBook, ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.limits import EDITIONS
from sinks.zoho.module import ModuleSink
from sinks.zoho.notes import NotesSink
from sinks.zoho.organisation import Organisation as Organisation
from sinks.zoho.organisation import who_am_i as who_am_i
from sinks.zoho.scanning import ModuleScanner
from sinks.zoho.tasks import TasksSink
from sinks.zoho.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec:
    """What a feed says of its sink.

    Attributes:
        sink: name of the sink, such as `zoho.contacts`.
        external_id: name or label of the field that holds our record id; None where the module can't have one.
        mandatory: columns that go into every operation.
    """

    sink: str
    external_id: str | None = None
    mandatory: tuple[str, ...] = ()


@asynccontextmanager
async def open_client(config: ZohoConfig, tokens: TokenStore, book: CreditBook) -> AsyncIterator[ZohoClient]:
    """Open a client for an account, and close its connections at the end of the block.

    Nothing is sent until the first call.
    """
    connections = (config.concurrency or EDITIONS[config.edition].concurrency) + 1  # one for the OAuth server
    async with Transport(timeout=config.timeout, connections=connections) as transport:
        yield ZohoClient(config, Authenticator(config, tokens, transport), transport, book)


def _contacts(client: ZohoClient, spec: SinkSpec) -> Sink:
    return ContactsSink(client, external_id=spec.external_id or "", mandatory=spec.mandatory)


def _tasks(client: ZohoClient, spec: SinkSpec) -> Sink:
    return TasksSink(client, external_id=spec.external_id or "", mandatory=spec.mandatory)


def _notes(client: ZohoClient, spec: SinkSpec) -> Sink:
    return NotesSink(client, mandatory=spec.mandatory)


_SINKS: Mapping[str, Callable[[ZohoClient, SinkSpec], Sink]] = MappingProxyType(
    {ContactsSink.name: _contacts, TasksSink.name: _tasks, NotesSink.name: _notes}
)

MODULES: Mapping[str, str] = MappingProxyType({s.name: s.module for s in (ContactsSink, TasksSink, NotesSink)})
"""The CRM module of each sink."""

BULK_SINKS = frozenset(s.name for s in (ContactsSink, TasksSink, NotesSink) if s.bulk)
"""Sinks whose records may also go by Bulk Write."""


def check_spec(spec: SinkSpec) -> None:
    """Check what can be checked without an account.

    Raises:
        ValueError: for a sink that isn't one of Zoho's, or lacks its external id.
    """
    if spec.sink not in _SINKS:
        raise ValueError(f"no sink {spec.sink}; there are {', '.join(sorted(_SINKS))}")
    if spec.external_id is None and spec.sink != NotesSink.name:
        raise ValueError(f"{spec.sink} needs external_id: the unique field that holds our identity of a record")


def build_sinks(client: ZohoClient, specs: Mapping[str, SinkSpec]) -> dict[str, Sink]:
    """Make a sink for each feed.

    Args:
        client: one organisation.
        specs: by feed name.

    Returns:
        Sinks by feed name; each feed has its own, since names are mapped for one view's columns.

    Raises:
        ValueError: as `check_spec`.
    """
    for spec in specs.values():
        check_spec(spec)
    return {feed: _SINKS[spec.sink](client, spec) for feed, spec in specs.items()}


def bulk_sinks(client: ZohoClient, sinks: Mapping[str, Sink]) -> dict[str, BulkSink]:
    """Give the feeds whose sink also takes bulk jobs, each with what makes them."""
    return {feed: BulkWrite(client, sink) for feed, sink in sinks.items() if isinstance(sink, ModuleSink) and sink.bulk}


def scanners(client: ZohoClient, sinks: Mapping[str, Sink]) -> dict[str, Scannable]:
    """Give what reads the modules that COQL can be asked about, by feed: those with a field for our identity."""
    return {
        feed: ModuleScanner(client, sink)
        for feed, sink in sinks.items()
        if isinstance(sink, ModuleSink) and sink.has_identity
    }
