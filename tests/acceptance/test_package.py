"""The wheel, and the demo away from the checkout and for an account without rights."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import cdc as package
from tests.acceptance.processes import Cdc

CHECKOUT = Path(package.__file__).parents[1]
DEPENDENCIES = Path(site.getsitepackages()[0])
FOR_DEVELOPERS = (
    "mypy*",
    "*mypyc*",
    "pip*",
    "hypothesis*",
    "setuptools*",
    "ruff*",
    "grimp*",
    "_pytest",
    "__pycache__",
    "cdc",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-acceptance-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_the_wheel_holds_what_is_no_code(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    files = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "sql").rglob("*") if path.is_file()}
    assert {f"cdc/{file}" for file in files} <= names
    folders = ("sinks/simulator/templates", "cdc/web/templates", "cdc/web/static")
    shown = {
        path.relative_to(CHECKOUT).as_posix()
        for folder in folders
        for path in CHECKOUT.glob(f"{folder}/**/*")
        if path.is_file()
    }
    assert {folder for folder in folders if any(name.startswith(folder) for name in shown)} == set(folders)
    assert shown | {"cdc/py.typed", "sinks/py.typed"} <= names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_an_installed_wheel_runs_the_demo_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    (packages,) = home.glob("lib/python*/site-packages")
    # Dependencies come from the project's environment; the .pth files in there, the checkout's own, aren't followed.
    (packages / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = subprocess.run(
        [python, "-c", "import cdc, sinks; print(cdc.__file__, sinks.__file__)"],
        cwd=elsewhere, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(CHECKOUT) not in where

    result = Cdc(elsewhere, program=home / "bin" / "cdc")("run", "--demo", "--until-idle", "--json")

    assert result.code == 0, result.err
    assert result.json["parked"] == 0
    assert result.json["contacts"] > 0
    assert str(CHECKOUT) not in result.text


def test_the_demo_runs_for_an_ordinary_account(wheel: Path, open_folder: Path) -> None:
    """As root the demo is run by `nobody`, with an interpreter and packages where that account can read them."""
    command = Cdc(open_folder)
    if os.geteuid() == 0:
        command = Cdc(open_folder, program=_portable_program(open_folder, wheel), account="nobody")

    result = command("run", "--demo", "--until-idle", "--json")

    assert result.code == 0, result.err
    assert result.json["parked"] == 0


def _portable_program(folder: Path, wheel: Path) -> Path:
    """Copy the interpreter and the packages, which may lie below a home that is closed, and unpack the wheel."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = folder / "python" / "lib"
    shutil.copytree(
        base / "lib" / version, library / version,
        ignore=shutil.ignore_patterns("site-packages", "dist-packages", "test", "idlelib", "__pycache__", "config-*"),
    )  # fmt: skip
    for shared in (base / "lib").glob("libpython*.so*"):
        shutil.copy(shared, library)
    interpreter = folder / "python" / "bin" / version
    interpreter.parent.mkdir()
    shutil.copy(Path(sys.executable).resolve(), interpreter)
    packages = library / version / "site-packages"
    shutil.copytree(DEPENDENCIES, packages, symlinks=True, ignore=shutil.ignore_patterns(*FOR_DEVELOPERS))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    program = folder / "cdc"
    program.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={library} PYTHONHOME={folder / 'python'} PYTHONDONTWRITEBYTECODE=1\n"
        f"exec {interpreter} -P -c 'from cdc.cli import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    return program
