"""Bulk Write: upload, job, state and result."""

from __future__ import annotations

from sinks.simulator.answers import Answer, Json, Refusal, success
from sinks.simulator.ask import Ask
from sinks.simulator.bulk import KEPT_SECONDS, Job, Mapping
from sinks.simulator.clock import iso
from sinks.simulator.faults import Action
from sinks.simulator.fields import Module
from sinks.simulator.org import ORG_ID, USER
from sinks.simulator.simulation import Simulation

_OPERATIONS = ("insert", "update", "upsert")
_FATES = (Action.HOLD_JOB, Action.FAIL_JOB, Action.CUT_JOB)
_BY = {"id": USER["id"], "name": USER["name"]}


def upload(sim: Simulation, ask: Ask) -> Answer:
    """`POST /crm/v8/upload`, multipart, with the headers `feature` and `X-CRM-ORG`."""
    if ask.headers.get("feature") != "bulk-write" or ask.headers.get("x-crm-org") != ORG_ID:
        body = {
            "status": "error",
            "ERROR_MESSAGE": "Bad Request",
            "ERROR_CODE": 400,
            "x-error": "check if headers [feature, X-CRM-ORG] are present and valid",
            "code": "INVALID_DATA",
            "info": "Bad Request",
        }
        return Answer(status=400, body=body)
    if ask.upload is None:
        raise Refusal(400, "INVALID_FILE_FORMAT", "invalid file format. only zip format is supported")
    details = {"file_id": sim.bulk.upload(ask.upload), "created_time": iso(sim.clock.now())}
    return Answer(body=success("file uploaded.", details) | {"code": "FILE_UPLOAD_SUCCESS"})


def written_module(ask: Ask) -> str | None:
    """The module of a job, from the call's body."""
    body = ask.body
    resources = body.get("resource") if isinstance(body, dict) else None
    first = resources[0] if isinstance(resources, list) and resources else None
    module = first.get("module") if isinstance(first, dict) else None
    name = module.get("api_name") if isinstance(module, dict) else None
    return name if isinstance(name, str) else None


def write(sim: Simulation, ask: Ask) -> Answer:
    """`POST /crm/bulk/v8/write`."""
    body = ask.json_object()
    operation = _required(body, "operation")
    if operation not in _OPERATIONS:
        raise _invalid("operation", supported_values=list(_OPERATIONS))
    resources = _required(body, "resource")
    if not isinstance(resources, list) or len(resources) != 1 or not isinstance(resources[0], dict):
        raise _invalid("resource", expected_data_type="jsonarray")
    resource: Json = resources[0]
    module = _module(sim, resource)
    file_id = str(_required(resource, "file_id"))
    if file_id not in sim.bulk.files:
        raise Refusal(400, "FILE_NOT_FOUND", "improper file id", {"file_id": file_id})
    job = Job(
        id=sim.ids.take(),
        module=module,
        operation=str(operation),
        mappings=_mappings(module, resource, len(sim.bulk.files[file_id][0])),
        file_id=file_id,
        find_by=_find_by(module, resource, str(operation)),
        ignore_empty=bool(resource.get("ignore_empty", body.get("ignore_empty", False))),
        created=sim.clock.now(),
        callback=_callback(body),
        fate=next((action for action in _FATES if action in ask.struck), None),
        held=sim.faults.cleared,
    )
    _check_mandatory(job)
    sim.bulk.start(job)
    return Answer(status=201, body=success("success", {"id": job.id, "created_by": _BY}))


def status(sim: Simulation, ask: Ask) -> Answer:
    """`GET /crm/bulk/v8/write/{id}`."""
    return Answer(body=_job(sim, ask).describe(sim.tokens.api_domain))


def result(sim: Simulation, ask: Ask) -> Answer:
    """The ZIP with a job's result."""
    job = _job(sim, ask)
    if job.state != "COMPLETED" or sim.clock.now() > job.created + KEPT_SECONDS:
        raise _gone()
    return Answer(body=job.result, media_type="application/zip")


