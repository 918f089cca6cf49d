"""Makes the CRM's custom fields that a profile needs."""

from __future__ import annotations

from cdc.errors import CdcError
from cdc.routing.feeds import Profile
from cdc.runtime.connections import open_connections
from cdc.runtime.environment import Environment
from sinks.errors import SinkError
from sinks.zoho.connect import MODULES
from sinks.zoho.provision import FieldSpec, create_fields


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
            specs = [
                FieldSpec(name=name, label=f.label, type=f.type, length=f.length, unique=f.unique, values=f.values)
                for name, f in feed.fields.items()
            ]
            module = MODULES[feed.sink]
            try:
                made = await create_fields(connections.client, module, specs)
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
