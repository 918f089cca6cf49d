"""`cdc keys`: the keys of CDC_ENCRYPTION_KEY, what stands under them, and changing them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cdc.cli.audit import note
from cdc.cli.envfile import changed, write
from cdc.cli.start import EXIT_DEGRADED, begin_with_settings, configured_source
from cdc.connection import connect
from cdc.errors import ConfigError, StateError
from cdc.settings import Settings, describe
from cdc.state.database import pending_migrations
from cdc.state.envelope import Key, Keyring
from cdc.state.secrets import Sealed, rotate, sealed_values

app = typer.Typer(help="The keys that protect what is stored: list, new, rotate.", no_args_is_help=True)


@app.command("new")
def new() -> None:
    """Print a fresh key. It is stored nowhere."""
    typer.echo(Key.new().text())


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """List the keys by id, and what is encrypted with each. Exits with 3 if something needs a key that isn't set."""
    settings = begin_with_settings()
    keyring = _keyring(settings)
    values = asyncio.run(_sealed(_state_dsn(settings)))
    _print(keyring, values, as_json=as_json)
    if any(value.key not in keyring.ids for value in values):
        sys.exit(EXIT_DEGRADED)


@app.command("rotate")
def change(
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A file with the new key, in place of a made one.")
    ] = None,
) -> None:
    """Change the key. With one key set: put a new one in front of it. With several: encrypt all with the first."""
    settings = begin_with_settings()
    keyring = _keyring(settings)
    talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if len(keyring.ids) == 1:
        _put_in_front(settings, key_file, talk)
        return
    if key_file is not None:
        raise ConfigError(
            "CDC_ENCRYPTION_KEY holds several keys: a rotation is under way",
            fix="finish it with `cdc keys rotate` and take the old key out, then begin another",
        )
    moved, values = asyncio.run(_rotate(_state_dsn(settings), keyring))
    talk.print(f"{moved} value(s) encrypted anew, with key {keyring.ids[0]}")
    _print(keyring, values, as_json=False)
    talk.print(
        f"nothing stands under {', '.join(keyring.ids[1:])} any more. Take it out of CDC_ENCRYPTION_KEY once every "
        "process has been started with both; `cdc keys list` says whether anything has come back under it."
    )


def _put_in_front(settings: Settings, key_file: Path | None, talk: Console) -> None:
    """Begin a rotation. Nothing is encrypted with the new key before every process can have it."""
    origin = next(origin for name, _, origin in describe(settings) if name == "CDC_ENCRYPTION_KEY")
    if origin != ".env":
        raise ConfigError(
            "CDC_ENCRYPTION_KEY comes from the environment and holds one key",
            fix='there, put a new one (`cdc keys new`) in front: CDC_ENCRYPTION_KEY="<new>,<old>". Start every process '
            "again with both, then run `cdc keys rotate`",
        )
    key = _read_key(key_file) if key_file else Key.new()
    old = settings.cdc_encryption_key.get_secret_value() if settings.cdc_encryption_key else ""
    if key.id in Keyring.parse(old).ids:
        raise ConfigError(f"the new key {key.id} is the one that is set", fix="make another with `cdc keys new`")
    path = Path(".env")
    write(path, changed(path.read_text(encoding="utf-8"), {"CDC_ENCRYPTION_KEY": f"{key.text()},{old.strip()}"}))
    talk.print(f"key {key.id} stands in front in .env, and the old one behind it. Nothing is encrypted with it yet.")
    talk.print("Start every process again, so that it has both; then run `cdc keys rotate` once more.")


def _read_key(path: Path) -> Key:
    try:
        return Key.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path} can't be read as a key", fix="write one into it: cdc keys new > FILE") from None


def _keyring(settings: Settings) -> Keyring:
    if settings.cdc_encryption_key is None:
        raise ConfigError("CDC_ENCRYPTION_KEY is not set", fix="make one with `cdc keys new`, and keep it")
    return Keyring.parse(settings.cdc_encryption_key.get_secret_value())


def _state_dsn(settings: Settings) -> str:
    source = configured_source(settings)
    return settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else source


async def _sealed(state_dsn: str) -> list[Sealed]:
    conn = await connect(state_dsn, purpose="cli")
    try:
        return await sealed_values(conn)
    finally:
        await conn.close()


async def _rotate(state_dsn: str, keyring: Keyring) -> tuple[int, list[Sealed]]:
    conn = await connect(state_dsn, purpose="cli")
    try:
        if await pending_migrations(conn):
            raise StateError("the cdc schema is not there, or older than this program", fix="run `cdc setup`")
        async with conn.transaction():
            moved = await rotate(conn, keyring)
            await note(conn, "keys.rotate", f"to key {keyring.ids[0]}", count=len(moved))
        return len(moved), await sealed_values(conn)
    finally:
        await conn.close()


def _print(keyring: Keyring, values: list[Sealed], *, as_json: bool) -> None:
    under: dict[str, list[str]] = {key: [] for key in keyring.ids}
    for value in values:
        name = f"{value.place.table}.{value.place.column} of {value.place.row}"
        under.setdefault(value.key or "unreadable", []).append(name)
    uses = {key: _use(keyring, key) for key in under}
    if as_json:
        typer.echo(json.dumps({key: {"use": uses[key], "encrypts": names} for key, names in under.items()}, indent=2))
        return
    table = Table("key", "use", "what stands under it", box=None, pad_edge=False, header_style="bold")
    for key, names in under.items():
        table.add_row(key, uses[key], ", ".join(names) or "nothing")
    Console(highlight=False, soft_wrap=True, markup=False).print(table)


def _use(keyring: Keyring, key: str) -> str:
    if key not in keyring.ids:
        return "missing"
    return "encrypts" if key == keyring.ids[0] else "decrypts"
