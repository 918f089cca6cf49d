"""What a comparison works with: databases, a client whose spending is metered, and a scanner for each feed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection

from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections
from cdc.runtime.environment import Environment, sink_specs
from cdc.runtime.signin import signed_in
from cdc.settings import Settings
from cdc.source.views import views_hash
from cdc.state.envelope import Keyring
from cdc.state.tokens import StoredTokens
from cdc.state.truth import view_identifier
from sinks.calls import Called
from sinks.scan import Scannable
from sinks.zoho.client import CreditBook
from sinks.zoho.connect import build_sinks, open_client, scanners
from sinks.zoho.limits import daily_credits


class Meter:
    """A book that also tells what one comparison spends, by what it was doing.

    Attributes:
        doing: what calls are for now.
        spent: credits by that.
    """

    def __init__(self, book: CreditBook) -> None:
        self._book = book
        self.doing = "other"
        self.spent: Counter[str] = Counter()

    async def spend(self, kind: str, credits: int) -> None:
        """See `sinks.zoho.client.CreditBook`."""
        self.spent[self.doing] += credits
        await self._book.spend(kind, credits)

    async def note(self, called: Called) -> None:
        """See `sinks.zoho.client.CreditBook`."""
        await self._book.note(called)


@dataclass(frozen=True, slots=True)
class Site:
    """What a comparison works with.

    Attributes:
        scanners: by feed; feeds without one can't be compared with the CRM.
        meter: of all calls that the scanners make.
        fitted: by feed, the columns that can be compared, once that is known.
    """

    settings: Settings
    profile: Profile
    connections: Connections
    scanners: Mapping[str, Scannable] = field(repr=False)
    meter: Meter
    fitted: dict[str, list[str]] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        """The pipeline's name."""
        return self.settings.cdc_slot

    async def credits_left(self) -> int:
        """Say how many credits are left of the day's, as far as our own count goes."""
        limit = daily_credits(self.settings.zoho_edition, self.settings.zoho_users)
        return max(0, limit - await self.connections.credits.used_24h())


@asynccontextmanager
async def open_site(
    environment: Environment, settings: Settings, profile: Profile, connections: Connections
) -> AsyncIterator[Site]:
    """Open a client of the comparison's own, for the length of the block; its tokens are everybody's."""
    meter = Meter(connections.credits)
    tokens = StoredTokens(connections.state, Keyring.parse(environment.encryption_key))
    zoho = signed_in(environment.zoho, await tokens.load())
    async with open_client(zoho, tokens, meter) as client:
        sinks = build_sinks(client, sink_specs(profile))
        yield Site(settings, profile, connections, scanners(client, sinks), meter)


async def mapping_of(source: AsyncConnection[Any], profile: Profile) -> str:
    """Fingerprint feeds and views: the profile's text, and the views as the database has them."""
    text = hashlib.sha256(views_hash(profile).encode())
    for name, feed in sorted(profile.feeds.items()):
        cursor = await source.execute("select pg_get_viewdef(to_regclass(%s))", [view_identifier(feed).as_string(None)])
        row = await cursor.fetchone()
        text.update(f"{name}{feed.model_dump_json()}{row[0] if row else ''}".encode())
    return text.hexdigest()[:16]
