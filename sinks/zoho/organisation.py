"""Whose CRM the token opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.limits import Kind
from sinks.zoho.transport import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """Whose CRM it is.

    Attributes:
        id: the organisation's number, as uploads need it.
        name: its name.
        edition: as the CRM calls it, in lower case; None if it doesn't say.
        users: user licences that were bought; None if it doesn't say.
    """

    id: str
    name: str
    edition: str | None = None
    users: int | None = None


async def who_am_i(client: ZohoClient) -> Organisation:
    """Ask whose CRM the token opens. Costs one credit and needs the scope `ZohoCRM.org.READ`.

    Raises:
        SinkError: as `ZohoClient.call`, or BAD_ANSWER.
    """
    answer = await client.call(Kind.ORG_READ, "GET", "/org")
    entries = answer.body.get("org") if isinstance(answer.body, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(first, dict):
        raise SinkError(Reason.BAD_ANSWER, "an organisation without a record")
    licence = first.get("license_details")
    edition, users = _licence(licence) if isinstance(licence, dict) else (None, None)
    return Organisation(
        id=str(first.get("zgid") or first.get("id") or ""),
        name=str(first.get("company_name") or ""),
        edition=edition,
        users=users,
    )


def _licence(details: Mapping[str, JsonValue]) -> tuple[str | None, int | None]:
    kind, users = details.get("paid_type"), details.get("users_license_purchased")
    edition = kind.lower() if isinstance(kind, str) and kind else None
    if details.get("paid") is False and details.get("trial_type") is None:
        edition = "free"
    return edition, users if isinstance(users, int) and not isinstance(users, bool) and users > 0 else None
