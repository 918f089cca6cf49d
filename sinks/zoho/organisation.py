"""Whose CRM the token opens."""

from __future__ import annotations

from dataclasses import dataclass

from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.client import ZohoClient
from sinks.zoho.limits import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """Whose CRM it is.

    Attributes:
        id: the organisation's number, as uploads need it.
        name: its name.
    """

    id: str
    name: str


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
    return Organisation(id=str(first.get("zgid") or first.get("id") or ""), name=str(first.get("company_name") or ""))
