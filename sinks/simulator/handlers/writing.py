"""Insert, update, upsert, delete, and notes of a record."""

from __future__ import annotations

from sinks.simulator.answers import Answer, Json, Refusal, written
from sinks.simulator.ask import RECORDS_PER_CALL, Ask
from sinks.simulator.fields import Field, Module
from sinks.simulator.records import match_fields
from sinks.simulator.simulation import Simulation
from sinks.simulator.validation import as_id

_TRIGGERS = ["workflow", "approval", "blueprint", "pathfinder", "orchestration"]
_CHECK_FIELDS = 10


def insert(sim: Simulation, ask: Ask) -> Answer:
    """`POST /{module}`."""
    module = sim.org.module(ask.module_name)
    data = ask.data()
    _check_options(ask.json_object())
    return _written(sim, sim.records.insert(module, data, ask.refuse), done=201)


def update(sim: Simulation, ask: Ask) -> Answer:
    """`PUT /{module}` and `PUT /{module}/{id}`; the id in the path wins over one in the body."""
    module = sim.org.module(ask.module_name)
    data = ask.data()
    _check_options(ask.json_object())
    if "id" in ask.params:
        if len(data) != 1:
            raise Refusal(400, "INVALID_DATA", "invalid data", {"api_name": "data", "json_path": "$.data"})
        data = [{**one, "id": ask.params["id"]} if isinstance(one, dict) else one for one in data]
    return _written(sim, sim.records.update(module, data, ask.refuse), done=200)


def upsert(sim: Simulation, ask: Ask) -> Answer:
    """`POST /{module}/upsert`."""
    module = sim.org.module(ask.module_name)
    if not module.upsertable:
        # the code isn't established; the list of supported modules is
        raise Refusal(400, "NOT_SUPPORTED", "upsert is not supported for this module", {"resource_path_index": 1})
    data = ask.data()
    body = ask.json_object()
    _check_options(body)
    fields = _check_fields(module, body)
    return _written(sim, sim.records.upsert(module, data, fields, ask.refuse), done=200)


def delete(sim: Simulation, ask: Ask) -> Answer:
    """`DELETE /{module}?ids=` and `DELETE /{module}/{id}`."""
    module = sim.org.module(ask.module_name)
    ids = [ask.params["id"]] if "id" in ask.params else ask.ids()
    if not ids:
        raise Refusal(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "ids"})
    if len(ids) > RECORDS_PER_CALL:
        raise Refusal(400, "LIMIT_EXCEEDED", "Record count exceeded", {"limit": RECORDS_PER_CALL, "param_name": "ids"})
    return _written(sim, sim.records.delete(module, ids, ask.refuse), done=200)


def add_notes(sim: Simulation, ask: Ask) -> Answer:
    """`POST /{parent module}/{id}/Notes`."""
    parent = sim.org.module(ask.params["parent"])
    record_id = ask.params["id"]
    if as_id(record_id) is None or record_id not in sim.records.tables[parent.api_name].records:
        raise Refusal(400, "INVALID_DATA", "the related id given seems to be invalid", {"resource_path_index": 1})
    link = {"module": {"api_name": parent.api_name}, "id": record_id}
    data = [{**one, "Parent_Id": link} if isinstance(one, dict) else one for one in ask.data()]
    return _written(sim, sim.records.insert(sim.org.module("Notes"), data, ask.refuse), done=201)


def _written(sim: Simulation, items: list[Json], *, done: int) -> Answer:
    return written(items, done=done, mixed=sim.config.mixed_status, none=sim.config.refused_status)


def _check_options(body: Json) -> None:
    """Refuse a `trigger` that isn't a list of known words."""
    trigger = body.get("trigger", [])
    if not isinstance(trigger, list):
        raise _bad("trigger", "$.trigger", expected_data_type="jsonarray")
    for place, word in enumerate(trigger):
        if word not in _TRIGGERS:
            raise _bad("trigger", f"$.trigger[{place}]", supported_values=_TRIGGERS)


def _check_fields(module: Module, body: Json) -> list[Field]:
    """The fields an upsert looks in."""
    listed = body.get("duplicate_check_fields")
    name = "duplicate_check_fields"
    if listed is not None:
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise _bad(name, f"$.{name}", expected_data_type="jsonarray")
        if not listed:
            raise _bad(name, f"$.{name}")
        if len(listed) > _CHECK_FIELDS:
            raise _bad(name, f"$.{name}", maximum_length=_CHECK_FIELDS)
    try:
        return match_fields(module, listed)
    except KeyError as unknown:
        place = (listed or []).index(unknown.args[0])
        raise _bad(name, f"$.{name}[{place}]") from unknown


def _bad(name: str, path: str, **why: object) -> Refusal:
    return Refusal(400, "INVALID_DATA", "invalid data", {**why, "api_name": name, "json_path": path})
