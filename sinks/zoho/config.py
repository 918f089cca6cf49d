"""Which Zoho account is used, and where it lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCenter:
    """One of Zoho's data centres; an account lives in exactly one.

    Attributes:
        accounts: origin of the OAuth server.
        api: origin of the CRM API; None where only the token answer tells it.
        upload: origin that takes files for Bulk Write; None where Zoho names none.
    """

    accounts: str
    api: str | None
    upload: str | None


def _center(accounts: str, api: str | None, upload: str | None) -> DataCenter:
    return DataCenter(
        accounts=f"https://{accounts}",
        api=None if api is None else f"https://{api}",
        upload=None if upload is None else f"https://{upload}",
    )


# https://www.zoho.com/crm/developer/docs/api/v8/multi-dc.html and the accounts server's own pages for SA, UK and AE.
DATA_CENTERS: Mapping[str, DataCenter] = MappingProxyType(
    {
        "US": _center("accounts.zoho.com", "www.zohoapis.com", "content.zohoapis.com"),
        "EU": _center("accounts.zoho.eu", "www.zohoapis.eu", "content.zohoapis.eu"),
        "IN": _center("accounts.zoho.in", "www.zohoapis.in", "content.zohoapis.in"),
        "AU": _center("accounts.zoho.com.au", "www.zohoapis.com.au", "content.zohoapis.com.au"),
        "CN": _center("accounts.zoho.com.cn", "www.zohoapis.com.cn", "content.zohoapis.com.cn"),
        "JP": _center("accounts.zoho.jp", "www.zohoapis.jp", "content.zohoapis.jp"),
        "CA": _center("accounts.zohocloud.ca", "www.zohoapis.ca", "upload.zohocloud.ca"),
        "SA": _center("accounts.zoho.sa", "www.zohoapis.sa", "files.zoho.sa"),
        "UK": _center("accounts.zoho.uk", "www.zohoapis.uk", None),
        "AE": _center("accounts.zoho.ae", None, None),
    }
)


def center_of(origin: str) -> str | None:
    """Name the data centre that an API origin belongs to; None for an origin that is nobody's.

    The sandbox and developer hosts (`sandbox.zohoapis.eu`) belong to the same data centre as `www`.
    """
    domain = (urlsplit(origin).hostname or "").partition(".")[2]
    for name, center in DATA_CENTERS.items():
        if center.api is not None and domain == (urlsplit(center.api).hostname or "").partition(".")[2]:
            return name
    return None


def center_named(location: str) -> str | None:
    """Name the data centre that Zoho calls `location` in its answers (`us`, `eu`, ...); None for an unknown word."""
    name = location.strip().upper()
    return name if name in DATA_CENTERS else None


def center_at(origin: str) -> str | None:
    """Name the data centre whose OAuth server this is; None for an origin that is nobody's."""
    wanted = origin.rstrip("/").lower()
    return next((name for name, center in DATA_CENTERS.items() if center.accounts == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZohoConfig:
    """An account of Zoho CRM.

    Attributes:
        client_id: of the self client in Zoho's API console.
        client_secret: of the same.
        refresh_token: made for the scopes listed in docs/zoho.md; empty to use the one that a sign-in stored.
        data_center: a key of `DATA_CENTERS`.
        accounts_url: origin of the OAuth server, if not the data centre's.
        api_domain: origin of the CRM API, if not the one that Zoho names with each token.
        upload_url: origin for bulk files, if not the data centre's.
        edition: a key of `sinks.zoho.limits.EDITIONS`.
        concurrency: calls at once, if not what the edition allows.
        timeout: seconds that one request may take.
    """

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    data_center: str = "US"
    accounts_url: str | None = None
    api_domain: str | None = None
    upload_url: str | None = None
    edition: str = "standard"
    concurrency: int | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.data_center not in DATA_CENTERS:
            raise ValueError(f"unknown Zoho data centre {self.data_center!r}; known are {', '.join(DATA_CENTERS)}")
        for name in ("accounts_url", "api_domain", "upload_url"):
            url = getattr(self, name)
            if url is not None and not is_origin(url):
                raise ValueError(f"{name} must be an origin such as https://www.zohoapis.eu, without a path")

    @property
    def center(self) -> DataCenter:
        """The data centre's hosts."""
        return DATA_CENTERS[self.data_center]

    def moved_to(self, name: str) -> ZohoConfig:
        """Give the same account at another data centre. Origins that were set for this one stay behind."""
        if name == self.data_center:
            return self
        return replace(self, data_center=name, accounts_url=None, api_domain=None, upload_url=None)

    @property
    def accounts(self) -> str:
        """Origin of the OAuth server."""
        return (self.accounts_url or self.center.accounts).rstrip("/")

    @property
    def token_url(self) -> str:
        """Where access tokens are asked for."""
        return f"{self.accounts}/oauth/v2/token"

    @property
    def upload_origin(self) -> str | None:
        """Where bulk files go; None if neither configured nor known for the data centre."""
        origin = self.upload_url or self.center.upload
        return None if origin is None else origin.rstrip("/")


def is_origin(url: str) -> bool:
    """Tell whether a text is scheme and host, and nothing else that a token could leak to."""
    parts = urlsplit(url)
    return (
        parts.scheme in ("https", "http")
        and bool(parts.hostname)
        and parts.username is None
        and parts.path in ("", "/")
        and not parts.query
        and not parts.fragment
    )
