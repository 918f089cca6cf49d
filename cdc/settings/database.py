"""The source database, what is captured from it and how, and what protects what is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from cdc.settings.values import lower

Transport = Annotated[Literal["auto", "stream", "poll", "realtime"], BeforeValidator(lower)]


class DatabaseSettings(BaseSettings):
    """Databases, profile, transport, slot and publication, and the key."""

    database_url: SecretStr | None = Field(
        default=None,
        description="The source database. On Supabase the direct host for `stream`, the session pooler for `poll`. "
        "Without it an embedded Postgres with sample data is started.",
    )
    cdc_state_dsn: SecretStr | None = Field(
        default=None, description="Where the cdc schema's tables live. Default: the source database."
    )
    cdc_profile: str = Field(
        default="core", description="A shipped profile (`core`, `2026`) or the path of a folder with a feeds.toml."
    )
    cdc_transport: Transport = Field(
        default="auto",
        description="`stream`, `poll`, `realtime` (no slot at all, docs/realtime.md), or `auto`: the first that works, "
        "said why at start.",
    )
    cdc_slot: str = Field(
        default="optio_cdc",
        pattern=r"^[a-z0-9_]{1,63}$",
        description="Name of the replication slot, and of the pipeline.",
    )
    cdc_slot_failover: bool = Field(
        default=True,
        description="Make the slot one that standbys keep a copy of, where the server can do that (Postgres 17). It "
        "costs nothing without such a standby; see docs/slot.md.",
    )
    cdc_publication: str = Field(
        default="optio_cdc", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Name of the publication."
    )
    cdc_encryption_key: SecretStr | None = Field(
        default=None,
        description="32 random bytes in base64 or hex (`cdc keys new` makes them), or several separated by commas: "
        "the first encrypts, all decrypt (docs/keys.md). Protects the Zoho tokens and the key of the ledger's hashes.",
    )
