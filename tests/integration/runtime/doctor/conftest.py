"""A patient: an application that is set up, with an environment of its own, and a hand that does what a fix says."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from cdc.connection import connect
from cdc.resources import sql_dir
from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.doctor.examination import Examination
from cdc.runtime.doctor.finding import Finding, Level
from cdc.runtime.doctor.running import choose, examine
from cdc.settings import Settings, salvage_settings, unknown_variables
from cdc.source.setup import plan_setup
from cdc.source.statements import run_setup
from cdc.state.database import migrate
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.server import RunningSimulator, start_simulator
from tests.support.capture import FEEDS, SCHEMA, write_profile
from tests.support.cli import app
from tests.support.postgres import Database, fresh_database

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SHOP = FEEDS.replace('key = "person_id"', 'key = "person_id"\nexternal_id = "External_ID"').replace(
    'key = "item_id"', 'key = "item_id"\nexternal_id = "Event_ID"'
)
PUBLICATION = "doctor"
ROLE_PASSWORD = "rol3-p4ssword"
_EXPORT = re.compile(r"export (\w+)=")


@dataclass
class Patient:
    """What is examined, and mended as the findings say.

    Attributes:
        examined: settings of the examination that the environment doesn't hold, such as its clock.
    """

    database: Database
    environment: pytest.MonkeyPatch
    examined: dict[str, Any] = field(default_factory=dict)

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self.environment.setenv(name, value)

    async def findings(self, *checks: str, on_request: bool = False) -> list[Finding]:
        settings, refusals = salvage_settings()
        examination = Examination(settings, refusals, unknown_variables(), **self.examined)
        return [f async for f in examine(choose(checks, on_request=on_request), examination)]

    async def see(self, check: str, *, on_request: bool = False) -> list[Finding]:
        """What one check finds; its needs are looked at as well."""
        return [f for f in await self.findings(check, on_request=on_request) if f.check == check]

    async def is_well(self, check: str) -> bool:
        """Tell whether a check finds nothing."""
        return [f.level for f in await self.see(check)] == [Level.OK]

    async def mend(self, fix: str) -> None:
        """Do what a fix says: shell lines change the environment, `cdc` is run, the rest is SQL."""
        for line in fix.splitlines():
            words = line.strip()
            if exported := _EXPORT.match(words):
                self.environment.setenv(exported[1], await asyncio.to_thread(_evaluate, words, exported[1]))
            elif words.startswith("unset "):
                self.environment.delenv(shlex.split(words, comments=True)[1])
            elif words.startswith("cdc "):
                await self.command(*shlex.split(words, comments=True)[1:])
            else:
                self.database.execute(words)

    async def command(self, *arguments: str) -> None:
        """Run a command in a thread, since it has a loop of its own."""
        logging_before = structlog.get_config()
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, input="y\n")
        structlog.configure(**logging_before)  # the runner's stderr is closed
        assert done.exit_code == 0, f"cdc {' '.join(arguments)}: {done.output} {done.exception}"

    def as_role(self) -> str:
        """Let the doctor come as a role that owns nothing, with all that capture needs; it has the database's name."""
        name = sql.Identifier(self.database.name)
        with self.database.connect() as conn:
            conn.execute(sql.SQL("create role {} login replication bypassrls password {}").format(name, ROLE_PASSWORD))
            conn.execute(sql.SQL("grant create on database {} to {}").format(name, name))
            conn.execute(sql.SQL("grant usage on schema cdc to {}").format(name))
            for schema in ("public", "cdc"):
                conn.execute(
                    sql.SQL("grant select on all tables in schema {} to {}").format(sql.Identifier(schema), name)
                )
        self.set(DATABASE_URL=make_conninfo(self.database.dsn, user=self.database.name, password=ROLE_PASSWORD))
        return self.database.name


