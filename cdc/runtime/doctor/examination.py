"""What the checks share: settings, profile, and connections that the first who needs them opens.

Nothing here disturbs a pipeline that runs. The connections are read-only sessions with short time limits, no advisory
lock is taken but that of a token that has to be made anew, and no pause is probed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection

from cdc.connection import connect
from cdc.errors import CdcError, ConfigError
from cdc.routing.feeds import Profile
from cdc.settings import Settings
from cdc.state.envelope import Keyring
from sinks.zoho.client import ZohoClient
from sinks.zoho.config import ZohoConfig
from sinks.zoho.fields import CrmField

T = TypeVar("T")

_ONLY_LOOKING: Final = (
    "set default_transaction_read_only = on; set statement_timeout = '10s'; set lock_timeout = '1s';"
    " set idle_in_transaction_session_timeout = '30s'"
)


@dataclass(slots=True)
class Examination:
    """One run of the checks.

    Attributes:
        settings: what could be read of them, defaults elsewhere.
        refusals: what is wrong with them.
        unknown: variables that nothing reads, in words.
        clock: the time, aware.
        patience: seconds that a transaction of somebody else's may be open.
        profile: once the check `runtime.profile` has read it; so with the others.
        keyring: the encryption keys.
        source: read-only.
        state: read-only; the same as `source` unless another database was configured.
        client: to the CRM.
        clocks: by whose they are, how far ahead of ours they are in seconds.
        fields: the CRM's fields by module.
    """

    settings: Settings
    refusals: list[ConfigError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    patience: float = 300.0
    clocks: dict[str, float] = field(default_factory=dict)
    fields: dict[str, Mapping[str, CrmField]] = field(default_factory=dict)
    _profile: Profile | None = None
    _keyring: Keyring | None = None
    _source: AsyncConnection[Any] | None = None
    _state: AsyncConnection[Any] | None = None
    _client: ZohoClient | None = None
    _failures: dict[str, CdcError] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def source_dsn(self) -> str:
        """Where the source is; empty if it isn't set."""
        return "" if self.settings.database_url is None else self.settings.database_url.get_secret_value()

    @property
    def state_dsn(self) -> str:
        """Where the cdc tables are."""
        dsn = self.settings.cdc_state_dsn
        return self.source_dsn if dsn is None else dsn.get_secret_value()

    @property
    def profile(self) -> Profile:
        """The feeds."""
        return _there(self._profile)

    @profile.setter
    def profile(self, value: Profile) -> None:
        self._profile = value

    @property
    def keyring(self) -> Keyring:
        """The keys."""
        return _there(self._keyring)

    @keyring.setter
    def keyring(self, value: Keyring) -> None:
        self._keyring = value

    @property
    def source(self) -> AsyncConnection[Any]:
        """The source."""
        return _there(self._source)

    @property
    def state(self) -> AsyncConnection[Any]:
        """The state."""
        return _there(self._state)

    @property
    def has_source(self) -> bool:
        """True once the source has let us in."""
        return self._source is not None

    @property
    def has_state(self) -> bool:
        """True once the state has let us in."""
        return self._state is not None

    @property
    def client(self) -> ZohoClient:
        """The CRM."""
        return _there(self._client)

    @client.setter
    def client(self, value: ZohoClient) -> None:
        self._client = value

    @property
    def stack(self) -> AsyncExitStack:
        """Closes at the end what is put on it."""
        return self._stack

    async def open_source(self) -> AsyncConnection[Any]:
        """Connect to the source, once.

        Raises:
            CdcError: as `connect`.
        """
        if self._source is None:
            self._source = await self._open(self.source_dsn)
        return self._source

    async def open_state(self) -> AsyncConnection[Any]:
        """Connect to the state, once.

        Raises:
            CdcError: as `connect`.
        """
        if self._state is None:
            same = self.state_dsn == self.source_dsn
            self._state = await (self.open_source() if same else self._open(self.state_dsn))
        return self._state

    async def stored_position(self) -> str | None:
        """Give the stored position of our slot; None if there is none, or nobody can tell."""
        try:
            state = await self.open_state()
            lsn = await scalar(state, "select lsn::text from cdc.position where slot = %s", self.settings.cdc_slot)
        except (CdcError, psycopg.Error):
            return None
        return None if lsn is None else str(lsn)

    def zoho_config(self) -> ZohoConfig:
        """Give the account as the settings have it."""
        s = self.settings
        return ZohoConfig(
            client_id=s.zoho_client_id or "",
            client_secret="" if s.zoho_client_secret is None else s.zoho_client_secret.get_secret_value(),
            refresh_token="" if s.zoho_refresh_token is None else s.zoho_refresh_token.get_secret_value(),
            data_center=s.zoho_data_center,
            accounts_url=s.zoho_accounts_url,
            api_domain=s.zoho_api_domain,
            upload_url=s.zoho_upload_url,
            edition=s.zoho_edition,
            concurrency=1,  # the pipeline's calls come first
            timeout=10.0,
        )

    async def _open(self, dsn: str) -> AsyncConnection[Any]:
        """Connect; where that has failed once, it isn't waited for again."""
        if dsn in self._failures:
            raise self._failures[dsn]
        try:
            conn = await connect(dsn, purpose="doctor")
        except CdcError as error:
            self._failures[dsn] = error
            raise
        self._stack.push_async_callback(conn.close)
        await conn.execute(_ONLY_LOOKING)
        return conn


@asynccontextmanager
async def examining(examination: Examination) -> AsyncIterator[Examination]:
    """Close at the end of the block whatever the checks have opened."""
    async with examination.stack:
        yield examination


async def scalar(conn: AsyncConnection[Any], query: str, *params: object) -> Any:
    """Give the one value of a query; None if it gives no row."""
    row = await (await conn.execute(query.encode(), params or None)).fetchone()
    return None if row is None else row[0]


async def rows(conn: AsyncConnection[Any], query: str, *params: object) -> list[tuple[Any, ...]]:
    """Give the rows of a query."""
    return await (await conn.execute(query.encode(), params or None)).fetchall()


def _there(value: T | None) -> T:
    assert value is not None, "a check that needs it stands behind the one that opens it"  # noqa: S101
    return value
