"""The live view of `cdc run --demo`: what is captured, what is sent, and what it costs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg
from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cdc.cli.status import megabytes
from cdc.runtime.environment import Environment
from cdc.runtime.pipeline import Pipeline
from cdc.runtime.report import Report

_REFRESH_SECONDS = 0.5
_CHAPTERS_SHOWN = 6


class LiveView:
    """Redraws itself until the block ends.

    Args:
        environment: for the address of the simulator's page.
        read: gives the numbers.
        pipeline: for the state of capture.
    """

    def __init__(self, environment: Environment, read: Callable[[], Awaitable[Report]], pipeline: Pipeline) -> None:
        self._environment = environment
        self._read = read
        self._pipeline = pipeline
        self._chapters: deque[Any] = deque(maxlen=_CHAPTERS_SHOWN)
        self._is_over = False
        self._live = Live(refresh_per_second=8, screen=False, transient=False)
        self._drawing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._live.start()
        self._drawing = asyncio.create_task(self._draw(), name="live view")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.cancel()
            await asyncio.gather(self._drawing, return_exceptions=True)
        self._live.stop()

    def tell(self, chapter: Any) -> None:
        """Show a chapter of the story."""
        self._chapters.append(chapter)

    def end(self) -> None:
        """Say that the story is told."""
        self._is_over = True

    async def _draw(self) -> None:
        while True:
            with suppress(psycopg.OperationalError):
                self._live.update(self._render(await self._read()))
            await asyncio.sleep(_REFRESH_SECONDS)

    def _render(self, report: Report) -> Group:
        footer = Text.assemble(
            ("CRM page  ", "bold"), f"{self._environment.simulator_url}", ("     Ctrl-C drains and ends", "dim")
        )
        return Group(
            Panel(self._story(), title="what the app does", title_align="left", border_style="cyan"),
            Columns([_numbers(report, self._pipeline), _operations(report)], padding=(0, 4)),
            footer,
        )

    def _story(self) -> Group:
        lines: list[Text] = []
        for n, chapter in enumerate(self._chapters):
            newest = n == len(self._chapters) - 1 and not self._is_over
            lines.append(
                Text.assemble(
                    (f"{chapter.title}  ", "bold" if newest else "dim"), (chapter.narration, "" if newest else "dim")
                )
            )
        if not lines:
            lines.append(Text("first the backfill: everybody in the view goes to the CRM", style="dim"))
        if self._is_over:
            lines.append(Text("The story is told. Change something yourself, or press Ctrl-C.", style="bold"))
        return Group(*lines)


def _numbers(report: Report, pipeline: Pipeline) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    saved = 1 - report.credits / report.naive_credits if report.naive_credits else 0.0
    latency = report.latency_ms
    capture = pipeline.capture
    for name, value in (
        ("capture", capture.stats.state if capture else "-"),
        ("changes captured", str(report.changes_captured)),
        ("keys marked dirty", str(capture.stats.keys if capture else 0)),
        ("credits spent", str(report.credits)),
        ("one call per change", f"{report.naive_credits}  ({saved:.0%} saved)"),
        ("slot lag", megabytes(report.lag_bytes)),
        ("commit to CRM, p50 / p99", f"{_ms(latency['p50'])} / {_ms(latency['p99'])}"),
        ("parked", str(report.parked)),
    ):
        table.add_row(name, value)
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _operations(report: Report) -> Table:
    table = Table("feed", "outcome", "operations", box=None, pad_edge=False, header_style="bold")
    for feed, outcomes in report.operations.items():
        for n, (outcome, count) in enumerate(outcomes.items()):
            table.add_row(feed if n == 0 else "", outcome, str(count), style="red" if outcome == "parked" else "")
        if not outcomes:
            table.add_row(feed, "-", "0", style="dim")
    return table
