"""What the CRM's answers mean. No I/O.

A write of a hundred records is answered record by record, in the order of the request, under any of 200, 201, 202, 207
and 400; the status says nothing about a single record. https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html

Nothing of a value gets out of here: a detail holds the CRM's code, field names and bounds, each checked for its form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from sinks.base import Refused
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.transport import JsonValue

# What a code says of one record. A code that isn't listed refuses the record's values, as most do; it parks alone.
_RECORD_REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "DUPLICATE_DATA": Reason.DUPLICATE_IN_CRM,
        "MANDATORY_NOT_FOUND": Reason.REQUIRED_FIELD_MISSING,
        "EXPECTED_FIELD_MISSING": Reason.REQUIRED_FIELD_MISSING,
        "DEPENDENT_FIELD_MISSING": Reason.REQUIRED_FIELD_MISSING,
        "RECORD_LOCKED": Reason.RECORD_LOCKED,
        "NOT_APPROVED": Reason.RECORD_LOCKED,
        "NOT_REVIEWED": Reason.RECORD_LOCKED,
        "ALREADY_MODIFIED": Reason.RECORD_LOCKED,
        "BLOCKED_RECORD": Reason.RECORD_LOCKED,
        "STORAGE_SPACE_EXCEEDED": Reason.STORAGE_FULL,
        "NO_PERMISSION": Reason.NO_PERMISSION,
        "AUTHORIZATION_FAILED": Reason.NO_PERMISSION,
        "OAUTH_SCOPE_MISMATCH": Reason.SCOPE_MISSING,
        "CANNOT_PROCESS": Reason.BAD_ANSWER,
        "INTERNAL_ERROR": Reason.BAD_ANSWER,  # tried again a few times; it mustn't hold up the other records
    }
)
# What a code says of a whole call. One that isn't listed refuses the call as it stands.
_CALL_REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "INVALID_TOKEN": Reason.TOKEN_INVALID,
        "AUTHENTICATION_FAILURE": Reason.TOKEN_INVALID,
        "INVALID_OAUTHTOKEN": Reason.TOKEN_INVALID,
        "OAUTH_SCOPE_MISMATCH": Reason.SCOPE_MISSING,
        "NO_PERMISSION": Reason.NO_PERMISSION,
        "AUTHORIZATION_FAILED": Reason.NO_PERMISSION,
        "STORAGE_SPACE_EXCEEDED": Reason.STORAGE_FULL,
    }
)
_STATUS_REASONS: Mapping[int, Reason] = MappingProxyType(
    {
        401: Reason.TOKEN_INVALID,
        403: Reason.NO_PERMISSION,
        404: Reason.REQUEST_REFUSED,
        405: Reason.REQUEST_REFUSED,
        413: Reason.REQUEST_REFUSED,
        415: Reason.REQUEST_REFUSED,
    }
)
TOKEN_CODES = frozenset(code for code, reason in _CALL_REASONS.items() if reason is Reason.TOKEN_INVALID)
"""Codes of a 401 that a new access token may cure."""

_INVALID_DATA: tuple[tuple[str, Reason], ...] = (  # which bound the CRM names says what was wrong
    ("maximum_length", Reason.FIELD_TOO_LONG),
    ("supported_values", Reason.PICKLIST_VALUE_UNKNOWN),
    ("expected_data_type", Reason.WRONG_TYPE),
)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,59}")
_NAME = re.compile(r"[A-Za-z$][A-Za-z0-9_$]{0,59}")
_INDEX = re.compile(r"\$\.(?:data|fields)\[(\d+)\]")
_STEP = re.compile(r"\.([A-Za-z$][A-Za-z0-9_$]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that the CRM finds wrong with one record.

    Attributes:
        code: the CRM's code.
        field: API name of the field, if named.
        path: names below the record, outermost first, such as `("Who_Id", "id")`; empty if not named.
        bounds: `maximum_length`, `expected_data_type`, `limit` as the CRM gives them, as text.
        reason: from the closed registry.
        record_id: the CRM's id of the record that is in the way, for DUPLICATE_DATA.
    """

    code: str
    field: str | None
    path: tuple[str, ...]
    bounds: tuple[tuple[str, str], ...]
    reason: Reason
    record_id: str | None

    def touches(self, name: str) -> bool:
        """Tell whether the problem is with a field, or with something inside it."""
        return self.field == name or name in self.path

    def __str__(self) -> str:
        bounds = "".join(f", {name} {value}" for name, value in self.bounds)
        return f"{self.code}{'' if self.field is None else ' ' + self.field}{bounds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The CRM carried one record's part out.

    Attributes:
        crm_id: id of the record.
        inserted: for an upsert whether the record was made; None for other calls.
        matched_on: for an upsert that found a record, the field it was found by.
    """

    crm_id: str
    inserted: bool | None = None
    matched_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The CRM refused one record, for one reason or several."""

    problems: tuple[Problem, ...]

    def find(self, code: str, field: str) -> Problem | None:
        """Find the problem of a code with a field, if there is one."""
        return next((p for p in self.problems if p.code == code and p.touches(field)), None)

    def refused(self, record_id: str) -> Refused:
        """Make the outcome: the first problem decides, the detail names all."""
        first = self.problems[0]
        detail = "; ".join(str(p) for p in self.problems)
        return Refused(record_id=record_id, reason=first.reason, field=first.field, detail=detail)


