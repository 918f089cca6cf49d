"""Configured tokens: `CDC_DASHBOARD_TOKENS` and `CDC_DASHBOARD_VIEW_TOKENS`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc.settings import Settings, named_secrets_in
from cdc.web.access.visitors import Admitted, Role, Visitor


@dataclass(frozen=True, slots=True)
class Token:
    """One that is accepted, and whom it names."""

    visitor: Visitor
    secret: str = field(repr=False)


class Tokens:
    """Those that are accepted.

    Args:
        tokens: all of them.
        key: of the prints that sessions carry; from a print a token can't be found.
    """

    def __init__(self, tokens: Sequence[Token], key: bytes) -> None:
        self._tokens = [(token, _print(key, token.secret)) for token in tokens]
        self.prints = frozenset(fingerprint for _, fingerprint in self._tokens)

    @classmethod
    def configured(cls, settings: Settings, key: bytes) -> Tokens:
        """Take them from the settings; a token without a name is called as its role is."""
        named = [
            (role, name or role.word, secret)
            for role, setting in (
                (Role.OPERATOR, settings.cdc_dashboard_tokens),
                (Role.VIEWER, settings.cdc_dashboard_view_tokens),
            )
            for name, secret in named_secrets_in(setting)
        ]
        return cls([Token(Visitor(name, role), secret) for role, name, secret in named], key)

    def find(self, given: str) -> Admitted | None:
        """Look a token up. It takes the same time whichever fits, and if none does."""
        digest = _digest(given)
        found = None
        for token, fingerprint in self._tokens:
            if hmac.compare_digest(digest, _digest(token.secret)):
                found = Admitted(token.visitor, fingerprint)
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _print(key: bytes, secret: str) -> str:
    return hmac.digest(key, secret.encode(), "sha256")[:8].hex()
