"""Signing in with a code: one that a browser brings back, or one from the API console.

https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html and
https://www.zoho.com/accounts/protocol/oauth/multi-dc/client-authorization.html
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from sinks.zoho.config import ZohoConfig, center_at
from sinks.zoho.grants import read_grant
from sinks.zoho.signin import PROBLEMS, Granted, SignInRefused, elsewhere, error_in, granted, problem, unreachable
from sinks.zoho.transport import AnswerLost, NotSent, Transport


def authorization_url(config: ZohoConfig, scopes: Sequence[str], redirect_uri: str, state: str) -> str:
    """Give the address that a person opens in a browser."""
    query = {
        "response_type": "code",
        "client_id": config.client_id,
        "scope": ",".join(scopes),
        "redirect_uri": redirect_uri,
        "access_type": "offline",
        "prompt": "consent",
        "state": state,
    }
    return f"{config.accounts}/oauth/v2/auth?{urlencode(query)}"


def read_redirect(config: ZohoConfig, query: Mapping[str, str], *, state: str) -> tuple[ZohoConfig, str]:
    """Judge what the browser brought back.

    Returns:
        The account at the data centre where the person lives, and the code to exchange there.

    Raises:
        SignInRefused: consent was refused; the state isn't ours; or a server is named that isn't Zoho's, which would
            be sent the secret.
    """
    if not secrets.compare_digest(query.get("state", "").encode(), state.encode()):
        raise SignInRefused("the browser's answer belongs to another sign-in", "run it again, and use its address")
    if "error" in query:
        raise problem(query["error"], config)
    code = query.get("code", "")
    if not code:
        raise SignInRefused("the browser's answer holds no code", "run it again")
    server, location = query.get("accounts-server", "").rstrip("/"), query.get("location", "")
    if server and server != config.accounts:
        name = center_at(server)
        if name is None:
            raise SignInRefused(
                "the browser's answer names an OAuth server that isn't one of Zoho's; nothing was sent to it",
                "run it again; if it stays so, use --code",
            )
        return config.moved_to(name), code
    return (elsewhere(config, location) if location and not server else config), code


async def exchange_code(
    config: ZohoConfig, transport: Transport, code: str, *, redirect_uri: str | None = None
) -> Granted:
    """Turn a code into tokens.

    Args:
        config: the account, at its data centre.
        transport: for the OAuth server.
        code: works once.
        redirect_uri: as it was asked with; None for a code from the API console.

    Raises:
        SignInRefused: if Zoho says no.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code.strip(),
        "client_id": config.client_id,
        "client_secret": config.client_secret,
    } | ({} if redirect_uri is None else {"redirect_uri": redirect_uri})
    try:
        answer = await transport.send("POST", config.token_url, form=form)
    except (NotSent, AnswerLost) as error:
        raise unreachable(config, error) from None
    word = error_in(answer.json)
    if word is not None and word in PROBLEMS:
        raise problem(word, config, redirect_uri)
    return granted(read_grant(answer, config), config)
