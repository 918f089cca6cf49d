"""`cdc login`: let a person sign in to the CRM, so that no refresh token has to be made by hand."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from cdc.cli.signing import LIMIT_NOTE, SignedIn, Way, proof, sign_in
from cdc.cli.start import begin_with_settings, configured_source
from cdc.errors import ConfigError
from cdc.runtime.environment import configured_account
from cdc.runtime.signin import require_state, store_sign_in
from cdc.settings import Settings
from cdc.state.envelope import Keyring
from cdc.web.redirect import REDIRECT_PORT
from sinks.zoho.config import DATA_CENTERS, ZohoConfig
from sinks.zoho.scopes import CREATE_FIELDS, SCOPES

app = typer.Typer(help="Sign in to the CRM.", no_args_is_help=True)


@app.callback()
def login() -> None:
    """Sign in to the CRM."""


@app.command()
def zoho(
    device: Annotated[
        bool, typer.Option("--device", help="Show a code that is typed in on any device. Client type: Non-browser.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Let a browser come back to this machine. Client type: Server-based.")
    ] = False,
    code: Annotated[
        bool, typer.Option("--code", help="Ask for a code made by hand in the API console. Client type: Self client.")
    ] = False,
    data_center: Annotated[
        str | None,
        typer.Option("--data-center", help="Where the account lives: US, EU, IN, AU, CN, JP, CA, SA, UK, AE."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where the browser comes back to; part of the redirect URI.")
    ] = REDIRECT_PORT,
    without_fields: Annotated[
        bool, typer.Option("--without-fields", help="Leave out the scope that makes custom fields.")
    ] = False,
) -> None:
    """Sign in to Zoho CRM and store the tokens, encrypted, where every process of the pipeline finds them."""
    settings = begin_with_settings()
    state_dsn = _state_dsn(settings)
    keyring = Keyring.parse(settings.cdc_encryption_key.get_secret_value() if settings.cdc_encryption_key else "")
    asyncio.run(require_state(state_dsn, keyring))
    talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    way = _way(device=device, browser=browser, code=code)
    account = _account(settings, data_center)
    asked = SCOPES if without_fields else (*SCOPES, CREATE_FIELDS)
    pasted = _pasted(talk, asked) if way is Way.CODE else ""
    signed_in = asyncio.run(sign_in(account, way, asked, talk, port=port, code=pasted))
    configured = settings.zoho_refresh_token.get_secret_value() if settings.zoho_refresh_token else ""
    asyncio.run(store_sign_in(state_dsn, keyring, signed_in.record, configured=configured))
    for line in proof(signed_in, asked):
        typer.echo(line)
    talk.print("signed in; the tokens are in cdc.zoho_tokens, encrypted. A `cdc run` that waits goes on by itself.")
    for line in _remarks(settings, signed_in):
        talk.print(line)


def _state_dsn(settings: Settings) -> str:
    source = configured_source(settings)
    return settings.cdc_state_dsn.get_secret_value() if settings.cdc_state_dsn else source


def _way(*, device: bool, browser: bool, code: bool) -> Way:
    chosen = [way for way, is_chosen in ((Way.DEVICE, device), (Way.BROWSER, browser), (Way.CODE, code)) if is_chosen]
    if len(chosen) > 1:
        raise ConfigError("one way to sign in at a time", fix="give one of --device, --browser and --code")
    return chosen[0] if chosen else Way.DEVICE


def _account(settings: Settings, data_center: str | None) -> ZohoConfig:
    """Take the client from the settings, or ask for it; a secret is never shown."""
    account = replace(configured_account(settings), refresh_token="")
    if not settings.has_crm:
        _need_terminal("ZOHO_CLIENT_ID is not set", "set ZOHO_CLIENT_ID and ZOHO_CLIENT_SECRET")
        client_id = typer.prompt("Client id", err=True).strip()
        secret = typer.prompt("Client secret (not shown)", err=True, hide_input=True).strip()
        account = replace(account, client_id=client_id, client_secret=secret)
    if data_center is None:
        if "zoho_data_center" not in settings.model_fields_set and sys.stdin.isatty():
            data_center = typer.prompt("Data centre", default=account.data_center, err=True)
        else:
            return account
    name = data_center.strip().upper()
    if name not in DATA_CENTERS:
        raise ConfigError(f"no data centre {name!r}", fix=f"one of {', '.join(DATA_CENTERS)}")
    return account.moved_to(name)


def _pasted(talk: Console, asked: tuple[str, ...]) -> str:
    talk.print("\nIn the API console of your data centre, Self Client, Generate Code, with this scope:\n")
    talk.print(",".join(asked))
    talk.print("\nThe code works once, and for the minutes that you choose there.")
    if sys.stdin.isatty():
        return str(typer.prompt("Code (not shown)", err=True, hide_input=True))
    return sys.stdin.readline()


def _need_terminal(what: str, fix: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(f"{what}, and there is nobody to ask", fix=fix)


def _remarks(settings: Settings, signed_in: SignedIn) -> list[str]:
    lines = [LIMIT_NOTE]
    if not settings.has_crm:
        lines.append(f"to do: set ZOHO_CLIENT_ID={signed_in.zoho.client_id}, and ZOHO_CLIENT_SECRET beside it")
    if settings.zoho_refresh_token is not None:
        lines.append(
            "note: ZOHO_REFRESH_TOKEN isn't needed any more; the one that is set now is replaced by this sign-in"
        )
    edition, users = signed_in.organisation.edition, signed_in.organisation.users
    if edition and edition != settings.zoho_edition:
        lines.append(f"to do: ZOHO_EDITION is {settings.zoho_edition}; the organisation's is {edition}")
    if users is not None and users != settings.zoho_users:
        lines.append(f"to do: ZOHO_USERS is {settings.zoho_users}; the organisation has {users}")
    return lines
