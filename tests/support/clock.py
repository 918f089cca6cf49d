"""A clock that jumps, for processes that we start: libfaketime, which Debian has, in front of the system's clock."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.debian import require, unpacked

_INSTALLED = ("/usr/lib", "/usr/local/lib")


@dataclass(frozen=True)
class WallClock:
    """The time of day of the processes that run in `environment`; clocks that only measure go on as they are.

    Attributes:
        environment: what makes a process see it.
    """

    file: Path
    environment: dict[str, str]

    def jump_to(self, hours: float) -> None:
        """Let it be so many hours from now, for all of them and at once."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{hours * 3600:+.0f}\n")
        fresh.chmod(0o644)
        fresh.replace(self.file)  # never half written


@contextmanager
def wall_clock() -> Iterator[WallClock]:
    """Make a clock that is right at first; every account may look at it."""
    places = [Path(place) for place in _INSTALLED]
    found = next((lib for place in places for lib in place.rglob("libfaketimeMT.so.1")), None)
    if found is None:
        folder = unpacked("libfaketime")
        found = next(folder.rglob("libfaketimeMT.so.1"), None) if folder is not None else None
    require(found, "libfaketime")
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="cdc-clock-", dir="/tmp"))
    folder.chmod(0o755)
    library = Path(shutil.copy(found, folder))
    library.chmod(0o755)
    clock = WallClock(
        folder / "now",
        {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(folder / "now"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    clock.jump_to(0)
    try:
        yield clock
    finally:
        shutil.rmtree(folder, ignore_errors=True)
