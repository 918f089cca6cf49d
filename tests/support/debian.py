"""Programs of Debian that a fault test needs and `make install` can't bring.

Looked for on PATH and in the usual folders; else the package is downloaded (`apt-get download`, no root needed) and
unpacked under `.venv`. Where neither works the test is skipped and says so, or fails where CI says that all must run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_CACHE = Path(__file__).resolve().parents[2] / ".venv" / "debian"
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
_SECONDS = 60


def unpacked(package: str) -> Path | None:
    """Give the folder with a package's files, downloaded if need be; None where that can't be done."""
    folder = _CACHE / package
    if (folder / "usr").is_dir():
        return folder
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for command in (["apt-get", "download", package], ["sh", "-c", "dpkg -x *.deb ."]):
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
    return folder


def program(name: str, package: str, libraries: Sequence[str] = ()) -> tuple[Path, dict[str, str]] | None:
    """Find a program.

    Args:
        name: of the program.
        package: which it is in.
        libraries: packages that it needs beside those that every machine has.

    Returns:
        Its path and what its environment needs; None if it can't be had.
    """
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS]))
    if found is not None:
        return Path(found), {}
    folders = [unpacked(one) for one in (package, *libraries)]
    if None in folders:
        return None
    known = [folder for folder in folders if folder is not None]
    paths = [path for path in known[0].rglob(name) if path.parent.name in ("bin", "sbin")]
    shared = sorted({str(library.parent) for folder in known for library in folder.rglob("*.so.*")})
    return (paths[0], {"LD_LIBRARY_PATH": os.pathsep.join(shared)}) if paths else None


def require(found: object, what: str) -> None:
    """Skip the test without it, and say so; fail where nothing may be left out."""
    if found:
        return
    why = f"{what} isn't installed here and can't be downloaded: what it is there for is NOT tested"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
