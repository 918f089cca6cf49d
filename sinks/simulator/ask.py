"""A call as the handlers see it: read, not yet judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sinks.simulator.answers import Json, Refusal
from sinks.simulator.kinds import Kind
from sinks.simulator.records import Refuse, let_pass

RECORDS_PER_CALL = 100


@dataclass(slots=True, kw_only=True)
class Ask:
    """One call.

    Attributes:
        module: API name from the path or, for COQL and bulk jobs, from the body; None if there's none.
        params: path parameters.
        query: query parameters; of a repeated one the last.
        headers: by lower-case name.
        body: parsed JSON body, or None.
        raw: the body's bytes.
        form: form fields, of the token endpoint only.
        upload: bytes of an uploaded file.
        refuse: fault on demand for single records.
        struck: faults on demand that the handler sees to itself.
    """

    kind: Kind
    method: str
    path: str
    module: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    raw: bytes = b""
    form: Mapping[str, str] = field(default_factory=dict)
    upload: bytes | None = None
    refuse: Refuse = let_pass
    struck: frozenset[str] = frozenset()

    def parse(self) -> None:
        """Parse the body as JSON, whatever its Content-Type says, as Zoho does.

        A body that isn't JSON leaves `body` None; `json_object` refuses it later, so that the call is
        still counted and logged.
        """
        try:
            self.body = json.loads(self.raw, parse_constant=_no_constant) if self.raw else None
        except ValueError:  # also a wrong encoding
            self.body = None

    @property
    def module_name(self) -> str:
        """The module in the path."""
        return self.module or ""

    @property
    def records(self) -> int:
        """How many records the body or the `ids` parameter holds."""
        if self.kind is Kind.DELETE:
            return len(self.ids()) or 1
        data = self.body.get("data") if isinstance(self.body, dict) else None
        return len(data) if isinstance(data, list) else 0

    def record(self, place: int) -> Json:
        """The record at a position of the body, or an empty one; of a deletion its id."""
        if self.kind is Kind.DELETE:
            ids = self.ids() or [self.params.get("id", "")]
            return {"id": ids[place]}
        data = self.body.get("data") if isinstance(self.body, dict) else None
        one = data[place] if isinstance(data, list) and place < len(data) else None
        return one if isinstance(one, dict) else {}

    def ids(self) -> list[str]:
        """The ids in the `ids` parameter."""
        return [one.strip() for one in self.query.get("ids", "").split(",") if one.strip()]

    def json_object(self) -> Json:
        """The body.

        Raises:
            Refusal: it is no JSON object.
        """
        if not isinstance(self.body, dict):
            raise Refusal(400, "INVALID_DATA", "body", {"expected_data_type": "jsonobject"})
        return self.body

    def data(self) -> list[object]:
        """The records in the body.

        Raises:
            Refusal: none, or more than a call may carry.
        """
        body = self.json_object()
        if "data" not in body:
            raise Refusal(400, "MANDATORY_NOT_FOUND", "required field not found", _at("data"))
        data = body["data"]
        if not isinstance(data, list) or not data:
            raise Refusal(400, "INVALID_DATA", "invalid data", {**_at("data"), "expected_data_type": "jsonarray"})
        if len(data) > RECORDS_PER_CALL:
            limit = {**_at("data"), "limit": RECORDS_PER_CALL}
            raise Refusal(400, "LIMIT_EXCEEDED", "Record insertion limit has been exceeded.", limit)
        return data


def _at(name: str) -> Json:
    return {"api_name": name, "json_path": f"$.{name}"}


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