def _evaluate(line: str, name: str) -> str:
    """Let a shell read a line, and give the variable that it sets."""
    script = f'{line}\nprintf %s "${name}"'
    return subprocess.run(["/bin/bash", "-ec", script], capture_output=True, text=True, check=True).stdout


def _template(made: Database, profile: Profile) -> None:
    """Set an application up, but for the slot, which belongs to a database and isn't copied with it."""

    async def set_up() -> None:
        await migrate(made.dsn)
        conn = await connect(made.dsn, purpose="test")
        try:
            await run_setup(conn, await plan_setup(conn, profile, publication=PUBLICATION, slot=None))
        finally:
            await conn.close()

    asyncio.run(set_up())


@pytest.fixture(scope="session")
def shop(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The small application, set up."""
    with fresh_database(postgres_dsn) as made:
        made.execute(SCHEMA)
        _template(made, write_profile(tmp_path_factory.mktemp("template") / "shop", SHOP))
        yield made


@pytest.fixture(scope="session")
def school(postgres_dsn: str) -> Iterator[Database]:
    """The tables of profile `core`, set up."""
    with fresh_database(postgres_dsn) as made:
        made.execute((sql_dir() / "profiles" / "core" / "schema.sql").read_text(encoding="utf-8"))
        _template(made, load_profile("core"))
        yield made


@contextmanager
def _patient(database: Database, environment: pytest.MonkeyPatch, folder: Path) -> Iterator[Patient]:
    for name in Settings.model_fields:
        environment.delenv(name.upper(), raising=False)
    environment.chdir(folder)
    write_profile(folder / "shop", SHOP)
    patient = Patient(database, environment)
    patient.set(
        DATABASE_URL=database.dsn, CDC_ENCRYPTION_KEY=KEY, CDC_PROFILE=str(folder / "shop"), CDC_SLOT=database.name,
        CDC_PUBLICATION=PUBLICATION, CDC_ALERT_SLACK_URL="https://hooks.slack.example/services/T/B/x",
    )  # fmt: skip
    yield patient
    with database.connect() as conn:
        if conn.execute("select 1 from pg_roles where rolname = %s", [database.name]).fetchone():
            name = sql.Identifier(database.name)
            conn.execute(sql.SQL("reassign owned by {0} to current_user").format(name))
            conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))


@pytest.fixture
def bare(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Patient]:
    """An application that nobody has set up yet."""
    database.execute(SCHEMA)
    with _patient(database, monkeypatch, tmp_path) as patient:
        yield patient


@pytest.fixture
def patient(postgres_dsn: str, shop: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Patient]:
    """The same after `cdc setup`."""
    with (
        fresh_database(postgres_dsn, shop.name) as database,
        _patient(database, monkeypatch, tmp_path) as patient,
    ):
        database.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [database.name])
        yield patient


@pytest.fixture
async def crm() -> AsyncIterator[RunningSimulator]:
    """A CRM with the fields of profile `core`."""
    async with await start_simulator(SimulatorConfig()) as simulator:
        yield simulator


def point_at(patient: Patient, crm: RunningSimulator) -> None:
    """Configure a CRM."""
    patient.set(
        ZOHO_CLIENT_ID=crm.client_id, ZOHO_CLIENT_SECRET=crm.client_secret, ZOHO_REFRESH_TOKEN=crm.refresh_token,
        ZOHO_ACCOUNTS_URL=crm.url, ZOHO_API_DOMAIN=crm.url, ZOHO_UPLOAD_URL=crm.url,
    )  # fmt: skip


@pytest.fixture
def customer(
    postgres_dsn: str, school: Database, crm: RunningSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Patient]:
    """Profile `core`, set up, with a CRM; nobody has made its slot."""
    with (
        fresh_database(postgres_dsn, school.name) as database,
        _patient(database, monkeypatch, tmp_path) as patient,
    ):
        point_at(patient, crm)
        patient.set(CDC_PROFILE="core")
        yield patient
