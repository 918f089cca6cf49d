"""A person signs in: what comes of it, and what the OAuth server's refusals mean to whoever sits there.

The two ways are in `sinks.zoho.device` and `sinks.zoho.consent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sinks.errors import SinkError
from sinks.tokens import TokenRecord
from sinks.zoho.auth import note_mint
from sinks.zoho.config import ZohoConfig, center_named
from sinks.zoho.grants import Grant
from sinks.zoho.transport import AnswerLost, JsonValue, NotSent, Transport

_WORD = re.compile(r"[A-Za-z_ ]{1,40}")

_CONSOLE = "https://api-console.zoho.com (of your data centre)"
PROBLEMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "invalid_client": (
            "the OAuth server {accounts} doesn't know this client id",
            f"compare ZOHO_CLIENT_ID with {_CONSOLE}; a client of another data centre needs that one",
        ),
        "invalid_client_secret": (
            "the client secret is wrong",
            f"copy it again from {_CONSOLE}; with secrets for each data centre, take that of yours",
        ),
        "invalid_code": (
            "the code is spent, too old, or another data centre's",
            "a code works once and for minutes: make a new one; check the data centre",
        ),
        "invalid_redirect_uri": (
            "the client has another redirect URI",
            "register {redirect} in the API console, to the letter, with the slash at its end",
        ),
        "access_denied": ("the person said no", "run it again, and accept"),
        "Access Denied": (
            "Zoho turns this client away for ten minutes, because too many tokens were asked for",
            "wait ten minutes, and look for a program that asks all the time",
        ),
        "expired": ("nobody entered the code in time", "run it again; the code lives for five minutes"),
        "invalid_scope": ("Zoho doesn't know one of the scopes", "see docs/zoho.md; the account needs Zoho CRM"),
        "unsupported_grant_type": (
            "this kind of client can't sign in this way",
            "--device needs a client of type 'Non-browser', --browser 'Server-based', --code 'Self client'",
        ),
    }
)
"""What the OAuth server's words mean, and what to do."""


class SignInRefused(Exception):
    """It came to nothing, and why. Holds no code and no secret.

    Args:
        message: what happened.
        fix: what to do.
    """

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A sign-in that worked.

    Attributes:
        config: the account, at the data centre where it turned out to live.
        grant: the tokens.
    """

    config: ZohoConfig
    grant: Grant

    def record(self, now: datetime) -> TokenRecord:
        """Write it down as a token store keeps it."""
        return note_mint(
            TokenRecord(
                refresh_token=self.grant.refresh_token or "",
                access_token=self.grant.access_token,
                api_domain=self.grant.api_domain,
                expires_at=now + timedelta(seconds=self.grant.lifetime),
                client_id=self.config.client_id,
                data_center=self.config.data_center,
            ),
            now,
        )


async def revoke(config: ZohoConfig, transport: Transport, refresh_token: str) -> None:
    """Give a refresh token back that won't be used, as far as that can be done now; twenty is all there are."""
    with suppress(NotSent, AnswerLost):
        await transport.send("POST", f"{config.token_url}/revoke", params={"token": refresh_token})


async def post(config: ZohoConfig, transport: Transport, path: str, form: Mapping[str, str]) -> dict[str, JsonValue]:
    """Ask the OAuth server, which answers with an object.

    Raises:
        SignInRefused: if it doesn't.
    """
    try:
        answer = await transport.send("POST", f"{config.accounts}{path}", form=form)
    except (NotSent, AnswerLost) as error:
        raise unreachable(config, error) from None
    if not isinstance(answer.json, dict):
        raise SignInRefused(f"{config.accounts}: HTTP {answer.status} without an answer", "try again later")
    return answer.json


def unreachable(config: ZohoConfig, error: Exception) -> SignInRefused:
    """Say that the OAuth server is away."""
    return SignInRefused(f"{config.accounts} can't be reached: {error}", "check network, proxy and data centre")


def granted(grant: Grant | SinkError, config: ZohoConfig) -> Granted:
    """Hold a judged answer against what a sign-in must bring.

    Raises:
        SignInRefused: if it was no, or no refresh token came.
    """
    if isinstance(grant, SinkError):
        raise SignInRefused(str(grant), grant.reason.hint)
    if grant.refresh_token is None:
        raise SignInRefused(
            "Zoho gave an access token and no refresh token, which would end in an hour",
            "remove this client under Connected Apps in the Zoho account, and sign in again",
        )
    return Granted(config=config, grant=grant)


def elsewhere(config: ZohoConfig, location: str) -> ZohoConfig:
    """Give the account where Zoho says that the person lives.

    Raises:
        SignInRefused: if that is no place we know; nothing is sent there.
    """
    name = center_named(location)
    if name is None:
        raise SignInRefused("the account lives in a data centre that this program doesn't know", "see docs/zoho.md")
    return config.moved_to(name)


def error_in(body: JsonValue) -> str | None:
    """Give the word that an answer refuses with, whatever its status."""
    word = body.get("error") if isinstance(body, dict) else None
    return word if isinstance(word, str) else None


def problem(word: str, config: ZohoConfig, redirect_uri: str | None = None) -> SignInRefused:
    """Put a refusal into words."""
    shown = word if _WORD.fullmatch(word) else "an error"
    message, fix = PROBLEMS.get(word, ("Zoho refused", "see docs/zoho.md"))
    names = {"accounts": config.accounts, "redirect": redirect_uri or "the redirect URI"}
    return SignInRefused(f"{message.format(**names)} ({shown})", fix.format(**names))
