"""Makes the CRM's custom fields that a profile needs."""

from __future__ import annotations

from cdc.errors import CdcError
from cdc.routing.feeds import Feed, Profile
from cdc.runtime.connections import open_connections
from cdc.runtime.environment import Environment
from sinks.errors import SinkError
from sinks.zoho.client import ZohoClient
from sinks.zoho.connect import MODULES
from sinks.zoho.fields import read_fields
from sinks.zoho.provision import FieldSpec, create_fields, missing_fields


async def fields_to_make(client: ZohoClient, profile: Profile) -> list[str]:
    """List the fields that `create_missing_fields` would make, as `Module: label`.

    Raises:
        CdcError: if the CRM doesn't show its fields.
    """
    found: list[str] = []
    for feed in profile.feeds.values():
        if not feed.fields:
            continue
        module = MODULES[feed.sink]
        try:
            there = await read_fields(client, module)
        except SinkError as error:
            raise CdcError(f"{module}: {error}", fix=error.reason.hint) from None
        found += [f"{module}: {spec.label}" for spec in missing_fields(_specs(feed), there)]
    return found


async def create_missing_fields(environment: Environment, profile: Profile) -> list[str]:
    """Create what is missing.

    Returns:
        A line for each field: what became of it, and its API name in the CRM.

    Raises:
        CdcError: if the CRM refuses; the message says which field.
    """
    lines: list[str] = []
    async with open_connections(environment) as connections:
        for feed in profile.feeds.values():
            if not feed.fields:
                continue
            module = MODULES[feed.sink]
            try:
                made = await create_fields(connections.client, module, _specs(feed))
            except SinkError as error:
                raise CdcError(f"{module}: {error}", fix=error.reason.hint) from None
            for entry in made:
                if entry.problem or entry.field is None:
                    raise CdcError(
                        f"{module}: field {entry.spec.label!r} could not be made as the profile needs it: "
                        f"{entry.problem}",
                        fix="make it by hand in the CRM's set-up, then run this again",
                    )
                lines.append(f"{module}.{entry.field.api_name}  made from label {entry.spec.label!r}")
    return lines


def _specs(feed: Feed) -> list[FieldSpec]:
    return [
        FieldSpec(name=name, label=f.label, type=f.type, length=f.length, unique=f.unique, values=f.values)
        for name, f in feed.fields.items()
    ]
