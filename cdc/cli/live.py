"""The live view of `cdc run` on a terminal: what is captured, what is sent, and what it costs.

It has the alternate screen to itself, so nothing that is printed can tear it apart: log lines from warning on are shown
in it, and written out in full once it is closed. Its last picture stays on the terminal.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cdc.cli.wording import explain_pause, milliseconds, size, story_outcome
from cdc.embedded.story import Chapter
from cdc.runtime.report import Report

_REFRESH_SECONDS = 0.5
_CHAPTERS_SHOWN = 5
_NOTICES_SHOWN = 3
_ALWAYS = ("created", "updated", "withdrawn", "parked")


class Notices(io.StringIO):
    """Where the log goes while the view is on: kept, and the latest shown."""

    @property
    def lines(self) -> list[str]:
        """Give what was written so far."""
        return self.getvalue().splitlines()


@dataclass(slots=True)
class Picture:
    """Everything the view shows.

    Attributes:
        capture: state of capture.
        keys: marked dirty, counted once for each group of changes.
        report: the numbers; None until they were read once.
        page: address of the simulator's page, if there is one.
        dashboard: address that signs in to the dashboard, if it is on.
        chapters: the story so far, if one is told.
        chapter_count: how many chapters it has.
    """

    capture: str = "starting"
    keys: int = 0
    report: Report | None = None
    page: str | None = None
    dashboard: str | None = None
    chapters: deque[Chapter] = field(default_factory=lambda: deque(maxlen=_CHAPTERS_SHOWN))
    chapter_count: int = 0
    told: int = 0
    is_told: bool = False
    is_draining: bool = False
    notices: Sequence[str] = ()

    def __rich__(self) -> RenderableType:
        """Draw it; 80 columns and 24 rows are enough."""
        parts: list[RenderableType] = [self._header()]
        if self.dashboard is not None:
            parts.append(Text(f"dashboard {self.dashboard}", style="bold", no_wrap=True, overflow="fold"))
        if self.chapter_count:
            title = f"what the app does: {self.told} of {self.chapter_count}"
            parts.append(Panel(self._story(), title=title, title_align="left", border_style="cyan"))
        if self.report is not None:
            parts += [self._numbers(self.report), Text(), operations_table(self.report), *_pauses(self.report)]
        room = 1 if self.report is not None and self.report.pauses else _NOTICES_SHOWN
        parts += [Text(line, style="yellow", no_wrap=True, overflow="ellipsis") for line in self.notices[-room:]]
        return Group(*parts)

    def _header(self) -> Table:
        ending = "draining ..." if self.is_draining else "Ctrl-C drains and ends"
        line = Table.grid(expand=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        page = f"   CRM page {self.page}" if self.page else ""
        line.add_row(Text.assemble(("cdc ", "bold"), self.capture, (page, "bold")), Text(ending, style="dim"))
        return line

    def _story(self) -> RenderableType:
        if not self.told:
            return Text("First the backfill: everybody in the view goes to the CRM.", style="dim")
        rows = Table.grid(padding=(0, 2))
        rows.add_column(no_wrap=True)
        rows.add_column(ratio=1)
        for n, chapter in enumerate(self.chapters):
            if n < len(self.chapters) - 1 or self.is_told:
                rows.add_row(Text(chapter.title, style="dim"), Text(story_outcome(chapter.expects), style="dim"))
            else:
                rows.add_row(Text(chapter.title, style="bold"), Text(chapter.narration))
        if not self.is_told:
            return rows
        return Group(rows, Text("The story is told. Change something yourself, or press Ctrl-C.", style="bold"))

    def _numbers(self, report: Report) -> Table:
        saved = f"{report.saved:.0%}" if report.naive_credits else "-"
        latency = report.latency_ms
        pairs = (
            ("changes captured", str(report.changes_captured), "credits spent", str(report.credits)),
            ("keys marked dirty", str(self.keys), "one call per change", str(report.naive_credits)),
            ("waiting now", str(report.dirty), "saved", saved),
            ("slot lag", size(report.lag_bytes), "commit to CRM, p50", milliseconds(latency["p50"])),
            ("parked", str(report.parked), "p99", milliseconds(latency["p99"])),
        )
        table = Table.grid(padding=(0, 2))
        for n in range(4):
            table.add_column(style="bold" if n % 2 == 0 else "", justify="right" if n % 2 else "left", no_wrap=True)
            if n == 1:
                table.columns[n].min_width = 10
        for pair in pairs:
            table.add_row(*pair)
        return table


def operations_table(report: Report) -> Table:
    """Draw operations by feed and outcome."""
    seen = {outcome for outcomes in report.operations.values() for outcome in outcomes}
    columns = [*_ALWAYS, *sorted(seen - set(_ALWAYS))]
    table = Table("operations", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    for feed, outcomes in report.operations.items():
        cells = [str(outcomes.get(column, 0)) for column in columns]
        table.add_row(feed, *cells, style="red" if outcomes.get("parked") else "")
    return table


def _pauses(report: Report) -> list[Text]:
    return [Text(line, style="yellow") for pause in report.pauses for line in explain_pause(pause)]


class LiveView:
    """Redraws itself until the block ends.

    Args:
        picture: what is known beforehand.
        read: brings the picture up to date.
        notices: takes the log meanwhile.
    """

    def __init__(self, picture: Picture, read: Callable[[Picture], Awaitable[None]], notices: Notices) -> None:
        self._picture = picture
        self._read = read
        self._notices = notices
        self._console = Console()
        self._live = Live(
            picture,
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
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
        self._picture.notices = ()
        self._console.print(self._picture)
        for line in self._notices.lines:
            sys.stderr.write(f"{line}\n")

    def tell(self, chapter: Chapter) -> None:
        """Show a chapter of the story."""
        self._picture.chapters.append(chapter)
        self._picture.told += 1

    def end(self) -> None:
        """Say that the story is told."""
        self._picture.is_told = True

    async def _draw(self) -> None:
        while True:
            with suppress(psycopg.OperationalError):  # the log tells of it
                await self._read(self._picture)
            self._picture.notices = self._notices.lines
            self._live.refresh()
            await asyncio.sleep(_REFRESH_SECONDS)
