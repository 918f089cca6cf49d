"""Pauses: which sink family or feed delivers nothing for now, and who may try whether it works again.

A pause outlives the process that set it, and every worker honours it. When it ends, one batch of one worker is let
through as a probe; only its success opens the gate for all. What a person pauses is in `cdc.state.pauses`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from cdc.state.outbox import NOTIFY_SQL
from cdc.state.pauses import holds

BULK_SCOPE: LiteralString = "bulk lane"
"""The scope that stops the lane `bulk` of every feed and nothing else; neither a feed nor a family can be called so."""
EVERYTHING: Final = "*"
"""The scope that stops every feed. No family and no feed can be called that."""
BY_HAND: Final = "BY_HAND"
"""The reason of a person's pause."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Leave to try a paused scope with one batch.

    Attributes:
        failures: failures in a row so far; also proves that the pause is still the one that was probed.
    """

    scope: str
    failures: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause as `cdc status` shows it.

    Attributes:
        until: None until it is resumed.
        reason: a name of `sinks.reasons`, why everything is held (`state.gaps`), or BY_HAND.
        detail: codes; for a person's pause, why.
        failures: in a row; 0 for a person's pause.
        actor: who paused it; None where no person did.
    """

    scope: str
    until: datetime | None
    reason: str
    detail: str
    failures: int
    updated_at: datetime
    actor: str | None = None


# A batch that was under way when another one paused the scope changes nothing (it has seen 0 failures, the row says
# more); a person's pause, without end, is never shortened.
_PAUSE_SQL: LiteralString = """
insert into cdc.control as c (scope, paused_until, reason, detail, failures)
values (%(scope)s, now() + make_interval(secs => %(seconds)s), %(reason)s, %(detail)s, 1)
on conflict (scope) do update set
    paused_until = excluded.paused_until, reason = excluded.reason, detail = excluded.detail,
    failures = c.failures + 1, updated_at = now()
where c.failures = %(seen)s and %(seen)s > 0 and c.paused_until < 'infinity'
returning failures
"""


async def pause(conn: AsyncConnection[Any], scope: str, seconds: float, reason: str, detail: str, *, seen: int) -> bool:
    """Pause a scope after a failure.

    Args:
        conn: any state connection.
        scope: a sink family or a feed.
        seconds: from now.
        reason: name of a member of `sinks.reasons.Reason`.
        detail: codes, never values.
        seen: failures in a row that the failing batch knew of: its probe's, or 0.

    Returns:
        False if the scope was paused already by somebody who knows more.
    """
    params = {"scope": scope, "seconds": seconds, "reason": reason, "detail": detail, "seen": seen}
    cursor = await conn.execute(_PAUSE_SQL, params)
    return await cursor.fetchone() is not None


_TAKE_SQL: LiteralString = """
with ended as materialized (
    select scope from cdc.control c
    where scope = any(%(scopes)s)
      and not exists (select from cdc.control o where o.scope = any(%(scopes)s) and o.paused_until > now())
    order by scope
    for update skip locked
)
update cdc.control c
set paused_until = now() + make_interval(secs => %(seconds)s), failures = greatest(c.failures, 1), updated_at = now()
from ended
where c.scope = ended.scope and c.paused_until <= now()
returning c.scope, c.failures
"""


async def take_probe(conn: AsyncConnection[Any], scopes: Collection[str], seconds: float) -> list[Probe]:
    """Claim the right to try paused scopes, if all their pauses have ended.

    Args:
        conn: in autocommit.
        scopes: that stop the feed.
        seconds: how long nobody else may probe; the probe's lease.
    """
    cursor = await conn.execute(_TAKE_SQL, {"scopes": list(scopes), "seconds": seconds})
    return [Probe(*row) for row in await cursor.fetchall()]


async def probe_succeeded(conn: AsyncConnection[Any], probes: Sequence[Probe]) -> None:
    """Open the gate for everybody."""
    for probe in probes:
        await conn.execute(
            "delete from cdc.control where scope = %s and failures = %s and paused_until < 'infinity'",
            [probe.scope, probe.failures],
        )
    await conn.execute(NOTIFY_SQL)


async def probe_unused(conn: AsyncConnection[Any], probes: Sequence[Probe]) -> None:
    """Give the right to probe back: nothing was sent, so nothing was learnt."""
    for probe in probes:
        await conn.execute(
            "update cdc.control set paused_until = now()"
            " where scope = %s and failures = %s and paused_until < 'infinity'",
            [probe.scope, probe.failures],
        )
    await conn.execute(NOTIFY_SQL)


async def pause_at_start(conn: AsyncConnection[Any], scope: str, seconds: float, reason: str, detail: str) -> None:
    """Pause a scope that can't even be asked whether the views fit it; a person's pause stays as it is."""
    await conn.execute(
        """
        insert into cdc.control as c (scope, paused_until, reason, detail, failures)
        values (%s, now() + make_interval(secs => %s), %s, %s, 1)
        on conflict (scope) do update set paused_until = excluded.paused_until, reason = excluded.reason,
            detail = excluded.detail, failures = c.failures + 1, updated_at = now()
        where c.paused_until < 'infinity'
        """,
        [scope, seconds, reason, detail],
    )


async def lift_start_pause(conn: AsyncConnection[Any], scope: str) -> None:
    """Lift it once the scope has answered: with nothing to send, nobody would probe it."""
    await conn.execute("delete from cdc.control where scope = %s and paused_until < 'infinity'", [scope])
    await conn.execute(NOTIFY_SQL)


async def pauses(conn: AsyncConnection[Any]) -> list[Pause]:
    """Give all pauses, those of people too, for `cdc status`."""
    cursor = await conn.execute(
        "select scope, nullif(paused_until, 'infinity'), reason, detail, failures, updated_at from cdc.control"
        " order by scope"
    )
    found = [Pause(*row) for row in await cursor.fetchall()]
    by_hand = [
        Pause(hold.scope, hold.until, BY_HAND, hold.because, 0, hold.at, hold.actor) for hold in await holds(conn)
    ]
    return [*by_hand, *found]
