"""The application to capture from, one for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.capture import TRANSPORTS, Source
from tests.support.postgres import Database


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Source:
    return await Source.make(database, tmp_path)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)
