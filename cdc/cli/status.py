"""`cdc status`: how things stand."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdc.cli.start import EXIT_DEGRADED, begin, open_databases, run_unless_interrupted
from cdc.cli.wording import exact_duration, explain_gap, explain_pause, size
from cdc.runtime.limits import credit_limit
from cdc.settings import Settings
from cdc.watch.condition import judge
from cdc.watch.status import Doorbell, Status, read_status

_WATCH_SECONDS = 1.0


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
) -> None:
    """Show slot, outbox, credits, pauses and gaps. Exits with 3 when something is parked, paused or lost."""
    settings, _ = begin()
    degraded = run_unless_interrupted(_watch(settings, as_json) if watch else _once(settings, as_json))
    if degraded is None:
        return
    raise typer.Exit(EXIT_DEGRADED if degraded else 0)


async def _once(settings: Settings, as_json: bool) -> bool:
    async with open_databases(settings) as (source, state):
        now = await read_status(source, state, settings.cdc_slot, credit_limit=credit_limit(settings))
    _print(now, as_json)
    return now.is_degraded


async def _watch(settings: Settings, as_json: bool) -> bool:
    """Redraw in place on a terminal; elsewhere print one picture, or one line of JSON, after another."""
    console = Console()
    live = Live(console=console, screen=True, auto_refresh=False)
    async with open_databases(settings) as (source, state), AsyncExitStack() as stack:
        in_place = console.is_terminal and not as_json
        if in_place:
            stack.enter_context(live)
        while True:
            now = await read_status(source, state, settings.cdc_slot, credit_limit=credit_limit(settings))
            if in_place:
                live.update(render(now), refresh=True)
            else:
                _print(now, as_json, indent=None)
            await asyncio.sleep(_WATCH_SECONDS)


def _print(now: Status, as_json: bool, indent: int | None = 2) -> None:
    if as_json:
        typer.echo(json.dumps(now.as_json(), indent=indent))
    else:
        Console().print(render(now))


def render(status: Status) -> RenderableType:
    """Draw a status for a terminal."""
    return Group(*_condition_lines(status), _slot_line(status), Text(), _outbox_table(status), Text(), *_notes(status))


def _condition_lines(status: Status) -> list[Text]:
    """Say in a line or two what it all comes to."""
    now = judge(status)
    style = "green" if now.state.is_fine else "bold red" if now.state.is_broken else "yellow"
    lines = [Text.assemble(("state     ", "bold"), (f"{now.state.value.replace('_', ' ')}", style), f"  {now.why}")]
    if now.todo:
        is_new = now.command and f"`{now.command}`" not in now.todo
        lines.append(Text(f"          {now.todo.rstrip('.')}" + (f": `{now.command}`" if is_new else "")))
    return lines


def _slot_line(status: Status) -> Text:
    slot = status.slot
    if not status.has_slot and status.doorbell is not None:
        return _doorbell_line(status.doorbell, status.at)
    if slot is None or not slot.exists:
        words = "none: run `cdc setup`" if status.position is None else "none: `cdc run` makes a new one and sweeps"
        return Text(f"slot      {words}", style="bold red")
    held = "being read" if slot.active_pid else "nobody reads it"
    runway = slot.runway_seconds
    return Text.assemble(
        ("slot      ", "bold"), f"{slot.slot}  {slot.wal_status}  {held}  lag {size(status.lag_bytes)}",
        f"  position {status.position or '-'}",
        *([] if runway is None else [(f"  lost in {exact_duration(runway)} at this rate: see `cdc slot`", "bold red")]),
    )  # fmt: skip


def _doorbell_line(bell: Doorbell, at: datetime) -> Text:
    heard = "never heard" if bell.heard_at is None else f"heard {(at - bell.heard_at).total_seconds():.0f} s ago"
    swept = "not swept" if bell.swept_at is None else f"swept {(at - bell.swept_at).total_seconds():.0f} s ago"
    why = f" ({bell.cause})" if bell.state == "lost" else ""
    return Text.assemble(
        ("doorbell  ", "bold"), f"realtime  {bell.state}{why}  {heard}  {swept}",
        style="red" if bell.state == "lost" else "",
    )  # fmt: skip


def _outbox_table(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("feed", "in CRM", "lane", "due", "gathering", "in flight", "retrying", "deferred", "parked"):
        table.add_column(heading, justify="left" if heading in {"feed", "lane"} else "right", no_wrap=heading == "feed")
    feeds = sorted({*status.delivered, *(count.feed for count in status.outbox)})
    for feed in feeds:
        rows = [count for count in status.outbox if count.feed == feed]
        delivered = str(status.delivered.get(feed, 0))
        if not rows:
            table.add_row(feed, delivered, "-", *("0" for _ in range(6)))
        for n, c in enumerate(rows):
            numbers = (c.due, c.gathering, c.in_flight, c.retrying, c.deferred, c.parked)
            first = (feed, delivered) if n == 0 else ("", "")
            table.add_row(*first, c.lane.value, *map(str, numbers), style="red" if c.parked else "")
    return table


def _notes(status: Status) -> list[Text]:
    spent = status.credits
    kinds = ", ".join(f"{kind} {usage.credits}" for kind, usage in spent.by_kind.items() if usage.credits)
    used = f"{spent.used} of {spent.limit} in 24 h"
    lines = [Text.assemble(("credits   ", "bold"), used, f" ({kinds})" if kinds else "")]
    lines += [Text(line, style="yellow") for pause in status.pauses for line in explain_pause(pause)]
    lines += [Text(line, style="red") for gap in status.gaps if gap.repaired_at is None for line in explain_gap(gap)]
    if status.is_unswept:
        lines.append(Text("sweep     views and ledger have yet to be compared since the slot began", style="yellow"))
    lines += [
        Text(f"held      {keys} of {feed}, by the breaker: see `cdc held`", style="red")
        for feed, keys in status.held.items()
    ]
    if status.parked:
        lines.append(Text(f"parked    {status.parked}: see `cdc failures list`", style="red"))
    return lines
