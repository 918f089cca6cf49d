"""Evaluates the alerts every half minute, in one process of all, and tells people what is due.

The order is: write down what is, tell, write down what was told. Whoever dies in between tells once more after the
restart, with the same id; nobody is left untold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection

from cdc.runtime.channels import Channel, Delivery, configured_channels, deliver
from cdc.runtime.deadman import ping
from cdc.settings import Settings
from cdc.state import alerts as memory
from cdc.state.alerts import Alert, Notice, RuleState
from cdc.state.database import Pool
from cdc.waiting import unless, wait_at_most
from cdc.watch.alerts.life import Kind, Step, hushed, step, to_tell, told
from cdc.watch.alerts.rules import RULES
from cdc.watch.alerts.wording import Links, Message, compose
from cdc.watch.condition import judge
from cdc.watch.outlook import Picture

log = structlog.get_logger()

EVERY_SECONDS: Final = 30.0
FIRST_SECONDS: Final = 5.0
"""A process that is gone sooner evaluates nothing."""
LEASE_SECONDS: Final = 75.0
_PING: Final = timedelta(seconds=55)


@dataclass(slots=True)
class Alerting:
    """Evaluates for one pipeline.

    Attributes:
        state: pool on the state database.
        pipeline: name of the slot.
        holder: this process.
        look: reads the picture.
        channels: to tell people through; without any, alerts are recorded and logged.
        links: for messages.
        heartbeat: URL of the dead-man; None without one.
        clock: gives the time; the database's if None.
    """

    state: Pool
    pipeline: str
    holder: str
    look: Callable[[], Awaitable[Picture]]
    channels: Sequence[Channel] = ()
    links: Links = field(default_factory=Links)
    heartbeat: str | None = field(default=None, repr=False)
    clock: Callable[[], datetime] | None = None
    _pinged: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Evaluate until `stop` is set, then leave the turn to another process."""
        await wait_at_most(stop, FIRST_SECONDS)
        while not stop.is_set():
            try:
                await unless(stop, self.evaluate())  # a channel that takes its time doesn't hold up a stop
            except (psycopg.Error, TimeoutError) as error:  # the database comes back
                log.warning("alerts_not_evaluated", error=type(error).__name__)
            await wait_at_most(stop, EVERY_SECONDS)
        try:
            async with self.state.connection() as conn:
                await memory.give_turn(conn, self.pipeline, self.holder)
        except psycopg.Error as error:
            log.debug("turn_not_given", error=type(error).__name__)

    async def evaluate(self) -> list[Step] | None:
        """Evaluate once; None if it is another process's turn.

        Raises:
            psycopg.Error: the state database is away.
        """
        async with self.state.connection() as conn:
            now = await memory.take_turn(conn, self.pipeline, self.holder, LEASE_SECONDS)
        if now is None:
            return None
        now = now if self.clock is None else self.clock()
        picture = await self.look()
        async with self.state.connection() as conn:
            last = await memory.last_message_at(conn, self.pipeline)
            steps = await self._step(conn, picture, now)
        due = to_tell(steps, last, now)
        if due:
            await self._tell(due, now)
        await self._ping(picture, now)
        return steps

    async def _step(self, conn: AsyncConnection[Any], picture: Picture, now: datetime) -> list[Step]:
        """Take every rule on, and write down what is."""
        states = await memory.rule_states(conn, self.pipeline)
        live = await memory.live_alerts(conn, self.pipeline)
        readings = {name: rule.measure(picture) for name, rule in RULES.items()}
        steps = []
        async with conn.transaction():
            for name, rule in RULES.items():
                before = live.get(name)
                hush = hushed(rule, readings, RULES, picture.status)
                taken = step(rule, readings[name], states.get(name, RuleState(name=name)), before, hush=hush, now=now)
                steps.append(await self._write(conn, taken, before))
            await memory.store_rules(conn, self.pipeline, [one.state for one in steps])
            for name in live.keys() - RULES.keys():  # of a version with other rules
                await memory.update_alert(conn, replace(live[name], resolved_at=now, closed_at=now))
        return steps

    async def _write(self, conn: AsyncConnection[Any], taken: Step, before: Alert | None) -> Step:
        alert = taken.alert
        if alert is None or alert == before:
            return taken
        if alert.id is None:
            log.warning("alert_opened", alert=alert.name, severity=alert.severity.value, value=alert.value)
            return Step(taken.rule, taken.state, await memory.open_alert(conn, self.pipeline, alert), taken.due)
        if before is not None and before.is_open and not alert.is_open:
            log.info("alert_resolved", alert=alert.name)
        await memory.update_alert(conn, alert)
        return taken

    async def _tell(self, due: Sequence[Step], now: datetime) -> None:
        """Tell people, and then write down that they were told."""
        message = compose(due, self.pipeline, self.links, now)
        deliveries = await deliver(self.channels, message)
        async with self.state.connection() as conn, conn.transaction():
            await memory.write_notices(conn, self.pipeline, notices(message, deliveries))
            if self.channels and not any(delivery.sent for delivery in deliveries):
                return  # nobody heard it: it stays due
            for one in due:
                if one.alert is not None and one.due is not None:
                    after = told(one.alert, one.due, now)
                    await memory.note_told(conn, after, escalated=one.due is Kind.ESCALATED)

    async def _ping(self, picture: Picture, now: datetime) -> None:
        if self.heartbeat is None or (self._pinged is not None and now - self._pinged < _PING):
            return
        self._pinged = now
        await ping(self.heartbeat, judge(picture.status))


def notices(message: Message, deliveries: Sequence[Delivery]) -> list[Notice]:
    """Make records of deliveries."""
    return [
        Notice(
            message=message.id,
            channel=delivery.channel,
            subject=message.summary,
            sent=delivery.sent,
            attempts=delivery.attempts,
            error=delivery.error,
        )
        for delivery in deliveries
    ]


def make_alerting(settings: Settings, state: Pool, holder: str, look: Callable[[], Awaitable[Picture]]) -> Alerting:
    """Make it as configured."""
    heartbeat = settings.cdc_heartbeat_url
    return Alerting(
        state=state,
        pipeline=settings.cdc_slot,
        holder=holder,
        look=look,
        channels=configured_channels(settings),
        links=links_of(settings),
        heartbeat=None if heartbeat is None else heartbeat.get_secret_value(),
    )


def links_of(settings: Settings) -> Links:
    """Give where messages point to."""
    return Links(settings.cdc_runbook_url, settings.cdc_dashboard_url)
