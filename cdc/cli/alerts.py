"""`cdc alerts`: what is open, what was told, and what a person says about it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cdc.cli.audit import note
from cdc.cli.start import EXIT_DEGRADED, EXIT_ERROR, begin, begin_with_settings, open_databases, who
from cdc.cli.wording import exact_duration
from cdc.errors import ConfigError
from cdc.repair.bounds import length_seconds
from cdc.runtime.alerting import links_of, notices
from cdc.runtime.channels import Delivery, configured_channels, deliver
from cdc.settings import Settings
from cdc.state import alerts as memory
from cdc.state import mutes
from cdc.state.alerts import Alert, Notice, RuleState, Severity, Verdict
from cdc.watch.alerts.rules import RULES
from cdc.watch.alerts.wording import trial_message
from cdc.watch.status import plain

app = typer.Typer(
    help="Alerts: what is open, mute one, acknowledge one, try the channels.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip

NameArgument = Annotated[str, typer.Argument(help="Name of the alert, as `cdc alerts list` shows it.")]
_WIDE = 120


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is on record."""

    live: Mapping[str, Alert]
    rules: Mapping[str, RuleState]
    closed: Sequence[Alert]
    notices: Sequence[Notice]
    at: datetime

    @property
    def past(self) -> list[Alert]:
        """What is over, also what people have yet to be told is."""
        return [*(alert for alert in self.live.values() if not alert.is_open), *self.closed]


