"""Making custom fields, and the API names that their labels turn into.

https://www.zoho.com/crm/developer/docs/api/v8/create-custom-field.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from sinks.simulator.answers import Item, Json, Refusal, bad_value, error, missing, success
from sinks.simulator.config import SimulatorConfig
from sinks.simulator.fields import UNIQUE_ABLE, DataType, Field, Module
from sinks.simulator.org import Ids

LABEL_LENGTH = 25
NAME_LENGTH = 50
FIELDS_PER_CALL = 5

_CREATABLE: dict[DataType, int] = {
    DataType.TEXT: 255,
    DataType.TEXTAREA: 2000,
    DataType.EMAIL: 100,
    DataType.PHONE: 30,
    DataType.WEBSITE: 450,
    DataType.PICKLIST: 120,
    DataType.MULTISELECT: 120,
    DataType.DATE: 20,
    DataType.DATETIME: 120,
    DataType.INTEGER: 9,
    DataType.BIGINT: 18,
    DataType.DOUBLE: 16,
    DataType.CURRENCY: 16,
    DataType.PERCENT: 5,
    DataType.BOOLEAN: 5,
}
"""Types that can be created here, with the length they get."""

_LENGTH_CHOOSABLE = frozenset({DataType.TEXT, DataType.INTEGER, DataType.BIGINT})
_TEXTAREA_LENGTH = {"small": 2000, "large": 32000, "rich_text": 50000}
_RESERVED = frozenset({"id", "data", "module", "fields", "layout", "owner id", "created time", "modified time", "tag"})


def api_name_of(label: str) -> str:
    """The API name that a label turns into.

    Spaces become `_`, other signs are dropped, and no two underscores stand in a row nor one at the end;
    the first character is a letter. Empty if nothing is left of the label.
    """
    joined = re.sub(r"\s+", "_", label.strip())
    kept = re.sub(r"[^A-Za-z0-9_]", "", joined)
    single = re.sub(r"_+", "_", kept)
    return re.sub(r"^[^A-Za-z]+", "", single).rstrip("_")[:NAME_LENGTH]


class CustomFields:
    """Makes fields in modules, within what the organisation allows."""

    def __init__(self, config: SimulatorConfig, ids: Ids) -> None:
        self._config = config
        self._ids = ids

    def create(self, module: Module, wanted: object) -> list[Item]:
        """Make up to five custom fields; one item for each, in order.

        Raises:
            Refusal: the list itself is missing, empty or too long, or the module takes no fields.
        """
        if not module.custom_fields:
            raise Refusal(400, "NOT_SUPPORTED", "custom fields are not supported for this module", {"param": "module"})
        if not isinstance(wanted, list) or not wanted:
            raise Refusal(
                400, "MANDATORY_NOT_FOUND", "required field not found", {"api_name": "fields", "json_path": "$.fields"}
            )
        if len(wanted) > FIELDS_PER_CALL:
            raise Refusal(
                400,
                "LIMIT_EXCEEDED",
                "the maximum number of fields in one call is exceeded",
                {"limit": FIELDS_PER_CALL, "limit_due_to": [{"api_name": "fields", "json_path": "$.fields"}]},
            )
        return [self._create_field(module, one, f"$.fields[{place}]") for place, one in enumerate(wanted)]

    def _create_field(self, module: Module, wanted: object, path: str) -> Item:
        if not isinstance(wanted, dict):
            return bad_value("fields", path, expected_data_type="jsonobject")
        problem = _shape_problem(wanted, path) or self._place_problem(module, wanted, path)
        if problem:
            return problem
        kind = DataType(wanted["data_type"])
        name = self._free_name(module, api_name_of(wanted["field_label"]))
        unique = wanted.get("unique")
        made = Field(
            api_name=name,
            label=wanted["field_label"].strip(),
            type=kind,
            length=_length(kind, wanted),
            unique=bool(unique is not None),
            case_sensitive=_case_sensitive(unique),
            custom=True,
            options=tuple(option["display_value"] for option in wanted.get("pick_list_values", ())),
            textarea=_textarea(wanted) if kind is DataType.TEXTAREA else None,
            decimal_place=wanted.get("decimal_place"),
            id=self._ids.take(),
        )
        module.fields[name] = made
        return success("field created", {"id": made.id})

    def _place_problem(self, module: Module, wanted: Json, path: str) -> Item | None:
        """Why the module has no place for this field, if it hasn't."""
        label = wanted["field_label"].strip().casefold()
        label_path = f"{path}.field_label"
        if any(one.label.casefold() == label for one in module.fields.values()):
            return error("DUPLICATE_DATA", "duplicate data", {"api_name": "field_label", "json_path": label_path})
        customs = [one for one in module.fields.values() if one.custom]
        limit = self._config.max_custom_fields
        if len(customs) >= limit:
            return _limit(limit, "data_type", f"{path}.data_type")
        if wanted.get("unique") is not None and sum(one.unique for one in customs) >= self._config.max_unique_fields:
            return _limit(self._config.max_unique_fields, "unique", f"{path}.unique")
        return None

    @staticmethod
    def _free_name(module: Module, name: str) -> str:
        if name not in module.fields:
            return name
        return next(f"{name}{digit}" for digit in itertools.count(1) if f"{name}{digit}" not in module.fields)


