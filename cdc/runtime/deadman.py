"""Says that all is well to somebody who alarms when nobody does: what is dead can't tell.

The convention is that of healthchecks.io: the URL as it is for well, with `/fail` behind its path for a failure.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx
import structlog

from cdc.watch.condition import Condition

log = structlog.get_logger()

_SECONDS: Final = 10.0


def ping_url(url: str, condition: Condition) -> str:
    """Give what is to be fetched in this condition."""
    if not condition.state.is_broken:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))


async def ping(url: str, condition: Condition) -> bool:
    """Fetch it once; that it fails is logged and nothing more. Says whether it was heard."""
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
            answer = await client.get(ping_url(url, condition))
        error = None if answer.is_success else f"HTTP {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        error = type(failure).__name__
    if error is not None:
        log.warning("heartbeat_not_heard", error=error)
    return error is None
