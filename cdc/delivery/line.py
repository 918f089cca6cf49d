"""One feed's way from the outbox to its sink: what stays the same from batch to batch."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from cdc.delivery.options import DeliveryOptions
from cdc.delivery.reading import Reading, open_view, read_truth
from cdc.delivery.stats import Stats
from cdc.lsn import Lsn
from cdc.routing.feeds import Feed
from cdc.state.breaker import Judged
from cdc.state.control import EVERYTHING
from cdc.state.database import Pool
from cdc.state.position import check_footing
from cdc.state.truth import View
from cdc.waiting import lease_seconds
from sinks.base import BulkSink, Sink
from sinks.errors import SinkError
from sinks.reasons import Reason


@dataclass(slots=True, kw_only=True)
class Line:
    """One feed with its views, its sink and the databases.

    Attributes:
        view: the feed's.
        parent: the view of the feed that it needs.
        children: the views of the feeds that need it.
        source: pool on the source database; autocommit, UTC.
        state: pool on the state database; autocommit, UTC.
        clock: seconds that never go back.
        chance: from 0 to 1, for jitter.
        bulk: what makes the sink's bulk jobs; None if there are none for this feed.
        job_from: due records from which a bulk job is made; None for never.
        fitted: the sink has agreed to the view's columns.
        unreadable: child feeds whose view has failed; said once.
        unasked: rewrites that went without asking the breaker since it was last asked, by what they count against.
    """

    feed: Feed
    sink: Sink
    view: View
    parent: View | None
    children: Sequence[View]
    source: Pool
    state: Pool
    options: DeliveryOptions
    stats: Stats
    clock: Callable[[], float] = lease_seconds
    chance: Callable[[], float] = random.random
    bulk: BulkSink | None = None
    job_from: int | None = None
    fitted: bool = False
    unreadable: set[str] = field(default_factory=set)
    unasked: Counter[Lsn | Judged] = field(default_factory=Counter)

    @property
    def family(self) -> str:
        """The sink's family, such as `zoho`."""
        return self.feed.sink.partition(".")[0]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The control scopes that stop this feed."""
        return (EVERYTHING, self.family, self.feed.name)

    @property
    def job_rows(self) -> int:
        """Most records in one bulk job; 0 if there are none."""
        if self.bulk is None or self.job_from is None:
            return 0
        return min(self.bulk.job_rows, self.options.bulk.rows or self.bulk.job_rows)

    async def read(self, keys: Collection[str]) -> Reading:
        """Read the present truth about some keys.

        Raises:
            SinkError: VIEW_UNREADABLE, if the view can't be read at all.
            SourceUnavailable: if a database is another one than capture has joined up with.
            psycopg.OperationalError: if one can't be reached.
        """
        async with self.source.connection() as source:
            async with self.state.connection() as state:
                await check_footing(source, state)
            truth = await open_view(source, self.view)
            return await read_truth(source, truth, keys, self.options.hash_key)

    async def fit(self) -> None:
        """Let the sink check the view's columns, once.

        Raises:
            SinkError: REQUEST_REFUSED with the columns that don't fit; UNAVAILABLE if it takes longer than a call may,
                since the lease runs meanwhile; or whatever the sink raises. A column that the sink doesn't know would
                be dropped in silence and count as delivered, so nothing is sent then.
        """
        if self.fitted:
            return
        async with self.source.connection() as source:
            truth = await open_view(source, self.view)
        try:
            async with asyncio.timeout(self.options.call_seconds):
                misfits = await self.sink.fit(truth.columns)
        except TimeoutError:
            seconds = self.options.call_seconds
            raise SinkError(Reason.UNAVAILABLE, f"the fields could not be read in {seconds:g} s") from None
        if misfits:
            words = "; ".join(f"{m.column}: {m.reason.name} {m.detail}".strip() for m in misfits)
            raise SinkError(Reason.REQUEST_REFUSED, words)
        self.fitted = True

    def look_again(self) -> None:
        """Forget what the view and the sink were like: the feed was paused, and either may have been changed."""
        self.view.forget()
        self.fitted = False
