"""What a simulated organisation is like: edition, limits, lifetimes, and how unkind it is where nobody knows."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from sinks.simulator.scopes import DEFAULT_SCOPES


class Edition(StrEnum):
    """Editions of Zoho CRM; they differ in credits and in concurrent calls."""

    FREE = "free"
    STANDARD = "standard"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"
    ULTIMATE = "ultimate"


def _client_id() -> str:
    return f"1000.{secrets.token_hex(15).upper()}"


def _refresh_token() -> str:
    return f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """Settings of one simulator. The defaults are those of a small Standard organisation.

    Attributes:
        port: TCP port on 127.0.0.1; 0 picks a free one.
        client_id: OAuth client; made up if not given, as are the two below.
        client_secret: its secret.
        refresh_token: a refresh token that is already there.
        scopes: what the refresh token may do.
        bare: only standard fields; the custom fields of the first plan are left out.
        edition: credits and concurrency follow from it.
        users: paid users; each adds credits.
        credits: credits in 24 hours, in place of the edition's.
        concurrency: simultaneous calls, in place of the edition's.
        token_lifetime: seconds until an access token expires.
        mints_in_ten_minutes: access tokens that may be minted before the throttle.
        redirect_uris: addresses that the client has registered; a browser is sent nowhere else.
        location: the data centre that this is, as Zoho writes it in answers.
        device_interval: seconds that must lie between two polls of a device.
        latency: seconds that every call takes at least.
        search_lag: seconds until search and count see a write; COQL sees it at once.
        bulk_delay: seconds a Bulk Write job spends in each of its waiting states.
        unique_email: whether the organisation allows no two contacts with one e-mail address.
        upsert_demands_mandatory: whether an upsert must hold the mandatory fields even when it
            turns out to be an update. Not documented, so it does.
        max_unique_fields: unique custom fields that a module may have. Not documented; two.
        max_custom_fields: custom fields that a module may have. Not documented for today.
        mixed_status: HTTP status when some records of a write were refused.
        refused_status: HTTP status when all of them were; 202 in some versions of the documentation.
        retry_after: seconds for a `Retry-After` header on 429. Zoho documents none.
    """

    port: int = 0
    client_id: str = field(default_factory=_client_id)
    client_secret: str = field(default_factory=lambda: secrets.token_hex(21), repr=False)
    refresh_token: str = field(default_factory=_refresh_token, repr=False)
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    bare: bool = False
    edition: Edition = Edition.STANDARD
    users: int = 1
    credits: int | None = None
    concurrency: int | None = None
    token_lifetime: float = 3600.0
    mints_in_ten_minutes: int = 10
    redirect_uris: tuple[str, ...] = ("http://localhost:53682/",)
    location: str = "us"
    device_interval: float = 30.0
    latency: float = 0.0
    search_lag: float = 2.0
    bulk_delay: float = 0.5
    unique_email: bool = False
    upsert_demands_mandatory: bool = True
    max_unique_fields: int = 2
    max_custom_fields: int = 310
    mixed_status: int = 207
    refused_status: int = 400
    retry_after: int | None = None
