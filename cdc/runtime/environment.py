"""What the pipeline runs against: what is configured, and stand-ins for what isn't.

Two combinations are refused: sample data in a database that isn't ours, and an embedded database with a real CRM.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

from cdc.connection import connect
from cdc.embedded.postgres import EmbeddedPostgres
from cdc.embedded.simulator import simulator_process
from cdc.errors import ConfigError, ProfileError
from cdc.routing.feeds import Profile
from cdc.settings import Settings, redact_dsn
from sinks.zoho.config import ZohoConfig
from sinks.zoho.connect import SinkSpec, check_spec


@dataclass(frozen=True, slots=True)
class Environment:
    """Where everything is.

    Attributes:
        source_dsn: the database with the application's tables.
        state_dsn: the database with the cdc tables.
        encryption_key: as `CDC_ENCRYPTION_KEY`.
        zoho: the CRM account, real or simulated.
        is_embedded: the database is ours, made for this run, with sample data.
        simulator_url: where the simulator's page is, if there is one.
        bin_dir: the embedded server's programs.
    """

    source_dsn: str = field(repr=False)
    state_dsn: str = field(repr=False)
    encryption_key: str = field(repr=False)
    zoho: ZohoConfig
    is_embedded: bool
    simulator_url: str | None
    bin_dir: Path | None = None

    def banner(self) -> list[str]:
        """Say in a few lines what is real and what stands in for it."""
        database = "embedded Postgres with made-up people" if self.is_embedded else redact_dsn(self.source_dsn)
        crm = f"simulator, to be looked at on {self.simulator_url}" if self.simulator_url else "Zoho CRM"
        state = [] if self.state_dsn == self.source_dsn else [f"state     {redact_dsn(self.state_dsn)}"]
        return [f"database  {database}", *state, f"CRM       {crm}"]


def sink_specs(profile: Profile) -> dict[str, SinkSpec]:
    """Give what each feed says of its sink.

    Raises:
        ProfileError: if feeds.toml names a sink that there isn't, or leaves out what one needs.
    """
    specs = {}
    for feed in profile.feeds.values():
        specs[feed.name] = SinkSpec(sink=feed.sink, external_id=feed.external_id, mandatory=feed.mandatory)
        try:
            check_spec(specs[feed.name])
        except ValueError as error:
            raise ProfileError(f"{profile.feeds_file}: feed {feed.name}: {error}") from None
    return specs


@asynccontextmanager
async def prepare(
    settings: Settings, profile: Profile, *, demo: bool = False, simulator_port: int = 0
) -> AsyncIterator[Environment]:
    """Fill in what isn't configured, for the length of the block.

    Args:
        settings: as configured.
        profile: for the sample data's schema.
        demo: the caller will play the demo, which writes.
        simulator_port: port of the simulator, if one is started; 0 for a free one.

    Raises:
        ConfigError: if the combination is one of the refused ones, or the profile names a sink that there isn't.
    """
    sink_specs(profile)
    if demo and settings.database_url is not None:
        raise ConfigError(
            "--demo writes made-up people, and DATABASE_URL names a database that isn't ours",
            fix="unset DATABASE_URL for the demo, or leave --demo away",
        )
    async with AsyncExitStack() as stack:
        embedded = None
        if settings.database_url is None:
            embedded = await _embedded_database(stack, profile)
        source = embedded.dsn if embedded else _reveal(settings.database_url)
        environment = Environment(
            source_dsn=source,
            state_dsn=_reveal(settings.cdc_state_dsn) or source,
            encryption_key=_reveal(settings.cdc_encryption_key) or b64encode(secrets.token_bytes(32)).decode(),
            zoho=configured_account(settings),
            is_embedded=embedded is not None,
            simulator_url=None,
            bin_dir=embedded.bin_dir if embedded else None,
        )
        if not settings.has_crm:
            access = await stack.enter_async_context(simulator_process(port=simulator_port))
            zoho = replace(
                environment.zoho,
                client_id=access.client_id,
                client_secret=access.client_secret,
                refresh_token=access.refresh_token,
                accounts_url=access.url,
                api_domain=access.url,
                upload_url=access.url,
            )
            environment = replace(environment, zoho=zoho, simulator_url=access.url)
        yield environment


async def _embedded_database(stack: AsyncExitStack, profile: Profile) -> EmbeddedPostgres:
    server = await asyncio.to_thread(EmbeddedPostgres.start)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    conn = await connect(server.dsn, purpose="sample data")
    try:
        for name in ("schema.sql", "sample.sql"):
            path = profile.folder / name
            if not path.is_file():
                raise ConfigError(
                    f"profile {profile.name} has no {name}, so there is nothing to show without a database",
                    fix="set DATABASE_URL",
                )
            await conn.execute(path.read_bytes())
    finally:
        await conn.close()
    return server


def _reveal(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def configured_account(settings: Settings) -> ZohoConfig:
    """Give the CRM account as the settings have it."""
    return ZohoConfig(
        client_id=settings.zoho_client_id or "",
        client_secret=_reveal(settings.zoho_client_secret),
        refresh_token=_reveal(settings.zoho_refresh_token),
        data_center=settings.zoho_data_center,
        accounts_url=settings.zoho_accounts_url,
        api_domain=settings.zoho_api_domain,
        upload_url=settings.zoho_upload_url,
        edition=settings.zoho_edition,
        concurrency=settings.zoho_concurrency,
    )
