"""What is remembered of alerts: what each rule last came to, and each time that one was open.

An alert that is over, and of which that couldn't be told yet, is still live: so nobody is left with an old alarm, and
one that comes back meanwhile is the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

RETENTION: Final[tuple[LiteralString, ...]] = (
    "delete from cdc.alert where closed_at < now() - interval '90 days'",
    "delete from cdc.alert_notice where at < now() - interval '90 days'",
)


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Greater for worse."""
        return list(Severity).index(self)


class Verdict(StrEnum):
    """What a rule last came to."""

    FINE = "fine"
    PENDING = "pending"  # beyond a bound, and not for long enough yet
    OPEN = "open"
    HUSHED = "hushed"  # beyond a bound, and explained by something else
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """What a rule last came to; see cdc.alert_rule.

    `notified_at` and `critical_at` are the last of all its alerts: when people were told anything, and that it is
    critical.
    """

    name: str
    verdict: Verdict = Verdict.UNKNOWN
    value: float | None = None
    words: str = ""
    since: Mapping[Severity, datetime] = field(default_factory=dict)
    evaluated_at: datetime | None = None
    muted_until: datetime | None = None
    muted_by: str | None = None
    notified_at: datetime | None = None
    critical_at: datetime | None = None

    def is_muted(self, now: datetime) -> bool:
        """True while nothing is to be told of it."""
        return self.muted_until is not None and now < self.muted_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One time that an alert was open; see cdc.alert."""

    name: str
    severity: Severity
    value: float | None
    opened_at: datetime
    detail: str = ""
    resolved_at: datetime | None = None
    told: Severity | None = None
    notified_at: datetime | None = None
    acked_at: datetime | None = None
    acked_by: str | None = None
    closed_at: datetime | None = None
    id: int | None = None

    @property
    def is_open(self) -> bool:
        """True while it is so."""
        return self.resolved_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One delivery of a message through one channel; see cdc.alert_notice."""

    message: str
    channel: str
    subject: str
    sent: bool
    attempts: int
    error: str | None = None
    at: datetime | None = None


_TURN: LiteralString = """
insert into cdc.alert_turn as t (pipeline, holder, held_until, evaluated_at)
values (%(pipeline)s, %(holder)s, now() + make_interval(secs => %(lease)s), now())
on conflict (pipeline) do update set
    holder = excluded.holder, held_until = excluded.held_until, evaluated_at = excluded.evaluated_at
where t.holder = excluded.holder or t.held_until < now()
returning evaluated_at
"""


async def take_turn(conn: AsyncConnection[Any], pipeline: str, holder: str, lease_seconds: float) -> datetime | None:
    """Become the process that evaluates, or stay it. Gives the time that all go by; None if another process is."""
    cursor = await conn.execute(_TURN, {"pipeline": pipeline, "holder": holder, "lease": lease_seconds})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def give_turn(conn: AsyncConnection[Any], pipeline: str, holder: str) -> None:
    """Let another process evaluate at once."""
    await conn.execute("delete from cdc.alert_turn where pipeline = %s and holder = %s", [pipeline, holder])


_RULES: LiteralString = """
select r.name, r.verdict, r.value, r.words, r.since, r.evaluated_at, r.muted_until, r.muted_by, a.notified_at,
       a.critical_at
from cdc.alert_rule r
left join (select name, max(notified_at) as notified_at, max(critical_at) as critical_at
           from cdc.alert where pipeline = %(pipeline)s group by name) as a using (name)
where r.pipeline = %(pipeline)s order by r.name
"""


async def rule_states(conn: AsyncConnection[Any], pipeline: str) -> dict[str, RuleState]:
    """Give what each rule last came to, by name."""
    async with conn.cursor(row_factory=class_row(RuleState)) as cursor:
        await cursor.execute(_RULES, {"pipeline": pipeline})
        found = await cursor.fetchall()
    return {
        state.name: replace(
            state,
            verdict=Verdict(state.verdict),
            since={Severity(key): datetime.fromisoformat(str(at)) for key, at in state.since.items()},
        )
        for state in found
    }


_STORE: LiteralString = """
insert into cdc.alert_rule as r (pipeline, name, verdict, value, words, since, evaluated_at)
select %s, * from unnest(
    %s::text[], %s::text[], %s::double precision[], %s::text[], %s::jsonb[], %s::timestamptz[])
on conflict (pipeline, name) do update set
    verdict = excluded.verdict, value = excluded.value, words = excluded.words, since = excluded.since,
    evaluated_at = excluded.evaluated_at
"""


