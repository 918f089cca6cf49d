"""Channels that are HTTP endpoints: Slack's incoming webhooks, and webhooks after Standard Webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
from standardwebhooks import Webhook

from cdc.runtime.channels.channel import NotSent
from cdc.watch.alerts.life import Kind
from cdc.watch.alerts.wording import Message

SECONDS: Final = 10.0
_TOO_MANY: Final = 429


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send once, without following to anywhere else.

    Raises:
        NotSent: also if it isn't taken; again after a 429, a 5xx, or when nothing was heard.
    """
    try:
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=True) as client:
            answer = await client.post(url, content=body, headers={"content-type": "application/json", **headers})
    except httpx.InvalidURL:
        raise NotSent("InvalidURL", again=False) from None
    except httpx.HTTPError as error:
        raise NotSent(type(error).__name__, again=True) from None
    if not answer.is_success:
        again = answer.status_code >= 500 or answer.status_code == _TOO_MANY
        raise NotSent(f"HTTP {answer.status_code}", again=again)


@dataclass(frozen=True, slots=True)
class Slack:
    """An incoming webhook of Slack."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """One word."""
        return "slack"

    async def send(self, message: Message) -> None:
        """See `Channel`."""
        await post(self.url, json.dumps({"text": _escape(message.text)}).encode(), {})


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """Requests of the types `alert.opened`, `alert.escalated`, `alert.reminded` and `alert.resolved`.

    Alerts of one kind that are told together share a request. Its id is the same however often it is sent.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        """One word."""
        return "webhook"

    async def send(self, message: Message) -> None:
        """See `Channel`."""
        for kind in Kind:
            items = [item for item in message.items if item.kind is kind]
            if not items:
                continue
            event = {"type": f"alert.{kind.value}", "timestamp": message.at.isoformat(), "data": message.payload(items)}
            await self._send(f"{message.id}_{kind.value}", json.dumps(event, separators=(",", ":")), message)

    async def _send(self, event_id: str, body: str, message: Message) -> None:
        signature = Webhook(self.secret).sign(event_id, message.at, body)
        headers = {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(message.at.timestamp())),
            "webhook-signature": signature,
        }
        await post(self.url, body.encode(), headers)


def _escape(text: str) -> str:
    """Slack reads three signs as its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
