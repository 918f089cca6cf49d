"""Answers in Zoho's form: whole-call errors, items of `data[]`, and statuses of mixed writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""A JSON object. Any is honest here: bodies come from outside and are checked field by field."""

Item = Json
"""One element of `data[]` in an answer."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What goes back to the caller.

    Attributes:
        status: HTTP status.
        body: JSON object, ready bytes, or None for an empty body.
        headers: further headers.
        media_type: of a body that is bytes.
        extra_credits: what the call costs beyond the price known before it was carried out.
    """

    status: int = 200
    body: Json | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/octet-stream"
    extra_credits: int = 0


class Refusal(Exception):
    """The whole call is refused: no record was touched.

    Args:
        status: HTTP status.
        code: Zoho's code, such as `INVALID_MODULE`.
        message: Zoho's words for it.
        details: the `details` object.
    """

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.item = error(code, message, details)

    @property
    def code(self) -> str:
        """Zoho's code."""
        return str(self.item["code"])


def error(code: str, message: str, details: Mapping[str, Any] | None = None) -> Item:
    """An error in the form that both whole answers and items of `data[]` have."""
    return {"code": code, "details": dict(details or {}), "message": message, "status": "error"}


def success(message: str, details: Mapping[str, Any], **beside: object) -> Item:
    """A success item."""
    return {"code": "SUCCESS", "details": dict(details), "message": message, "status": "success", **beside}


def bad_value(name: str, path: str, **why: object) -> Item:
    """`INVALID_DATA` for one field; `why` is one of expected_data_type, maximum_length, supported_values."""
    return error("INVALID_DATA", "invalid data", {**why, "api_name": name, "json_path": path})


def missing(name: str, path: str) -> Item:
    """`MANDATORY_NOT_FOUND` for one field."""
    return error("MANDATORY_NOT_FOUND", "required field not found", {"api_name": name, "json_path": path})


def one_of(problems: Sequence[Item]) -> Item:
    """The item for a record with these problems: the problem itself, or the wrapper for several."""
    if len(problems) == 1:
        return problems[0]
    return error("MULTIPLE_OR_MULTI_ERRORS", "multiple errors", {"errors": list(problems)})


def refused(item: Item) -> bool:
    """Whether an item of `data[]` says that its record was refused."""
    return bool(item["status"] == "error")


def written(items: list[Item], *, done: int, mixed: int, none: int) -> Answer:
    """The answer to a write: its status says whether all, some or none of the records were taken."""
    failures = sum(map(refused, items))
    status = done if not failures else none if failures == len(items) else mixed
    return Answer(status=status, body={"data": items})
