"""The conversation of a sign-in to Zoho, whoever leads it: `cdc login zoho` or `cdc init`."""

from __future__ import annotations

import os
import secrets
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from rich.console import Console

from cdc.errors import CdcError, ConfigError
from cdc.web.redirect import redirect_uri, waiting_for_browser
from sinks.errors import SinkError
from sinks.tokens import TokenRecord
from sinks.zoho.auth import MemoryTokens
from sinks.zoho.client import NoBook
from sinks.zoho.config import ZohoConfig
from sinks.zoho.connect import Organisation, open_client, who_am_i
from sinks.zoho.consent import authorization_url, exchange_code, read_redirect
from sinks.zoho.device import begin_device, wait_for_device
from sinks.zoho.scopes import missing
from sinks.zoho.signin import Granted, SignInRefused, revoke
from sinks.zoho.transport import Transport

REFRESH_TOKENS = 20
"""Refresh tokens that Zoho keeps for one user and client."""

_MOMENT = 5.0


class Way(StrEnum):
    """How a person shows Zoho that they agree."""

    DEVICE = "device"
    BROWSER = "browser"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that was tried out: a call with it went through.

    Attributes:
        zoho: the account, at its data centre.
        record: the tokens, ready to be stored.
        organisation: whose CRM it is.
        scopes: what Zoho says that it may do; empty if it doesn't say.
    """

    zoho: ZohoConfig
    record: TokenRecord
    organisation: Organisation
    scopes: tuple[str, ...]


async def sign_in(
    zoho: ZohoConfig, way: Way, scopes: tuple[str, ...], talk: Console, *, port: int, code: str = ""
) -> SignedIn:
    """Have a person sign in, and see that it works. Nothing is stored.

    Args:
        zoho: client and data centre.
        way: how.
        scopes: what to ask for.
        talk: where the person reads what to do. It never gets to see a token.
        port: where the browser comes back to, for `Way.BROWSER`.
        code: from the API console, for `Way.CODE`.

    Raises:
        ConfigError: it came to nothing; nothing was changed.
    """
    async with Transport(timeout=zoho.timeout, connections=2) as transport:
        try:
            if way is Way.DEVICE:
                granted = await _by_device(zoho, transport, scopes, talk)
            elif way is Way.BROWSER:
                granted = await _by_browser(zoho, transport, scopes, talk, port)
            else:
                granted = await exchange_code(zoho, transport, code)
        except SignInRefused as error:
            raise ConfigError(f"not signed in: {error}", fix=error.fix) from None
        record = granted.record(datetime.now(UTC))
        try:
            organisation = await whose(granted.config, record)
        except CdcError:
            await revoke(granted.config, transport, record.refresh_token)
            raise
    return SignedIn(granted.config, record, organisation, granted.grant.scopes)


async def whose(zoho: ZohoConfig, record: TokenRecord) -> Organisation:
    """Ask whose CRM tokens open. Costs one credit.

    Raises:
        ConfigError: if they don't open one.
    """
    account = replace(zoho, refresh_token=record.refresh_token)
    try:
        async with open_client(account, MemoryTokens(record), NoBook()) as client:
            return await who_am_i(client)
    except SinkError as error:
        raise ConfigError(f"signed in, but the CRM refuses: {error}", fix=error.reason.hint) from None


async def give_back(signed_in: SignedIn) -> None:
    """Revoke a sign-in that isn't kept, as far as that can be done in a moment."""
    async with Transport(timeout=_MOMENT, connections=1) as transport:
        await revoke(signed_in.zoho, transport, signed_in.record.refresh_token)


async def _by_device(zoho: ZohoConfig, transport: Transport, scopes: tuple[str, ...], talk: Console) -> Granted:
    device = await begin_device(zoho, transport, scopes)
    talk.print(f"\nOpen   {device.url}")
    talk.print(f"enter  {device.user_code}")
    if device.complete_url:
        talk.print(f"or     {device.complete_url}")
    talk.print(
        f"\nOn any device, within {device.lifetime / 60:.0f} minutes. Zoho is asked every {device.interval:g} s; "
        "Ctrl-C ends it, and nothing is changed."
    )
    return await wait_for_device(zoho, transport, device)


async def _by_browser(
    zoho: ZohoConfig, transport: Transport, scopes: tuple[str, ...], talk: Console, port: int
) -> Granted:
    state, back = secrets.token_urlsafe(32), redirect_uri(port)
    async with waiting_for_browser(port, state) as coming_back:
        url = authorization_url(zoho, scopes, back, state)
        talk.print(f"\nOpen   {url}\n")
        talk.print(f"The browser comes back to {back}, which must be registered with the client, to the letter.")
        if "SSH_CONNECTION" in os.environ:
            talk.print(f"Over SSH, first, on your own machine:  ssh -N -L {port}:localhost:{port} {_this_machine()}")
        elif _has_desktop(os.environ):
            with suppress(webbrowser.Error):
                webbrowser.open(url)
        talk.print("Waiting for it. Ctrl-C ends it, and nothing is changed.")
        query = await coming_back
    config, code = read_redirect(zoho, query, state=state)
    return await exchange_code(config, transport, code, redirect_uri=back)


def _has_desktop(environment: Mapping[str, str]) -> bool:
    """Tell whether a browser could open; without a desktop one may open in this very terminal."""
    return "DISPLAY" in environment or "WAYLAND_DISPLAY" in environment


def _this_machine() -> str:
    """Name this machine as whoever came by SSH does: by the address that they came to."""
    parts = os.environ.get("SSH_CONNECTION", "").split()
    user = os.environ.get("USER", "you")
    return f"{user}@{parts[2] if len(parts) == 4 else 'this-machine'}"


def proof(signed_in: SignedIn, asked: tuple[str, ...]) -> list[str]:
    """Say what a sign-in opens: never a token.

    Args:
        signed_in: what to speak of.
        asked: the scopes that were asked for just now; empty for a sign-in that was there before.
    """
    organisation = signed_in.organisation
    edition = organisation.edition or "edition unknown"
    users = "" if organisation.users is None else f", {organisation.users} user licence(s)"
    lines = [
        f"organisation  {organisation.name or 'without a name'} ({organisation.id})",
        f"edition       {edition}{users}",
        f"data centre   {signed_in.zoho.data_center}",
    ]
    if signed_in.scopes or asked:
        lines.append(f"scopes        {' '.join(signed_in.scopes) or 'as asked for; Zoho does not say'}")
    lacking = missing(asked, signed_in.scopes) if signed_in.scopes else []
    if lacking:
        lines.append(f"note: not granted, and what needs them won't work: {' '.join(lacking)}")
    return lines


LIMIT_NOTE = (
    f"note: Zoho keeps {REFRESH_TOKENS} refresh tokens for one user and client. Each sign-in makes one, and the next "
    "silently ends the oldest, which may be one in use elsewhere."
)
