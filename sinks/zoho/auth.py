"""Access tokens: one for all workers, made anew in time, and never more often than Zoho allows.

A refresh token may make ten access tokens in ten minutes and hold ten at once; the eleventh silently kills the oldest.
So there is one current access token in the store, whoever refreshes it holds the store's lock, and after getting the
lock reads again whether somebody else has just done it. A program in a restart loop finds the token in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.tokens import LockedTokens, TokenRecord, TokenStore
from sinks.zoho.config import ZohoConfig
from sinks.zoho.grants import THROTTLE_SECONDS, Grant, read_grant
from sinks.zoho.transport import AnswerLost, NotSent, Transport

MINTS = 8
"""Access tokens that we ask for in ten minutes at most; Zoho blocks at ten, and two are left to a person's script."""

_WINDOW = timedelta(seconds=THROTTLE_SECONDS)
_REFRESH_AT = 0.8
_PASSING = frozenset({Reason.UNAVAILABLE, Reason.TOKEN_THROTTLED, Reason.BAD_ANSWER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a call needs: a token, and the origin of the API it is good for."""

    token: str = field(repr=False)
    api_domain: str


class MemoryTokens:
    """A token store for one process: tests, and one-off commands without a database."""

    def __init__(self, record: TokenRecord | None = None) -> None:
        self.record = record
        self._lock = asyncio.Lock()

    async def load(self) -> TokenRecord | None:
        """See `sinks.tokens.TokenStore`."""
        return self.record

    async def save(self, record: TokenRecord) -> None:
        """See `sinks.tokens.LockedTokens`."""
        self.record = record

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[LockedTokens]:
        """See `sinks.tokens.TokenStore`."""
        async with self._lock:
            yield self


def due_at(record: TokenRecord) -> datetime | None:
    """Say when the access token should be made anew: at 80 % of the time from the last request to its end.

    After a refresh that failed the last request is later, so the next attempt waits for 80 % of what is left.

    Returns:
        None if the record holds no access token.
    """
    if record.access_token is None or record.expires_at is None:
        return None
    asked = record.minted_at[-1] if record.minted_at else record.expires_at - timedelta(hours=1)
    return asked + (record.expires_at - asked) * _REFRESH_AT


def wait_before_mint(record: TokenRecord, now: datetime) -> float:
    """Say how many seconds must pass before another access token may be asked for; 0 if none."""
    recent = [t for t in record.minted_at if t > now - _WINDOW]
    return 0.0 if len(recent) < MINTS else (recent[-MINTS] + _WINDOW - now).total_seconds()


def note_mint(record: TokenRecord, now: datetime, *, times: int = 1) -> TokenRecord:
    """Remember that an access token was asked for, and forget what is older than ten minutes."""
    recent = tuple(t for t in record.minted_at if t > now - _WINDOW)
    return replace(record, minted_at=(*recent, *(now,) * times))


def choose_tokens(config: ZohoConfig, record: TokenRecord | None) -> TokenRecord | None:
    """Choose between what is stored and what is configured: whichever a person changed last.

    A configured refresh token that isn't the stored one is newer, unless it is the one that a sign-in replaced.

    Returns:
        What to work with; None if nothing is configured and nothing fitting is stored.
    """
    if record is not None and config.refresh_token == record.refresh_token:
        return record
    is_current = record is not None and config.refresh_token in ("", record.supersedes)
    if record is not None and is_current and record.client_id in (None, config.client_id):
        return record
    return TokenRecord(refresh_token=config.refresh_token) if config.refresh_token else None


class Authenticator:
    """Hands out the access token.

    Args:
        config: the account.
        store: shared by all processes that use the same refresh token.
        transport: for the OAuth server.
        clock: the time, aware.
    """

    def __init__(
        self,
        config: ZohoConfig,
        store: TokenStore,
        transport: Transport,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._store = store
        self._transport = transport
        self._clock = clock
        self._lock = asyncio.Lock()  # one waiter of this process at the store's lock, not one for each call
        self._record: TokenRecord | None = None  # the last one seen
        self._postponed: datetime | None = None

    async def access(self) -> Access:
        """Give the access token, refreshed if it is about to end.

        Raises:
            SinkError: TOKEN_INVALID, CLIENT_INVALID, TOKEN_THROTTLED, UNAVAILABLE or BAD_ANSWER.
        """
        if (fresh := self._fresh(self._record)) is not None:
            return fresh
        async with self._lock:
            if (fresh := self._fresh(self._record)) is not None:
                return fresh
            self._record = self._ours(await self._store.load())
            if (fresh := self._fresh(self._record)) is not None:
                return fresh
            return await self._refresh(refused=None)

    async def renew(self, refused: Access) -> Access:
        """Give a token other than one that the API refused.

        Nothing is asked of Zoho if another call or another process has replaced the token meanwhile.

        Raises:
            SinkError: as `access`.
        """
        async with self._lock:
            if self._record is not None and self._record.access_token != refused.token:
                fresh = self._fresh(self._record)
                if fresh is not None:
                    return fresh
            return await self._refresh(refused=refused.token)

    async def _refresh(self, *, refused: str | None) -> Access:
        """Make a new token under the store's lock, unless somebody has done so.

        Args:
            refused: a token that mustn't be given again, however long it should still be good for.
        """
        async with self._store.locked() as slot:
            record = self._ours(await slot.load())
            if record.access_token != refused and (fresh := self._fresh(record)) is not None:
                self._record = record
                return fresh
            if refused is not None:
                # Gone for good, whatever comes of the next step: nobody shall be handed it again.
                record = replace(record, access_token=None, expires_at=None)
            now = self._clock()
            record, problem = await self._mint(record, now)
            await slot.save(record)
        # Raised only after the block: the store must keep when we asked, also when the answer was no.
        self._record = record
        if problem is None:
            self._postponed = None
            return self._access(record)
        if refused is None and problem.reason in _PASSING and self._alive(record, now):
            # The old token has a fifth of its life left: use it, and try again later.
            self._postponed = now + min(timedelta(seconds=30), (self._end(record) - now) * _REFRESH_AT)
            return self._access(record)
        raise problem

    async def _mint(self, record: TokenRecord, now: datetime) -> tuple[TokenRecord, SinkError | None]:
        wait = wait_before_mint(record, now)
        if wait > 0:
            return record, SinkError(Reason.TOKEN_THROTTLED, f"{MINTS} tokens in ten minutes", retry_after=wait)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": record.refresh_token,
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
        }
        try:
            answer = await self._transport.send("POST", self._config.token_url, form=form)
        except NotSent as error:
            return record, SinkError(Reason.UNAVAILABLE, f"OAuth server: {error}")
        except AnswerLost as error:
            return note_mint(record, now), SinkError(Reason.UNAVAILABLE, f"OAuth server: {error}")
        grant = read_grant(answer, self._config)
        if isinstance(grant, Grant):
            return replace(
                note_mint(record, now),
                access_token=grant.access_token,
                api_domain=grant.api_domain,
                expires_at=now + timedelta(seconds=grant.lifetime),
                client_id=self._config.client_id,
            ), None
        # Told to stop: as good as a full window, so that no other worker asks either.
        return note_mint(record, now, times=MINTS if grant.reason is Reason.TOKEN_THROTTLED else 1), grant

    def _ours(self, record: TokenRecord | None) -> TokenRecord:
        """Choose between what is stored and what is configured.

        Raises:
            SinkError: TOKEN_INVALID, if there is neither.
        """
        chosen = choose_tokens(self._config, record)
        if chosen is None:
            raise SinkError(Reason.TOKEN_INVALID, "nobody has signed in with this client")
        return chosen

    def _fresh(self, record: TokenRecord | None) -> Access | None:
        due = None if record is None else due_at(record)
        if record is None or due is None:
            return None
        now = self._clock()
        waiting = self._postponed is not None and now < self._postponed and self._alive(record, now)
        return self._access(record) if now < due or waiting else None

    def _alive(self, record: TokenRecord, now: datetime) -> bool:
        return record.access_token is not None and now < self._end(record)

    @staticmethod
    def _end(record: TokenRecord) -> datetime:
        return record.expires_at if record.expires_at is not None else datetime.min.replace(tzinfo=UTC)

    def _access(self, record: TokenRecord) -> Access:
        domain = self._config.api_domain or record.api_domain or self._config.center.api
        if domain is None:
            raise SinkError(Reason.BAD_ANSWER, "the OAuth server names no api_domain; set ZOHO_API_DOMAIN")
        return Access(token=record.access_token or "", api_domain=domain.rstrip("/"))