Item = Done | Failed


def read_items(body: JsonValue, expected: int, *, key: str = "data") -> list[Item]:
    """Read the answer to a write, record by record.

    Args:
        body: the parsed body.
        expected: how many records were sent.
        key: name of the list.

    Returns:
        One item for each record, in the order of the request.

    Raises:
        SinkError: BAD_ANSWER with `maybe_applied` if the list doesn't match the request; SCOPE_MISSING if that is what
            every record was answered.
    """
    entries = body.get(key) if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise _bad(f"no list {key}")
    if len(entries) != expected:
        raise _bad(f"{len(entries)} results for {expected} records")
    items = [_read_item(entry, index) for index, entry in enumerate(entries)]
    if items and all(isinstance(i, Failed) and i.problems[0].reason is Reason.SCOPE_MISSING for i in items):
        raise SinkError(Reason.SCOPE_MISSING, "OAUTH_SCOPE_MISMATCH")
    if any(isinstance(i, Done) for i in items):
        # The user may write to the module, so what it may not touch are these records.
        items = [_locked(i) if isinstance(i, Failed) else i for i in items]
    return items


def whole_error(status: int, body: JsonValue, *, is_json: bool, write: bool) -> SinkError | None:
    """Judge an answer as a whole.

    Args:
        status: HTTP status, other than 401 for a stale token and 429, which the client deals with.
        body: the parsed body.
        is_json: False if the body couldn't be read as JSON.
        write: whether the call changes something.

    Returns:
        The error to raise; None if the body is to be read.
    """
    if status >= 500:
        return SinkError(Reason.UNAVAILABLE, _named(status, _code(body)), maybe_applied=write)
    if not is_json:
        done = write and status < 300
        return SinkError(Reason.BAD_ANSWER, f"HTTP {status} with a body that is not JSON", maybe_applied=done)
    if status in (204, 304):
        return None
    if isinstance(body, dict):
        if (code := _code(body)) is not None and (status >= 400 or body.get("status") == "error"):
            return SinkError(_CALL_REASONS.get(code, Reason.REQUEST_REFUSED), _named(status, str(_problem(body))))
        if status < 300 or (status == 400 and any(isinstance(value, list) for value in body.values())):
            return None
    wrapped = _first_code(body)
    if wrapped is not None and status in (401, 403):
        return SinkError(_CALL_REASONS.get(wrapped, _STATUS_REASONS[status]), _named(status, wrapped))
    reason = _STATUS_REASONS.get(status, Reason.BAD_ANSWER)
    return SinkError(reason, _named(status, wrapped), maybe_applied=write and status < 300)


def reason_of(code: str) -> Reason:
    """Say what a code of one record means where nothing but the code is told, as in the result of a bulk job."""
    return _RECORD_REASONS.get(code, Reason.INVALID_VALUE)


def code_of(body: JsonValue) -> str | None:
    """Give the code of an answer that is refused as a whole, also where it is wrapped in a list of one kind."""
    return _code(body) or _first_code(body)


