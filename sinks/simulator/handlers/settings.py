"""Metadata, organisation, users, and the OAuth calls."""

from __future__ import annotations

from sinks.simulator.answers import Answer, Refusal, written
from sinks.simulator.ask import Ask
from sinks.simulator.fields import Module
from sinks.simulator.simulation import Simulation


def modules(sim: Simulation, ask: Ask) -> Answer:
    """`GET /settings/modules` and `GET /settings/modules/{name}`."""
    shown = list(sim.org.modules.values())
    if "name" in ask.params:
        shown = [sim.org.module(ask.params["name"])]
    return Answer(body={"modules": [module.describe(place) for place, module in enumerate(shown, start=1)]})


def _module(sim: Simulation, ask: Ask) -> Module:
    name = ask.query.get("module")
    if not name:
        raise Refusal(
            400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "module"}
        )
    return sim.org.module(name)


def fields(sim: Simulation, ask: Ask) -> Answer:
    """`GET /settings/fields?module=` and `GET /settings/fields/{id}?module=`."""
    module = _module(sim, ask)
    if ask.query.get("type") == "unused":
        return Answer(status=204)
    shown = list(module.fields.values())
    if "id" in ask.params:
        shown = [field for field in shown if ask.params["id"] in (field.id, field.api_name)]
        if not shown:
            raise Refusal(400, "INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 2})
    described = [field.describe() | {"sequence_number": place} for place, field in enumerate(shown, start=1)]
    return Answer(body={"fields": described})


def create_fields(sim: Simulation, ask: Ask) -> Answer:
    """`POST /settings/fields?module=`."""
    module = _module(sim, ask)
    items = sim.custom_fields.create(module, ask.json_object().get("fields"))
    answer = written(items, done=201, mixed=sim.config.mixed_status, none=sim.config.refused_status)
    answer.body = {"fields": items}
    return answer


def organisation(sim: Simulation, _: Ask) -> Answer:
    """`GET /org`."""
    return Answer(body={"org": [sim.org.describe()]})


def users(sim: Simulation, ask: Ask) -> Answer:
    """`GET /users`; there is one user."""
    info = {"per_page": 200, "count": 1, "page": 1, "more_records": False}
    if ask.query.get("type", "AllUsers") not in {"AllUsers", "ActiveUsers", "CurrentUser", "AdminUsers"}:
        return Answer(status=204)
    return Answer(body={"users": [sim.org.describe_user(sim.started)], "info": info})


def token(sim: Simulation, ask: Ask) -> Answer:
    """`POST /oauth/v2/token`."""
    return sim.tokens.token(ask.form)


def revoke(sim: Simulation, ask: Ask) -> Answer:
    """`POST /oauth/v2/token/revoke`."""
    return sim.tokens.revoke(ask.query.get("token", ""))  # the page shows no other place for it


def device(sim: Simulation, ask: Ask) -> Answer:
    """`POST /oauth/v3/device/code`."""
    return sim.devices.begin(ask.form)


def device_token(sim: Simulation, ask: Ask) -> Answer:
    """`POST /oauth/v3/device/token`."""
    return sim.devices.poll(ask.form)
