"""Fixtures of the acceptance tests: the command, a database with the sample people, a CRM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import ENCRYPTION_KEY, Cdc, Crm, simulator, url_of
from tests.support.postgres import Database, fresh_database


@pytest.fixture
def cdc(tmp_path: Path) -> Cdc:
    """The command with nothing configured, in an empty folder."""
    return Cdc(tmp_path)


@pytest.fixture(scope="session")
def shared_crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    with simulator(Cdc(tmp_path_factory.mktemp("crm"))) as made:
        yield made


@pytest.fixture
def crm(shared_crm: Crm) -> Crm:
    """A simulator with the custom fields that the profiles need, and nothing in it."""
    shared_crm.reset()
    return shared_crm


@pytest.fixture(scope="session")
def template(postgres_dsn: str) -> Iterator[Database]:
    """A database with the tables of profile `core` and its sample people; no views, no slot, no cdc schema."""
    with fresh_database(postgres_dsn) as made:
        made.apply_profile("core", sample=True)
        made.execute("drop schema if exists cdc cascade")
        yield made


@pytest.fixture
def source(postgres_dsn: str, template: Database) -> Iterator[Database]:
    """A copy of the template."""
    with fresh_database(postgres_dsn, template.name) as made:
        yield made


@pytest.fixture
def configured(cdc: Cdc, source: Database, crm: Crm) -> Cdc:
    """The command, pointed at `source` and `crm`."""
    slot = f"s_{source.name}"
    return cdc.using(
        crm.environment, DATABASE_URL=url_of(source.dsn), CDC_ENCRYPTION_KEY=ENCRYPTION_KEY, CDC_SLOT=slot,
        CDC_ROLLUP_SECONDS="1", CDC_DAILY_SECONDS="60",
    )  # fmt: skip


@pytest.fixture
def elsewhere(postgres_dsn: str) -> Iterator[Database]:
    """Another database, empty, for the state."""
    with fresh_database(postgres_dsn) as made:
        yield made