def _limit(limit: int, name: str, path: str) -> Item:
    return error(
        "LIMIT_EXCEEDED",
        "the limit for this module is exceeded",
        {"limit": limit, "limit_due_to": [{"api_name": name, "json_path": path}]},
    )


def _shape_problem(wanted: Json, path: str) -> Item | None:
    """What is wrong with a field as it was asked for, whatever the module holds."""
    label = wanted.get("field_label")
    if not isinstance(label, str) or not label.strip():
        return missing("field_label", f"{path}.field_label")
    if len(label) > LABEL_LENGTH:
        return bad_value("field_label", f"{path}.field_label", maximum_length=LABEL_LENGTH)
    if label.strip().casefold() in _RESERVED:
        return error(
            "RESERVED_KEYWORD_NOT_ALLOWED",
            "a reserved keyword was given",
            {"api_name": "field_label", "json_path": f"{path}.field_label"},
        )
    if not api_name_of(label):
        return bad_value("field_label", f"{path}.field_label")
    kind = wanted.get("data_type")
    if kind is None:
        return missing("data_type", f"{path}.data_type")
    if kind not in {one.value for one in _CREATABLE}:
        supported = [one.value for one in _CREATABLE]
        return bad_value("data_type", f"{path}.data_type", supported_values=supported)
    if "api_name" in wanted:
        return error(
            "NOT_ALLOWED", "the api name cannot be chosen", {"api_name": "api_name", "json_path": f"{path}.api_name"}
        )
    return _option_problem(DataType(kind), wanted, path)


def _option_problem(kind: DataType, wanted: Json, path: str) -> Item | None:
    length = wanted.get("length")
    if length is not None:
        if type(length) is not int:
            return bad_value("length", f"{path}.length", expected_data_type="integer")
        if not 1 <= length <= _CREATABLE[kind]:
            return bad_value("length", f"{path}.length", maximum_length=_CREATABLE[kind])
    unique = wanted.get("unique")
    if unique is not None and not isinstance(unique, dict):
        return bad_value("unique", f"{path}.unique", expected_data_type="jsonobject")
    if unique is not None and kind not in UNIQUE_ABLE:
        return error("NOT_ALLOWED", "this type cannot be unique", {"api_name": "unique", "json_path": f"{path}.unique"})
    if kind in (DataType.PICKLIST, DataType.MULTISELECT):
        return _pick_list_problem(wanted.get("pick_list_values"), f"{path}.pick_list_values")
    if kind is DataType.TEXTAREA and _textarea(wanted) not in _TEXTAREA_LENGTH:
        return bad_value("type", f"{path}.textarea.type", supported_values=list(_TEXTAREA_LENGTH))
    return None


def _pick_list_problem(values: object, path: str) -> Item | None:
    if not values:
        return missing("pick_list_values", path)
    if not isinstance(values, list):
        return bad_value("pick_list_values", path, expected_data_type="jsonarray")
    seen: set[str] = set()
    for place, value in enumerate(values):
        here = f"{path}[{place}].display_value"
        shown = value.get("display_value") if isinstance(value, dict) else None
        if not isinstance(shown, str) or not shown:
            return missing("display_value", here)
        if shown in seen:
            return error("DUPLICATE_DATA", "duplicate data", {"api_name": "display_value", "json_path": here})
        seen.add(shown)
    return None


def _textarea(wanted: Mapping[str, Any]) -> str:
    given = wanted.get("textarea")
    return str(given.get("type", "small")) if isinstance(given, dict) else "small"


def _case_sensitive(unique: object) -> bool:
    """Both spellings of the key are in use."""
    if not isinstance(unique, dict):
        return False
    return str(unique.get("casesensitive", unique.get("case_sensitive", False))).lower() == "true"


def _length(kind: DataType, wanted: Json) -> int:
    if kind is DataType.TEXTAREA:
        return _TEXTAREA_LENGTH[_textarea(wanted)]
    if kind in _LENGTH_CHOOSABLE:
        return int(wanted.get("length") or _CREATABLE[kind])
    return _CREATABLE[kind]
