"""Everything one simulator holds."""

from __future__ import annotations

import asyncio

from sinks.simulator.bulk import BulkJobs
from sinks.simulator.calls import Calls
from sinks.simulator.clock import Clock
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.customfields import CustomFields
from sinks.simulator.devices import Devices
from sinks.simulator.faults import Faults
from sinks.simulator.limits import Concurrency, Credits
from sinks.simulator.org import Ids, Org
from sinks.simulator.paging import Pager
from sinks.simulator.records import Records
from sinks.simulator.tokens import Tokens


class Simulation:
    """An organisation with its records, tokens, limits, faults and call log. All of it is in memory.

    Args:
        config: what the organisation is like.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.clock = Clock()
        self.started = self.clock.now()
        self.ids = Ids()
        self.org = Org(config, self.ids)
        self.custom_fields = CustomFields(config, self.ids)
        self.records = Records(self.org, self.clock, self.ids, config)
        self.tokens = Tokens(config, self.clock)
        self.devices = Devices(config, self.clock, self.tokens)
        self.credits = Credits(config, self.clock)
        self.concurrency = Concurrency(config)
        self.pager = Pager(self.clock)
        self.faults = Faults()
        self.calls = Calls()
        self.bulk = BulkJobs(self)
        self.closing = asyncio.Event()

    def reset(self, *, fields: bool = False, tokens: bool = False) -> None:
        """Forget records, calls, credits, bulk jobs and faults.

        Args:
            fields: also the custom fields that were made since the start.
            tokens: also revocations and throttles; every access token dies.
        """
        if fields:
            self.org.restore()
        self.records.clear()
        self.calls.clear()
        self.credits.clear()
        self.pager.clear()
        self.faults.clear()
        self.bulk.clear()
        if tokens:
            self.tokens.restore()
