"""Signing in from a machine without a browser: it shows a code, which a person types in elsewhere.

https://www.zoho.com/accounts/protocol/oauth/devices/initiation-request.html,
https://www.zoho.com/accounts/protocol/oauth/devices/polling-request.html and, for an account in another data centre,
https://www.zoho.com/accounts/protocol/oauth/multi-dc/client-authorization/limited-input-devices.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sinks.zoho.config import ZohoConfig
from sinks.zoho.grants import read_grant
from sinks.zoho.signin import Granted, SignInRefused, elsewhere, error_in, granted, post, problem
from sinks.zoho.transport import AnswerLost, JsonValue, NotSent, Transport

POLL_SECONDS = 30.0
"""What Zoho's documentation asks of a device, and what we wait where an answer doesn't say."""

DEVICE_SECONDS = 300.0
_LEAST_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device shows, and what it asks with.

    Attributes:
        user_code: to be typed in.
        url: where.
        complete_url: the same with the code in it, if Zoho names one.
        device_code: names the device to Zoho.
        interval: seconds between two questions.
        lifetime: seconds that the code is good for.
    """

    user_code: str
    url: str
    complete_url: str | None
    device_code: str = field(repr=False)
    interval: float
    lifetime: float


async def begin_device(config: ZohoConfig, transport: Transport, scopes: Sequence[str]) -> Device:
    """Ask for a code that a person types in elsewhere.

    Raises:
        SignInRefused: if there is none.
    """
    form = {
        "client_id": config.client_id,
        "grant_type": "device_request",
        "scope": ",".join(scopes),
        "access_type": "offline",
        "prompt": "consent",
    }
    body = await post(config, transport, "/oauth/v3/device/code", form)
    word = error_in(body)
    if word is not None:
        raise problem(word, config)
    user_code, device_code = body.get("user_code"), body.get("device_code")
    url = body.get("verification_url") or body.get("verification_uri")
    if not all(isinstance(part, str) and part for part in (user_code, device_code, url)):
        raise SignInRefused("Zoho's answer holds no device code", "try --browser or --code")
    complete = body.get("verification_uri_complete")
    return Device(
        user_code=str(user_code),
        url=str(url),
        complete_url=complete if isinstance(complete, str) else None,
        device_code=str(device_code),
        interval=_seconds(body.get("interval"), POLL_SECONDS),
        lifetime=_seconds(body.get("expires_in"), DEVICE_SECONDS),
    )


async def wait_for_device(
    config: ZohoConfig,
    transport: Transport,
    device: Device,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Granted:
    """Ask until the person has decided, never more often than Zoho said.

    Raises:
        SignInRefused: they said no, or nothing in time; or Zoho did.
    """
    interval, ends = device.interval, clock() + device.lifetime
    while clock() < ends:
        await sleep(interval)
        form = {
            "client_id": config.client_id,
            "client_secret": config.client_secret,
            "grant_type": "device_token",
            "code": device.device_code,
        }
        try:
            answer = await transport.send("POST", f"{config.accounts}/oauth/v3/device/token", form=form)
        except (NotSent, AnswerLost):
            continue  # the network; the code is still good, or the next answer says that it isn't
        word = error_in(answer.json)
        if word is None and answer.status >= 500:
            continue
        if word == "slow_down":
            interval = max(interval + 5.0, POLL_SECONDS)
        elif word == "other_dc":
            config = elsewhere(config, str(answer.json.get("user_location", "")))
        elif word is not None and word != "authorization_pending":
            raise problem(word, config)
        elif word is None:
            return granted(read_grant(answer, config), config)
    raise problem("expired", config)


def _seconds(value: JsonValue, default: float) -> float:
    """Read a time that Zoho gives in seconds or, as seen in the open, in milliseconds."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return default
    return value / 1000 if value >= _LEAST_MILLISECONDS else float(value)
