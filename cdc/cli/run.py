"""`cdc run` and `cdc worker`: the pipeline."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from starlette.routing import BaseRoute

from cdc.cli.dashboard import dashboard_routes
from cdc.cli.live import LiveView, Notices, Picture
from cdc.cli.start import EXIT_DEGRADED, begin, configured_source, run_until_signalled
from cdc.cli.wording import summary
from cdc.connection import connect
from cdc.embedded.story import Chapter, chapters, play
from cdc.errors import ConfigError, SourceUnavailable
from cdc.logging import LEVELS, configure_logging
from cdc.routing.feeds import Profile
from cdc.runtime.connections import Connections, open_connections
from cdc.runtime.environment import Environment, prepare
from cdc.runtime.limits import credit_limit
from cdc.runtime.lookout import make_lookout
from cdc.runtime.pipeline import Pipeline
from cdc.runtime.preparation import apply_plan, make_plan, refuse_unasked
from cdc.runtime.report import Report, make_report
from cdc.runtime.signin import refuse_without_sign_in
from cdc.settings import Settings, secrets_in
from cdc.source.poolers import check_sessions, refuse_transaction_pooler
from cdc.source.preflight import TransportName
from cdc.state.database import pending_migrations
from cdc.waiting import unless
from cdc.watch.status import read_status
from cdc.web.access import Access
from cdc.web.api import Api
from cdc.web.metrics import Metrics
from cdc.web.server import receiving
from cdc.web.sharing import StatusFeed

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
    if settings.database_url is None and settings.cdc_http_port is None and not (until_idle or settings.is_http_public):
        settings = settings.model_copy(update={"cdc_http_port": 0})  # somebody tries it out: they want to see it
    # What is embedded takes its time to end, and nobody kills a demo.
    limit = None if settings.database_url is None else settings.cdc_drain_seconds
    run_until_signalled(
        lambda stop: _Run(settings, profile, demo, until_idle, as_json).main(stop, simulator_port), drain_seconds=limit
    )


def worker() -> None:
    """Deliver only: any number of these, on any number of machines, over the same outbox."""
    settings, profile = begin()
    configured_source(settings)
    if not settings.has_crm:
        raise ConfigError("a worker needs a CRM", fix="set ZOHO_CLIENT_ID and ZOHO_CLIENT_SECRET, and sign in")
    run_until_signalled(lambda stop: _work(settings, profile, stop), drain_seconds=settings.cdc_drain_seconds)


async def _work(settings: Settings, profile: Profile, stop: asyncio.Event) -> int:
    addresses = {"DATABASE_URL": configured_source(settings)}
    if settings.cdc_state_dsn is not None:
        addresses["CDC_STATE_DSN"] = settings.cdc_state_dsn.get_secret_value()
    for setting, dsn in addresses.items():  # before anybody is called
        refuse_transaction_pooler(dsn, setting)
    for setting, dsn in addresses.items():
        await check_sessions(dsn, setting)
    async with prepare(settings, profile) as environment:
        await _refuse_older(environment.state_dsn)
        async with open_connections(environment) as connections:
            await Pipeline(environment, settings, profile, connections, transport=None).run(stop)
    return 0


async def _refuse_older(state_dsn: str) -> None:
    conn = await connect(state_dsn, purpose="setup")
    try:
        if await pending_migrations(conn):
            raise ConfigError("the cdc schema is not there, or older than this program", fix="run `cdc setup`")
    finally:
        await conn.close()


class _Run:
    """One `cdc run`."""

    def __init__(self, settings: Settings, profile: Profile, demo: bool, until_idle: bool, as_json: bool) -> None:
        self._settings = settings
        self._profile = profile
        self._demo = demo
        self._until_idle = until_idle
        self._as_json = as_json
        self._talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

    async def main(self, stop: asyncio.Event, simulator_port: int) -> int:
        async with prepare(
            self._settings, self._profile, demo=self._demo, simulator_port=simulator_port
        ) as environment:
            for line in environment.banner():
                self._say(line)
            transport = await unless(stop, self._set_up(environment))
            if transport is None:
                return 0
            async with open_connections(environment) as connections, self._serve(environment, connections) as page:
                pipeline = Pipeline(environment, self._settings, self._profile, connections, transport=transport)
                await self._run(pipeline, environment, connections, stop, page)
                try:
                    report = await self._report(pipeline, connections)
                except psycopg.OperationalError:
                    raise SourceUnavailable(
                        "the database is away, so there is no summary; nothing is lost",
                        fix="start again once it is back",
                    ) from None
        return self._conclude(report)

    @asynccontextmanager
    async def _serve(self, environment: Environment, connections: Connections) -> AsyncIterator[str | None]:
        """Serve HTTP, if that is wanted; gives where the dashboard is to be opened, if it is on."""
        settings, access = self._settings, Access.configured(self._settings, environment.encryption_key)
        status = StatusFeed.of(connections, settings)
        look = make_lookout(environment, settings, connections).look
        metrics = Metrics(look, connections.meters.registry, secrets_in(settings.cdc_metrics_tokens))
        async with AsyncExitStack() as stack:
            routes: list[BaseRoute] = [*Api(status, connections.state).routes()]
            if access is not None and settings.cdc_http_port is not None:
                routes += await stack.enter_async_context(
                    dashboard_routes(settings, self._profile, connections, status)
                )
            url = await stack.enter_async_context(
                receiving(
                    settings,
                    self._profile,
                    connections.state,
                    status=status,
                    metrics=metrics,
                    access=access,
                    routes=routes,
                )
            )
            page = f"{url}{access.start_path}" if url is not None and access is not None else None
            if page is not None:
                self._say(f"dashboard {page}")
            yield page

    async def _set_up(self, environment: Environment) -> TransportName:
        plan = await make_plan(
            environment.source_dsn, environment.state_dsn, self._settings, self._profile, tolerant=True
        )
        self._say(f"transport {plan.readiness.transport}: {plan.readiness.why}")
        for note in plan.readiness.notes:
            self._say(f"note: {note}")
        refuse_unasked(plan)
        await refuse_without_sign_in(environment.zoho, environment.state_dsn)
        if plan.stranger:
            self._say("the database is another cluster than before, so nothing is set up there until a person decides")
        conn = await connect(environment.source_dsn, purpose="setup")
        try:
            await apply_plan(conn, environment.state_dsn, plan)
        finally:
            await conn.close()
        return plan.readiness.transport

    async def _run(
        self,
        pipeline: Pipeline,
        environment: Environment,
        connections: Connections,
        stop: asyncio.Event,
        dashboard: str | None,
    ) -> None:
        """Run the pipeline with what goes on beside it: the story, the live view, the watch for idleness."""
        async with AsyncExitStack() as stack:
            view = await self._show(stack, pipeline, environment, connections, stop, dashboard)
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

    async def _show(
        self,
        stack: AsyncExitStack,
        pipeline: Pipeline,
        environment: Environment,
        connections: Connections,
        stop: asyncio.Event,
        dashboard: str | None,
    ) -> LiveView | None:
        """Open the live view where somebody looks: on a terminal, unless a form of log was asked for."""
        at_terminal = sys.stdout.isatty() and sys.stderr.isatty() and self._settings.cdc_log == "auto"
        if self._until_idle or self._as_json or not at_terminal:
            return None
        notices = Notices()
        configure_logging("text", level=max(logging.WARNING, LEVELS[self._settings.cdc_log_level]), stream=notices)
        picture = Picture(
            page=environment.simulator_url,
            dashboard=dashboard,
            chapter_count=len(chapters(self._profile.name)) if self._demo else 0,
        )

        async def read(picture: Picture) -> None:
            picture.is_draining = stop.is_set()
            if pipeline.capture is not None:
                picture.capture, picture.keys = pipeline.capture.stats.state, pipeline.capture.stats.keys
            picture.report = await self._report(pipeline, connections)

        return await stack.enter_async_context(LiveView(picture, read, notices))

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

    def _say(self, line: str) -> None:
        self._talk.print(f"cdc: {line}")

    def _tell(self, chapter: Chapter) -> None:
        self._say(f"{chapter.title}: {chapter.narration}")

    def _end(self) -> None:
        self._say("the story is told; the pipeline goes on until Ctrl-C")

    async def _report(self, pipeline: Pipeline, connections: Connections) -> Report:
        await connections.credits.flush()
        async with connections.source.connection() as source, connections.state.connection() as state:
            status = await read_status(
                source, state, self._settings.cdc_slot, credit_limit=credit_limit(self._settings)
            )
        return make_report(pipeline, self._profile, status)

    def _conclude(self, report: Report) -> int:
        for line in summary(report):
            self._say(line)
        if self._as_json:
            typer.echo(json.dumps(report.as_json()))
        left_over = report.dirty and not self._settings.zoho_sync_enabled
        return EXIT_DEGRADED if self._until_idle and (report.is_degraded or left_over) else 0
