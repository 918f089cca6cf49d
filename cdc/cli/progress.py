"""Shows how a backfill goes: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import typer
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cdc.cli.wording import duration
from cdc.runtime.backfill import BackfillStatus, read_backfill
from cdc.state.backlog import JobSummary

_LOOK_SECONDS: Final = 0.5
_LINE_SECONDS: Final = 10.0


def job_line(job: JobSummary, now: datetime) -> str:
    """Say in a line what is known of a bulk job."""
    took = duration(((job.ended_at or now) - job.begun_at).total_seconds())
    parts = [f"job {job.id}  {job.feed}  {job.state.value}", f"{job.records} records", took]
    if job.created is not None:
        parts.append(f"{job.created} created, {job.updated} updated, {job.refused} refused")
    if job.crm_job_id:
        parts.append(f"id {job.crm_job_id}")
    if job.starts > 1:
        parts.append(f"started {job.starts} times")
    if job.reason or job.detail:
        parts.append(" ".join(part for part in (job.reason, job.detail) if part))
    return ", ".join(parts)


class Eta:
    """Tells how long the rest will take, from how fast the records have left so far.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None

    def seconds(self, done: int, left: int) -> float | None:
        """Give it; None until something has left."""
        if self._began is None:
            self._began = self._clock()
        passed = self._clock() - self._began
        return passed * left / done if done and passed else None


async def follow(state: AsyncConnection[Any], records: int) -> BackfillStatus:
    """Show the way of a backfill until nothing of it is left.

    Args:
        state: in autocommit.
        records: how many were to be sent when it began. What hangs on them may add to it.

    Returns:
        How it stands in the end.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    eta, total, told = Eta(), records, -_LINE_SECONDS
    with Progress(*columns, console=console, disable=not console.is_terminal, auto_refresh=False) as bar:
        task = bar.add_task("backfill", total=total, note="")
        while True:
            now = await read_backfill(state)
            total = max(total, now.left)
            done = total - now.left
            note = _note(now, eta.seconds(done, now.left))
            bar.update(task, total=total, completed=done, note=note, refresh=True)
            if not console.is_terminal and (not now.left or time.monotonic() - told >= _LINE_SECONDS):
                typer.echo(f"{done} of {total}  {note}".rstrip(), err=True)
                told = time.monotonic()
            if not now.left:
                break
            await asyncio.sleep(_LOOK_SECONDS)
    if now.parked:
        typer.echo(f"{now.parked} parked: see `cdc failures list`", err=True)
    return now


def _note(now: BackfillStatus, eta: float | None) -> str:
    """Say what happens at the moment, or why nothing does."""
    if not now.left:
        return "delivered"
    if now.is_paused:
        return "paused by hand: `cdc backfill resume` ends it"
    if now.pauses:
        return ", ".join(f"{scope} is paused: {reason}" for scope, reason in now.pauses.items())
    if not now.workers:
        return "nobody delivers: start `cdc run` or `cdc worker`"
    parts = [f"job {job.id} {job.state.value}" for job in now.jobs if job.ended_at is None]
    if eta is not None:
        parts.append(f"about {duration(eta)} left")
    return ", ".join(parts)
