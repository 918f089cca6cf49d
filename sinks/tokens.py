"""What is remembered of a sink's OAuth tokens, and how programs share it.

The types stand here, and not in `sinks.zoho`, so that a store can be written without knowing Zoho.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """One account's tokens.

    Attributes:
        refresh_token: the long-lived one that the access token was made from.
        access_token: the short-lived one, if any.
        api_domain: origin that the access token is meant for, such as `https://www.zohoapis.eu`.
        expires_at: when the access token ends; aware.
        minted_at: when access tokens were asked for: the last time, and all of the last ten minutes; aware, ascending.
        client_id: the OAuth client that the tokens were made for; None if nobody wrote it down.
        data_center: where the account lives, if a person signed in; None if the tokens came from the configuration.
        supersedes: the refresh token that a person's sign-in replaced, which may still stand in a configuration.
    """

    refresh_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    api_domain: str | None = None
    expires_at: datetime | None = None
    minted_at: tuple[datetime, ...] = ()
    client_id: str | None = None
    data_center: str | None = None
    supersedes: str | None = field(default=None, repr=False)


class LockedTokens(Protocol):
    """The record, while nobody else may change it."""

    async def load(self) -> TokenRecord | None:
        """Read the record as it is now; None if there is none."""
        ...

    async def save(self, record: TokenRecord) -> None:
        """Replace the record. Others see it when the lock is given back."""
        ...


class TokenStore(Protocol):
    """Where all workers that use one refresh token keep it."""

    async def load(self) -> TokenRecord | None:
        """Read the record without waiting for anybody; None if there is none."""
        ...

    def locked(self) -> AbstractAsyncContextManager[LockedTokens]:
        """Hold the record exclusively, among all processes, for the length of the block."""
        ...