async def store_rules(conn: AsyncConnection[Any], pipeline: str, states: Sequence[RuleState]) -> None:
    """Write down what the rules came to; mutes are a person's and stay."""
    since = [json.dumps({key.value: at.isoformat() for key, at in state.since.items()}) for state in states]
    await conn.execute(
        _STORE,
        [
            pipeline,
            [state.name for state in states],
            [state.verdict.value for state in states],
            [state.value for state in states],
            [state.words for state in states],
            since,
            [state.evaluated_at for state in states],
        ],
    )


_ALERT: LiteralString = """
select id, name, severity, value, detail, opened_at, resolved_at, told, notified_at, acked_at, acked_by, closed_at
from cdc.alert where pipeline = %s
"""


async def live_alerts(conn: AsyncConnection[Any], pipeline: str) -> dict[str, Alert]:
    """Give the alerts that are open, or over without that having been told; by name."""
    async with conn.cursor(row_factory=class_row(Alert)) as cursor:
        await cursor.execute(_ALERT + " and closed_at is null order by id", [pipeline])
        return {alert.name: _typed(alert) for alert in await cursor.fetchall()}


async def past_alerts(conn: AsyncConnection[Any], pipeline: str, limit: int = 100) -> list[Alert]:
    """Give the newest alerts that are closed."""
    async with conn.cursor(row_factory=class_row(Alert)) as cursor:
        await cursor.execute(_ALERT + " and closed_at is not null order by id desc limit %s", [pipeline, limit])
        return [_typed(alert) for alert in await cursor.fetchall()]


def _typed(alert: Alert) -> Alert:
    """Make enumerations of what came as text."""
    told = None if alert.told is None else Severity(alert.told)
    return replace(alert, severity=Severity(alert.severity), told=told)


async def open_alert(conn: AsyncConnection[Any], pipeline: str, alert: Alert) -> Alert:
    """Write down a new alert; gives it with its id."""
    cursor = await conn.execute(
        "insert into cdc.alert (pipeline, name, severity, value, detail, opened_at) values (%s, %s, %s, %s, %s, %s)"
        " returning id",
        [pipeline, alert.name, alert.severity, alert.value, alert.detail, alert.opened_at],
    )
    row = await cursor.fetchone()
    return alert if row is None else replace(alert, id=row[0])


async def update_alert(conn: AsyncConnection[Any], alert: Alert) -> None:
    """Write down how an alert is now. An acknowledgement that a person gave meanwhile stays."""
    await conn.execute(
        "update cdc.alert set severity = %s, value = %s, detail = %s, resolved_at = %s, closed_at = %s, told = %s"
        " where id = %s",
        [alert.severity, alert.value, alert.detail, alert.resolved_at, alert.closed_at, alert.told, alert.id],
    )


async def note_told(conn: AsyncConnection[Any], alert: Alert, *, escalated: bool) -> None:
    """Write down what people were just told. What got worse must be acknowledged anew."""
    await conn.execute(
        "update cdc.alert set told = %(told)s, notified_at = %(at)s, closed_at = %(closed)s,"
        " critical_at = case when %(told)s = 'critical' then %(at)s else critical_at end,"
        " acked_at = case when %(escalated)s then null else acked_at end,"
        " acked_by = case when %(escalated)s then null else acked_by end where id = %(id)s",
        {
            "told": alert.told,
            "at": alert.notified_at,
            "closed": alert.closed_at,
            "escalated": escalated,
            "id": alert.id,
        },
    )


async def last_message_at(conn: AsyncConnection[Any], pipeline: str) -> datetime | None:
    """Say when people were last told anything."""
    cursor = await conn.execute("select max(notified_at) from cdc.alert where pipeline = %s", [pipeline])
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def write_notices(conn: AsyncConnection[Any], pipeline: str, notices: Sequence[Notice]) -> None:
    """Put deliveries on record."""
    for one in notices:
        await conn.execute(
            "insert into cdc.alert_notice (pipeline, message, channel, subject, sent, attempts, error)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            [pipeline, one.message, one.channel, one.subject, one.sent, one.attempts, one.error],
        )


async def read_notices(conn: AsyncConnection[Any], pipeline: str, limit: int = 50) -> list[Notice]:
    """Give the newest deliveries."""
    async with conn.cursor(row_factory=class_row(Notice)) as cursor:
        await cursor.execute(
            "select message, channel, subject, sent, attempts, error, at from cdc.alert_notice"
            " where pipeline = %s order by id desc limit %s",
            [pipeline, limit],
        )
        return await cursor.fetchall()
