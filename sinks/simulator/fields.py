"""Fields and modules: what they are, and how the metadata calls describe them.

https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sinks.simulator.answers import Json


class DataType(StrEnum):
    """`data_type` of a field."""

    TEXT = "text"
    TEXTAREA = "textarea"
    EMAIL = "email"
    PHONE = "phone"
    WEBSITE = "website"
    PICKLIST = "picklist"
    MULTISELECT = "multiselectpicklist"
    DATE = "date"
    DATETIME = "datetime"
    INTEGER = "integer"
    BIGINT = "bigint"
    DOUBLE = "double"
    CURRENCY = "currency"
    PERCENT = "percent"
    BOOLEAN = "boolean"
    LOOKUP = "lookup"
    OWNER = "ownerlookup"


JSON_TYPE: dict[DataType, str] = {
    DataType.MULTISELECT: "jsonarray",
    DataType.INTEGER: "integer",
    DataType.BIGINT: "string",
    DataType.DOUBLE: "double",
    DataType.CURRENCY: "double",
    DataType.PERCENT: "double",
    DataType.BOOLEAN: "boolean",
    DataType.LOOKUP: "jsonobject",
    DataType.OWNER: "jsonobject",
}
"""`json_type` where it isn't `string`."""

UNIQUE_ABLE = frozenset(
    {DataType.TEXT, DataType.EMAIL, DataType.PHONE, DataType.INTEGER, DataType.BIGINT, DataType.WEBSITE}
)
"""Types that may be marked "Do not allow duplicate values"."""

ANY_MODULE = "se_module"
"""`lookup.module.api_name` of a lookup whose module comes with the value."""


@dataclass(slots=True, kw_only=True)
class Field:
    """One field of a module.

    Attributes:
        length: most characters, or digits of a number.
        mandatory: `system_mandatory`.
        read_only: kept by Zoho; a value sent for it is refused.
        unique: "Do not allow duplicate values".
        options: values of a picklist.
        lookup: module a lookup points to; `ANY_MODULE` if the value says.
    """

    api_name: str
    label: str
    type: DataType
    length: int = 255
    mandatory: bool = False
    read_only: bool = False
    unique: bool = False
    case_sensitive: bool = False
    custom: bool = False
    options: tuple[str, ...] = ()
    lookup: str | None = None
    textarea: str | None = None
    decimal_place: int | None = None
    tooltip: str | None = None
    id: str = ""

    def describe(self) -> Json:
        """The field as `GET /settings/fields` shows it."""
        writable = not self.read_only
        return {
            "id": self.id,
            "api_name": self.api_name,
            "field_label": self.label,
            "display_label": self.label,
            "column_name": self.api_name.upper(),
            "data_type": self.type.value,
            "json_type": JSON_TYPE.get(self.type, "string"),
            "length": self.length,
            "decimal_place": self.decimal_place,
            "system_mandatory": self.mandatory,
            "unique": {"casesensitive": str(self.case_sensitive).lower()} if self.unique else {},
            "external": None,
            "read_only": self.read_only,
            "field_read_only": self.read_only,
            "custom_field": self.custom,
            "created_source": "default" if not self.custom else "user",
            "visible": True,
            "searchable": self.type is not DataType.TEXTAREA,
            "filterable": self.type is not DataType.TEXTAREA,
            "sortable": self.type is not DataType.TEXTAREA,
            "mass_update": writable,
            "virtual_field": False,
            "display_field": False,
            "webhook": True,
            "type": "used",
            "default_value": None,
            "tooltip": {"name": "info_icon", "value": self.tooltip} if self.tooltip else None,
            "operation_type": {
                "web_update": writable,
                "api_create": writable,
                "web_create": writable,
                "api_update": writable,
            },
            "view_type": {"view": True, "edit": writable, "quick_create": self.mandatory, "create": writable},
            "profiles": [],
            "pick_list_values": [
                {
                    "id": f"{self.id}{place:02d}"[-19:],
                    "display_value": option,
                    "actual_value": option,
                    "reference_value": option,
                    "sequence_number": place,
                    "colour_code": None,
                    "type": "used",
                }
                for place, option in enumerate(self.options, start=1)
            ],
            "pick_list_values_sorted_lexically": False,
            "lookup": {"module": {"api_name": self.lookup}, "display_label": self.label} if self.lookup else {},
            "textarea": {"type": self.textarea} if self.textarea else None,
            "currency": {},
            "formula": {},
            "auto_number": {},
            "multiselectlookup": {},
            "history_tracking": None,
            "association_details": None,
            "private": None,
            "crypt": None,
        }


@dataclass(slots=True, kw_only=True)
class Module:
    """One module.

    Attributes:
        duplicate_field: the system's duplicate check field; None where upsert isn't offered.
        custom_fields: whether fields can be added.
        bulk: whether Bulk Write takes it.
    """

    api_name: str
    singular: str
    plural: str
    fields: dict[str, Field] = field(default_factory=dict)
    duplicate_field: str | None = None
    custom_fields: bool = True
    bulk: bool = True
    id: str = ""

    @property
    def upsertable(self) -> bool:
        """Whether upsert is offered; Tasks, Events, Calls and Notes are not on the documented list."""
        return self.duplicate_field is not None

    def unique_fields(self) -> list[Field]:
        """Fields that allow no duplicates, in their order."""
        return [one for one in self.fields.values() if one.unique]

    def describe(self, sequence: int) -> Json:
        """The module as `GET /settings/modules` shows it."""
        return {
            "id": self.id,
            "api_name": self.api_name,
            "module_name": self.api_name,
            "singular_label": self.singular,
            "plural_label": self.plural,
            "generated_type": "default",
            "sequence_number": sequence,
            "api_supported": True,
            "creatable": True,
            "editable": True,
            "deletable": True,
            "viewable": True,
            "visible": True,
            "visibility": 1,
            "show_as_tab": True,
            "convertable": False,
            "quick_create": True,
            "global_search_supported": True,
            "triggers_supported": True,
            "status": "visible",
            "profiles": [],
            "parent_module": {},
            "modified_by": None,
            "modified_time": None,
            "web_link": None,
            "description": None,
        }