def _read_item(entry: JsonValue, index: int) -> Item:
    if not isinstance(entry, dict):
        raise _bad("a result is not an object")
    details = entry.get("details")
    if entry.get("status") == "success":
        crm_id = _id(details.get("id")) if isinstance(details, dict) else None
        if crm_id is None:
            raise _bad("a success without an id")
        action, matched = entry.get("action"), entry.get("duplicate_field")
        return Done(
            crm_id=crm_id,
            inserted=None if action is None else action == "insert",
            matched_on=matched if isinstance(matched, str) and _NAME.fullmatch(matched) else None,
        )
    if _code(entry) is None:
        raise _bad("a result with neither success nor code")
    problems = tuple(_problems(entry))
    for problem_index in (_path(p)[0] for p in _flat(entry)):
        if problem_index is not None and problem_index != index:
            raise _bad("results out of order")
    return Failed(problems=problems)


def _locked(item: Failed) -> Failed:
    return Failed(
        problems=tuple(
            replace(p, reason=Reason.RECORD_LOCKED) if p.reason is Reason.NO_PERMISSION else p for p in item.problems
        )
    )


def _flat(entry: Mapping[str, JsonValue]) -> list[Mapping[str, JsonValue]]:
    """Unfold MULTIPLE_OR_MULTI_ERRORS, which holds the real ones in `errors`, beside or inside `details`."""
    details = entry.get("details")
    nested = entry.get("errors") or (details.get("errors") if isinstance(details, dict) else None)
    if _code(entry) == "MULTIPLE_OR_MULTI_ERRORS" and isinstance(nested, list):
        inner = [e for e in nested if isinstance(e, dict) and _code(e) is not None]
        if inner:
            return [flat for e in inner for flat in _flat(e)]
    return [entry]


def _problems(entry: Mapping[str, JsonValue]) -> Sequence[Problem]:
    return [_problem(e) for e in _flat(entry)]


def _problem(entry: Mapping[str, JsonValue]) -> Problem:
    raw = entry.get("details")
    details: Mapping[str, JsonValue] = raw if isinstance(raw, dict) else {}
    code = _code(entry) or "UNKNOWN"
    name = details.get("api_name")
    field = name if isinstance(name, str) and _NAME.fullmatch(name) else None
    other = details.get("duplicate_record")
    path = _path(entry)[1]
    return Problem(
        code=code,
        field=field,
        path=path,
        bounds=tuple(_bounds(details)),
        reason=_reason(code, details, path),
        record_id=_id(details.get("id")) or (_id(other.get("id")) if isinstance(other, dict) else None),
    )


def _reason(code: str, details: Mapping[str, JsonValue], path: tuple[str, ...]) -> Reason:
    if code == "INVALID_DATA":
        if details.get("api_name") == "id" and len(path) <= 1:  # its own id, not that of a record it hangs on
            return Reason.RECORD_GONE
        return next((reason for bound, reason in _INVALID_DATA if bound in details), Reason.INVALID_VALUE)
    if code == "DEPENDENT_SERVICE_ERROR" and details.get("dependency_error") == "PROCESSING_ERROR":
        return Reason.BAD_ANSWER  # the one of its kinds that passes
    return _RECORD_REASONS.get(code, Reason.INVALID_VALUE)


def _bounds(details: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in ("maximum_length", "limit"):
        value = details.get(name)
        if isinstance(value, int):
            found.append((name, str(value)))
    expected = details.get("expected_data_type")
    if isinstance(expected, str) and _NAME.fullmatch(expected):
        found.append(("expected_data_type", expected))
    supported = details.get("supported_values")
    if isinstance(supported, list):
        found.append(("supported_values", str(len(supported))))
    return found


def _path(entry: Mapping[str, JsonValue]) -> tuple[int | None, tuple[str, ...]]:
    details = entry.get("details")
    path = details.get("json_path") if isinstance(details, dict) else None
    if not isinstance(path, str) or (match := _INDEX.match(path)) is None:
        return None, ()
    return int(match[1]), tuple(_STEP.findall(path, match.end()))


def _code(body: JsonValue) -> str | None:
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _first_code(body: JsonValue) -> str | None:
    data = body.get("data") if isinstance(body, dict) else None
    return _code(data[0]) if isinstance(data, list) and data else None


def _id(value: JsonValue) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and text.isascii() and text.isalnum() else None


def _named(status: int, code: str | None) -> str:
    return f"HTTP {status}" if code is None else f"HTTP {status} {code}"


def _bad(what: str) -> SinkError:
    return SinkError(Reason.BAD_ANSWER, what, maybe_applied=True)
