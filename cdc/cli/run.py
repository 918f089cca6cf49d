"""`cdc run` and `cdc worker`: the pipeline."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer
from rich.console import Console

from cdc.cli.live import LiveView
from cdc.cli.start import EXIT_DEGRADED, begin, configured_source, run_until_signalled
from cdc.connection import connect
from cdc.embedded.story import play
from cdc.errors import ConfigError
from cdc.routing.feeds import Profile
from cdc.runtime.environment import Environment, prepare
from cdc.runtime.pipeline import Connections, Pipeline, open_connections
from cdc.runtime.preparation import apply_plan, make_plan
from cdc.runtime.report import Report, make_report
from cdc.runtime.status import read_status
from cdc.settings import Settings
from cdc.source.preflight import TransportName

# The demo's lanes: short enough to be watched, unless they are set.
_DEMO_SECONDS = {"cdc_rollup_seconds": 5.0, "cdc_daily_seconds": 60.0}
_DEMO_PACE_SECONDS = 4.0


def run(
    demo: Annotated[
        bool, typer.Option("--demo", help="Play a story on an embedded database and the simulator.")
    ] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Exit once nothing is dirty or in flight; 3 if anything is parked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    simulator_port: Annotated[int, typer.Option(help="Port of the simulator, if one is started.")] = 0,
) -> None:
    """Capture changes and deliver them, until Ctrl-C. What isn't configured is filled by embedded parts."""
    settings, profile = begin()
    if demo:
        unset = {name: value for name, value in _DEMO_SECONDS.items() if name not in settings.model_fields_set}
        settings = settings.model_copy(update=unset)
    run_until_signalled(lambda stop: _Run(settings, profile, demo, until_idle, as_json).main(stop, simulator_port))


def worker() -> None:
    """Deliver only: any number of these, on any number of machines, over the same outbox."""
    settings, profile = begin()
    configured_source(settings)
    if not settings.has_crm:
        raise ConfigError("a worker needs a CRM", fix="set ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET and ZOHO_REFRESH_TOKEN")
    run_until_signalled(lambda stop: _work(settings, profile, stop))


async def _work(settings: Settings, profile: Profile, stop: asyncio.Event) -> int:
    async with prepare(settings, profile) as environment, open_connections(environment) as connections:
        await Pipeline(environment, settings, profile, connections, transport=None).run(stop)
    return 0


class _Run:
    """One `cdc run`."""

    def __init__(self, settings: Settings, profile: Profile, demo: bool, until_idle: bool, as_json: bool) -> None:
        self._settings = settings
        self._profile = profile
        self._demo = demo
        self._until_idle = until_idle
        self._as_json = as_json
        self._talk = Console(stderr=True, highlight=False, soft_wrap=True)

    async def main(self, stop: asyncio.Event, simulator_port: int) -> int:
        async with prepare(
            self._settings, self._profile, demo=self._demo, simulator_port=simulator_port
        ) as environment:
            for line in environment.banner():
                self._talk.print(f"cdc: {line}", markup=False)
            transport = await self._set_up(environment)
            async with open_connections(environment) as connections:
                pipeline = Pipeline(environment, self._settings, self._profile, connections, transport=transport)
                await self._run(pipeline, environment, connections, stop)
                report = await self._report(pipeline, environment, connections)
        return self._conclude(report)

    async def _set_up(self, environment: Environment) -> TransportName:
        plan = await make_plan(environment.source_dsn, environment.state_dsn, self._settings, self._profile)
        self._talk.print(f"cdc: transport {plan.readiness.transport}: {plan.readiness.why}", markup=False)
        conn = await connect(environment.source_dsn, purpose="setup")
        try:
            await apply_plan(conn, environment.state_dsn, plan)
        finally:
            await conn.close()
        return plan.readiness.transport

    async def _run(
        self, pipeline: Pipeline, environment: Environment, connections: Connections, stop: asyncio.Event
    ) -> None:
        """Run the pipeline with what goes on beside it: the story, the live view, the watch for idleness."""
        async with AsyncExitStack() as stack:
            view = None
            if self._shows_live_view:
                view = await stack.enter_async_context(
                    LiveView(environment, lambda: self._report(pipeline, environment, connections), pipeline)
                )
            beside = asyncio.create_task(self._beside(pipeline, environment, view, stop))
            running = asyncio.create_task(pipeline.run(stop))
            try:
                await asyncio.wait({beside, running}, return_when=asyncio.FIRST_COMPLETED)
                if beside.done() and not running.done():
                    beside.result()
                    await running
                running.result()
            finally:
                stop.set()
                beside.cancel()
                await asyncio.gather(beside, running, return_exceptions=True)

    @property
    def _shows_live_view(self) -> bool:
        return self._demo and not self._until_idle and sys.stdout.isatty()

    async def _beside(
        self, pipeline: Pipeline, environment: Environment, view: LiveView | None, stop: asyncio.Event
    ) -> None:
        if self._demo:
            await pipeline.wait_until_idle()  # the backfill; then the story
            await play(
                environment.source_dsn,
                profile=self._profile.name,
                pace_seconds=0.0 if self._until_idle else _DEMO_PACE_SECONDS,
                on_chapter=view.tell if view else self._tell,
                settled=lambda: pipeline.wait_until_idle(urgent_only=True),
            )
            if not self._until_idle:
                (view.end if view else self._end)()
        if self._until_idle:
            await pipeline.wait_until_idle(flush=True)
            stop.set()
        else:
            await stop.wait()

    def _tell(self, chapter: Any) -> None:
        self._talk.print(f"cdc: {chapter.title}: {chapter.narration}", markup=False)

    def _end(self) -> None:
        self._talk.print("cdc: the story is told; the pipeline goes on until Ctrl-C", markup=False)

    async def _report(self, pipeline: Pipeline, environment: Environment, connections: Connections) -> Report:
        await connections.credits.flush()
        async with connections.source.connection() as source, connections.state.connection() as state:
            status = await read_status(source, state, self._settings.cdc_slot)
        return make_report(pipeline, self._profile, status)

    def _conclude(self, report: Report) -> int:
        if self._as_json:
            typer.echo(json.dumps(report.as_json()))
        else:
            for line in summary(report):
                self._talk.print(line, markup=False)
        return EXIT_DEGRADED if self._until_idle and report.parked else 0


def summary(report: Report) -> list[str]:
    """Say in a few lines what a run did."""
    saved = 1 - report.credits / report.naive_credits if report.naive_credits else 0.0
    lines = [f"cdc: {report.changes_captured} row changes captured"]
    lines += [
        f"cdc:   {feed}: " + (", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or "nothing to do")
        for feed, outcomes in report.operations.items()
    ]
    lines.append(
        f"cdc: {report.credits} credits spent; one call per change would have cost {report.naive_credits} "
        f"({saved:.0%} saved)"
    )
    if report.parked:
        lines.append(f"cdc: {report.parked} parked")
    return lines
