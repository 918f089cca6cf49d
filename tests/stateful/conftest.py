"""The ground that all examples of the machine stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stateful.ground import Ground, made_ground


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    with made_ground(tmp_path, monkeypatch) as made:
        yield made