@app.command("list")
def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Every rule with what it last came to, and what is over.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the open alerts, and the rules that can't be evaluated. Exits with 3 if one is open that isn't only info."""
    settings, _ = begin()
    known = asyncio.run(_read(settings))
    if as_json:
        typer.echo(json.dumps(_as_json(known, everything=everything), indent=2))
    else:
        _print(known, everything=everything)
    serious = any(alert.is_open and alert.severity is not Severity.INFO for alert in known.live.values())
    raise typer.Exit(EXIT_DEGRADED if serious else 0)


@app.command("test")
def try_channels(
    channel: Annotated[str | None, typer.Argument(help="email, slack or webhook; every one if left out.")] = None,
) -> None:
    """Send a message through the configured channels, and say what became of it."""
    settings = begin_with_settings()
    channels = [one for one in configured_channels(settings) if channel in {None, one.name}]
    if not channels:
        raise ConfigError(
            f"the channel {channel} isn't configured" if channel else "no channel is configured",
            fix="set CDC_ALERT_SMTP_URL and CDC_ALERT_EMAIL, CDC_ALERT_SLACK_URL, or CDC_ALERT_WEBHOOK_URL and "
            "CDC_ALERT_WEBHOOK_SECRET; docs/alerts.md says how",
        )
    message = trial_message(settings.cdc_slot, links_of(settings), datetime.now(UTC))
    deliveries = asyncio.run(deliver(channels, message))
    for one in deliveries:
        typer.echo(f"{one.channel}: {_outcome(one)}")
    if settings.database_url is not None:
        asyncio.run(_record(settings, notices(message, deliveries)))
    raise typer.Exit(0 if all(one.sent for one in deliveries) else EXIT_ERROR)


@app.command()
def mute(
    name: NameArgument,
    length: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h, 1d.")],
) -> None:
    """Tell nobody of an alert for a while; it is evaluated and listed all the same."""
    settings, _ = begin()
    _check(name)
    seconds = length_seconds("--for", length)
    until = asyncio.run(_mute(settings, name, seconds))
    typer.echo(f"{name} is muted for {exact_duration(seconds)}, until {until:%Y-%m-%d %H:%M} UTC")


@app.command()
def unmute(name: NameArgument) -> None:
    """Tell people of an alert again."""
    settings, _ = begin()
    _check(name)
    typer.echo(f"{name} {'is told of again' if asyncio.run(_unmute(settings, name)) else 'was not muted'}")


@app.command()
def ack(name: NameArgument) -> None:
    """Say that you see to an open alert: no more reminders. That it gets worse, or is over, is told all the same."""
    settings, _ = begin()
    _check(name)
    found = asyncio.run(_acknowledge(settings, name))
    typer.echo(f"{name} {'is acknowledged' if found else 'is not open'}")
    raise typer.Exit(0 if found else EXIT_ERROR)


def _check(name: str) -> None:
    if name not in RULES:
        raise ConfigError(f"there is no alert {name!r}", fix=f"one of: {', '.join(RULES)}")


def _outcome(delivery: Delivery) -> str:
    return "sent" if delivery.sent else f"not sent after {delivery.attempts} attempts: {delivery.error}"


def _print(known: _Known, *, everything: bool) -> None:
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, _WIDE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("alert", "is", "for", "what"):
        table.add_column(heading)
    for name, rule in RULES.items():
        state, alert = known.rules.get(name, RuleState(name=name)), known.live.get(name)
        shown = everything or state.verdict is Verdict.UNKNOWN or (alert is not None and alert.is_open)
        if not shown:
            continue
        if alert is not None and alert.is_open:
            since = exact_duration((known.at - alert.opened_at).total_seconds())
            style = "bold red" if alert.severity is Severity.CRITICAL else "yellow"
            words = rule.say(alert.value) + (f" ({alert.detail})" if alert.detail else "")
            table.add_row(name, alert.severity.value, since, words + _remarks(state, alert, known.at), style=style)
        else:
            table.add_row(name, state.verdict.value, "", state.words + _remarks(state, None, known.at))
    evaluated = max((s.evaluated_at for s in known.rules.values() if s.evaluated_at), default=None)
    if table.row_count:
        console.print(table)
    else:
        typer.echo("no alert is open")
    ago = None if evaluated is None else exact_duration((known.at - evaluated).total_seconds())
    typer.echo(f"evaluated {ago} ago" if ago else "nothing was evaluated yet: `cdc run` does it", err=True)
    if everything:
        _print_past(console, known)


def _remarks(state: RuleState, alert: Alert | None, at: datetime) -> str:
    muted = f"; muted until {state.muted_until:%m-%d %H:%M} UTC" if state.is_muted(at) else ""
    acked = f"; {alert.acked_by} sees to it" if alert is not None and alert.acked_at is not None else ""
    return muted + acked


def _print_past(console: Console, known: _Known) -> None:
    for alert in known.past:
        lasted = exact_duration(((alert.resolved_at or known.at) - alert.opened_at).total_seconds())
        console.print(f"over      {alert.name}  {alert.severity.value}  {alert.opened_at:%Y-%m-%d %H:%M} UTC  {lasted}")
    for notice in known.notices:
        became = "sent" if notice.sent else f"not sent: {notice.error}"
        console.print(f"notice    {notice.at:%Y-%m-%d %H:%M} UTC  {notice.channel}  {became}  {notice.subject}")


def _as_json(known: _Known, *, everything: bool) -> dict[str, Any]:
    wanted = {name: known.rules.get(name, RuleState(name=name)) for name in RULES}
    found: dict[str, Any] = {
        "open": [_plain(alert) for alert in known.live.values() if alert.is_open],
        "unknown": [name for name, state in wanted.items() if state.verdict is Verdict.UNKNOWN],
    }
    if everything:
        found["rules"] = [_plain(state) for state in wanted.values()]
        found["past"] = [_plain(alert) for alert in known.past]
        found["notices"] = [_plain(notice) for notice in known.notices]
    return found


def _plain(found: Alert | RuleState | Notice) -> dict[str, Any]:
    """Give JSON values, which have no infinity."""
    return {name: None if value == math.inf else value for name, value in plain(asdict(found)).items()}


async def _read(settings: Settings) -> _Known:
    async with open_databases(settings) as (_, state):
        pipeline = settings.cdc_slot
        return _Known(
            await memory.live_alerts(state, pipeline),
            await memory.rule_states(state, pipeline),
            await memory.past_alerts(state, pipeline),
            await memory.read_notices(state, pipeline),
            datetime.now(UTC),
        )


async def _record(settings: Settings, made: Sequence[Notice]) -> None:
    async with open_databases(settings) as (_, state):
        await memory.write_notices(state, settings.cdc_slot, made)


async def _mute(settings: Settings, name: str, seconds: float) -> datetime:
    async with open_databases(settings) as (_, state), state.transaction():
        await note(state, "alert.mute", name, because=f"for {exact_duration(seconds)}")
        return await mutes.mute(state, settings.cdc_slot, name, seconds, who())


async def _unmute(settings: Settings, name: str) -> bool:
    async with open_databases(settings) as (_, state), state.transaction():
        was_muted = await mutes.unmute(state, settings.cdc_slot, name)
        await note(state, "alert.unmute", name, count=int(was_muted))
    return was_muted


async def _acknowledge(settings: Settings, name: str) -> bool:
    async with open_databases(settings) as (_, state), state.transaction():
        is_open = await mutes.acknowledge(state, settings.cdc_slot, name, who())
        await note(state, "alert.ack", name, count=int(is_open))
    return is_open
