"""What an address or a form asks for, checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from cdc.state.failures import Selection
from cdc.state.operations import Filter
from cdc.state.synclog import Status
from cdc.web.refusals import Refusal
from sinks.reasons import Reason

Asked = Mapping[str, str]
_LONGEST: Final = 500

SINCE: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        "1h": timedelta(hours=1),
        "24h": timedelta(hours=24),
        "7d": timedelta(days=7),
        "30d": timedelta(days=30),
    }
)
"""How far back a list may be asked for."""


def text(asked: Asked, name: str) -> str | None:
    """Give a parameter, without blanks around it; None if it is empty or not there.

    Raises:
        Refusal: 422 if it is too long, or the database couldn't store it.
    """
    value = asked.get(name, "").strip()
    if len(value) > _LONGEST or "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise Refusal(422, "invalid_parameter", f"{name} can't be read")
    return value or None


def needed(asked: Asked, name: str, why: str) -> str:
    """Give a parameter that must be there.

    Raises:
        Refusal: 422 with these words if it isn't.
    """
    value = text(asked, name)
    if value is None:
        raise Refusal(422, "missing_parameter", why)
    return value


def choice(asked: Asked, name: str, allowed: Mapping[str, object] | frozenset[str]) -> str | None:
    """Give a parameter that must be one of some words.

    Raises:
        Refusal: 422.
    """
    value = text(asked, name)
    if value is not None and value not in allowed:
        raise Refusal(422, "invalid_parameter", f"{name} must be one of {', '.join(sorted(allowed))}")
    return value


def whole(asked: Asked, name: str) -> int | None:
    """Give a parameter that must be a number.

    Raises:
        Refusal: 422.
    """
    value = text(asked, name)
    if value is None:
        return None
    plain = value.replace(",", "")
    if not (plain.isascii() and plain.isdecimal() and len(plain) < 19):
        raise Refusal(422, "invalid_parameter", f"{name} must be a number")
    return int(plain)


def selection(asked: Asked, now: datetime) -> Selection:
    """Read which failures are meant. What the breaker holds isn't among them: that is decided on as a whole.

    Raises:
        Refusal: 422.
    """
    since, key = choice(asked, "since", SINCE), text(asked, "key")
    return Selection(
        feed=text(asked, "feed"),
        keys=None if key is None else [key],
        reason=text(asked, "reason"),
        since=None if since is None else now - SINCE[since],
        until=_moment(asked, "until"),
        without=Reason.HELD_BY_BREAKER.name,
    )


def operations(asked: Asked) -> Filter:
    """Read which operations are meant.

    Raises:
        Refusal: 422.
    """
    return Filter(
        feed=text(asked, "feed"),
        status=choice(asked, "status", frozenset(status.value for status in Status)),
        record_id=text(asked, "key"),
    )


def _moment(asked: Asked, name: str) -> datetime | None:
    value = text(asked, name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Refusal(422, "invalid_parameter", f"{name} must be a time")
    return found
