"""Both profiles in a database each, made once; every test writes in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.integration.profiles.application import Application
from tests.support.postgres import Database, fresh_database

PROFILES = ("core", "2026")


@pytest.fixture(scope="session")
def profile_databases(postgres_dsn: str) -> Iterator[dict[str, Database]]:
    with ExitStack() as stack:
        made = {name: stack.enter_context(fresh_database(postgres_dsn)) for name in PROFILES}
        for name, database in made.items():
            database.apply_profile(name)
        yield made


@pytest.fixture(params=PROFILES)
def app(request: pytest.FixtureRequest, profile_databases: dict[str, Database]) -> Iterator[Application]:
    profile: str = request.param
    with psycopg.connect(profile_databases[profile].dsn) as connection:
        application = Application(profile, connection)
        if profile == "2026":
            application.organisation = application.insert("organizations", name="Made-up Academy", slug="made-up")
        yield application
        connection.rollback()