def _job(sim: Simulation, ask: Ask) -> Job:
    job = sim.bulk.jobs.get(ask.params["id"])
    if job is None:
        raise _gone()
    return job


def _gone() -> Refusal:
    return Refusal(400, "RESOURCE_NOT_FOUND", "The requested resource doesn't exist.")


def _required(body: Json, name: str) -> object:
    if body.get(name) is None:
        raise Refusal(400, "MISSING_REQUIRED_KEY", f"required key {name} is not found in request body.", {"key": name})
    return body[name]


def _invalid(name: str, **why: object) -> Refusal:
    return Refusal(400, "INVALID_DATA", "invalid data", {**why, "api_name": name})


def _module(sim: Simulation, resource: Json) -> Module:
    if resource.get("type") != "data":
        raise _invalid("type", supported_values=["data"])
    named = _required(resource, "module")
    name = named.get("api_name") if isinstance(named, dict) else None
    module = sim.org.modules.get(str(name))
    if module is None or not module.bulk:
        raise Refusal(400, "MODULE_NOT_AVAILABLE", "Requested module is not available.")
    return module


def _mappings(module: Module, resource: Json, columns: int) -> list[Mapping]:
    wanted = _required(resource, "field_mappings")
    if not isinstance(wanted, list) or not wanted:
        raise _invalid("field_mappings", expected_data_type="jsonarray")
    return [_mapping(module, one, columns) for one in wanted]


def _mapping(module: Module, wanted: object, columns: int) -> Mapping:
    if not isinstance(wanted, dict):
        raise _invalid("field_mappings", expected_data_type="jsonobject")
    name = wanted.get("api_name")
    if not isinstance(name, str) or (name != "id" and name not in module.fields):
        # unlike the record calls, a bulk job does check its names
        raise Refusal(400, "INVALID_FIELD", f"invalid mapping. invalid api_name {name}.", {"api_name": name})
    default = wanted.get("default_value")
    value = default.get("value") if isinstance(default, dict) else None
    index = wanted.get("index")
    if index is None and value is None:
        raise Refusal(400, "MISSING_REQUIRED_KEY", f"required key index for field {name} is not found in request body.")
    if index is not None and (type(index) is not int or not 0 <= index < columns):
        raise Refusal(400, "COLUMN_INDEX_NOT_FOUND", "column index not found", {"api_name": name})
    return Mapping(api_name=name, index=index, default=value)


def _find_by(module: Module, resource: Json, operation: str) -> str | None:
    """The field that finds a record: mandatory for update and upsert."""
    name = resource.get("find_by")
    if operation == "insert":
        if name is not None:
            raise Refusal(400, "COEXISTENCE_NOT_ALLOWED", "find_by is not allowed with insert", {"api_name": "find_by"})
        return None
    if name is None:
        raise Refusal(400, "MISSING_REQUIRED_KEY", "required key find_by is not found in request body.")
    possible = {"id", module.duplicate_field, *(field.api_name for field in module.unique_fields())}
    if name not in possible:
        raise Refusal(400, "INVALID_FIELD", "find_by is neither id nor a unique field", {"api_name": "find_by"})
    return str(name)


def _callback(body: Json) -> Json | None:
    callback = body.get("callback")
    if callback is None:
        return None
    if not isinstance(callback, dict) or not str(callback.get("url", "")).startswith("https://"):
        raise Refusal(400, "INVALID_CALLBACK_URL", "the callback url is invalid")
    if callback.get("method") != "post":
        details = {"supported_callback_methods": ["post"]}
        raise Refusal(400, "INVALID_CALLBACK_METHOD", "the callback method is invalid", details)
    return callback


def _check_mandatory(job: Job) -> None:
    if job.operation == "update":
        return
    mapped = {mapping.api_name for mapping in job.mappings}
    unmapped = [one.api_name for one in job.module.fields.values() if one.mandatory and one.api_name not in mapped]
    if unmapped:
        raise Refusal(
            400,
            "MANDATORY_FIELDS_NOT_MAPPED",
            "All mandatory fields are not mapped for the layout",
            {"mandatory_fields": unmapped},
        )
