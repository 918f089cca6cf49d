"""The panels of the page, in their order. A further one is a function, a line in PANELS and a template."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.repair.reconcile.differences import Kind
from cdc.repair.reconcile.report import in_words
from cdc.state import audit, jobs
from cdc.state.backlog import recent_jobs
from cdc.state.held import HeldSelection, held_groups
from cdc.state.openalerts import open_alerts
from cdc.state.operations import operations
from cdc.state.progress import read_progress
from cdc.state.reconciles import last_run
from cdc.watch.slot import read_retained
from cdc.watch.status import Status
from cdc.web.dashboard import charts, tables
from cdc.web.dashboard.asked import Asked
from cdc.web.dashboard.asked import operations as asked_operations
from cdc.web.dashboard.formats import counted, number, size
from cdc.web.dashboard.ground import Ground
from cdc.web.dashboard.path import Mark, stages

_TEN_MINUTES: Final = timedelta(minutes=10)
_QUARTER: Final = timedelta(minutes=15)
_ENTRIES: Final = 8
_JOBS: Final = 4
_VERDICTS: Final = {"clean": Mark.OK, "fixed": Mark.OK, "incomplete": Mark.BROKEN}

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What a panel is made of.

    Attributes:
        conn: to the state; one statement for a panel.
        asked: the address's parameters.
    """

    status: Status
    conn: AsyncConnection[Any]
    ground: Ground
    asked: Asked


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the page. Its template is `dashboard/panels/<name>.html`.

    Attributes:
        width: of six columns; a narrow screen has one.
        read: gives the template's values.
        controls: there is a `<name>_controls.html`, which isn't refreshed.
    """

    name: str
    title: str
    width: int
    read: Callable[[Look], Awaitable[Values]]
    controls: bool = False


async def _path(look: Look) -> Values:
    return {"stages": stages(look.status)}


async def _alerts(look: Look) -> Values:
    return {"alerts": [tables.told(alert) for alert in await open_alerts(look.conn, look.ground.slot)]}


async def _deliveries(look: Look) -> Values:
    done, until = look.status.activity, look.status.at
    data = [charts.Bar(part.begins_at, part.succeeded, part.failed) for part in done.intervals]
    said = f"{counted(done.succeeded, 'delivery', 'deliveries')} and {counted(done.failed, 'failure')} in 24 hours."
    chart = charts.bars(data, until, _TEN_MINUTES, title="Delivered and failed in each ten minutes", description=said)
    return {"chart": chart, "hours": tables.by_hour(done.intervals, until), "activity": done}


async def _credits(look: Look) -> Values:
    spent, until = look.status.credits, look.status.at
    points, total = [charts.Point(until - charts.DAY, 0)], 0
    for begins_at, credits in spent.quarters:
        total += credits
        points.append(charts.Point(min(begins_at + _QUARTER, until), total))
    points.append(charts.Point(until, total))
    chart = charts.area(
        points, until, limit=spent.limit, title="Credits spent in the last 24 hours, added up",
        description=f"{number(spent.used)} of {number(spent.limit)} credits.", stepped=True,
    )  # fmt: skip
    kinds = sorted(spent.by_kind.items(), key=lambda kind: -kind[1].credits)
    is_above = spent.limit > charts.scale_of([total], spent.limit)
    return {"chart": chart, "kinds": kinds, "credits": spent, "is_limit_above": is_above}


async def _wal(look: Look) -> Values:
    slot, until = look.status.slot, look.status.at
    samples = await read_retained(look.conn, look.ground.slot)
    points = [charts.Point(at, held) for at, held in samples]
    limit = None if slot is None else slot.limit_bytes
    highest = max((held for _, held in samples), default=0)
    chart = charts.area(
        points, until, limit=limit, title="WAL that the slot kept", description=f"{size(highest)} at the most."
    )
    is_above = limit is not None and limit > charts.scale_of([point.value for point in points], limit)
    return {
        "chart": chart, "hours": tables.highest_by_hour(samples), "highest": highest, "limit": limit,
        "slot": slot, "is_limit_above": is_above,
    }  # fmt: skip


async def _queue(look: Look) -> Values:
    return {"rows": tables.queue(look.status)}


async def _held(look: Look) -> Values:
    if not look.status.held:
        return {"groups": []}
    return {"groups": await held_groups(look.conn, HeldSelection(), with_causes=False)}


async def _progress(look: Look) -> Values:
    found = await read_progress(look.conn, look.ground.slot, look.ground.profile.feeds)
    waiting = tables.backfilling(look.status)
    return {"progress": found, "jobs": await recent_jobs(look.conn, limit=_JOBS), "waiting": waiting}


async def _reconcile(look: Look) -> Values:
    run = await last_run(look.conn, look.ground.slot)
    kinds = [] if run is None else [(in_words(kind), run.total(kind)) for kind in Kind if run.total(kind)]
    mark = Mark.WAITING if run is None else _VERDICTS.get(run.verdict, Mark.ATTENTION)
    return {"run": run, "kinds": kinds, "mark": mark}


async def _schedule(look: Look) -> Values:
    return {"jobs": tables.schedule(look.ground.plans, await jobs.newest(look.conn), look.status.at)}


async def _workers(look: Look) -> Values:
    return {"workers": look.status.workers, "token": look.status.token, "doorbell": look.status.doorbell}


async def _activity(look: Look) -> Values:
    wanted = asked_operations(look.asked)
    return {"operations": await operations(look.conn, wanted), "wanted": wanted}


async def _audit(look: Look) -> Values:
    return {"entries": await audit.entries(look.conn, limit=_ENTRIES)}


PANELS: Final[tuple[Panel, ...]] = (
    Panel("path", "From the database to the CRM", 6, _path),
    Panel("alerts", "Open alerts", 6, _alerts),
    Panel("deliveries", "Deliveries", 2, _deliveries),
    Panel("credits", "Credits", 2, _credits),
    Panel("wal", "WAL held", 2, _wal),
    Panel("queue", "Queue", 4, _queue),
    Panel("held", "Held by the breaker", 2, _held),
    Panel("progress", "Backfill, replay, sweep", 2, _progress),
    Panel("reconcile", "Reconcile", 2, _reconcile),
    Panel("workers", "Processes", 2, _workers),
    Panel("schedule", "By the clock", 6, _schedule),
    Panel("activity", "Latest operations", 6, _activity, controls=True),
    Panel("audit", "Who did what", 6, _audit),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """A panel with its values."""

    panel: Panel
    values: Values


async def fill(ground: Ground, status: Status, asked: Asked) -> Sequence[Filled]:
    """Read what all panels show, over one connection."""
    async with ground.connection() as conn:
        look = Look(status, conn, ground, asked)
        return [Filled(panel, await panel.read(look)) for panel in PANELS]
