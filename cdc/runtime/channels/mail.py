"""Alerts by e-mail, over a mail server of the operator's own choice: not the one that the app's mail goes by."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from cdc.runtime.channels.channel import NotSent
from cdc.watch.alerts.wording import Message

SECONDS: Final = 10.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PERMANENT: Final = 500


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server and whom it is to reach.

    Attributes:
        url: `smtp://` begins in clear and must go over to TLS, except on this machine; `smtps://` is TLS throughout.
        tls: the certificates that are believed; the system's by default.
    """

    url: str = field(repr=False)
    sender: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """One word."""
        return "email"

    async def send(self, message: Message) -> None:
        """See `Channel`."""
        parts = urlsplit(self.url)
        is_tls = parts.scheme == "smtps"
        try:
            await aiosmtplib.send(
                self._letter(message),
                recipients=list(self.recipients),
                sender=self.sender,
                hostname=parts.hostname,
                port=parts.port or (465 if is_tls else 587),
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                use_tls=is_tls,
                start_tls=None if is_tls or parts.hostname in _LOOPBACK else True,
                tls_context=self.tls,
                timeout=SECONDS,
            )
        except aiosmtplib.SMTPResponseException as error:
            raise NotSent(f"SMTP {error.code}", again=error.code < _PERMANENT) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotSent(type(error).__name__, again=True) from None

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = self.sender
        letter["To"] = ", ".join(self.recipients)
        letter["Subject"] = message.subject
        letter["Date"] = format_datetime(message.at)
        letter["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.text + "\n")
        return letter
