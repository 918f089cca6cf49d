"""A pipeline, a CRM, and sixty people in both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.postgres import Database
from tests.support.reconciling import Ground


@pytest.fixture
async def ground(database: Database, tmp_path: Path) -> AsyncIterator[Ground]:
    async with Ground.open(database, tmp_path) as made:
        yield made
