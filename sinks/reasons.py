"""Why a delivery failed: a closed registry.

Free text can't be counted, alerted on or looked up in a runbook, so every failure is given one of these reasons. What
is done about a reason (retry, pause, park) is decided in `cdc.delivery.policy`; this module says what it means and
what helps.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Fault(StrEnum):
    """Whose side a failure is on."""

    DATA = "data"  # the row itself
    MAPPING = "mapping"  # feeds.toml, a view, or the CRM's fields
    AUTH = "auth"  # tokens, scopes, data centre
    QUOTA = "quota"  # credits or concurrency
    THEIRS = "theirs"  # the service


class Reason(Enum):
    """One way in which a delivery fails.

    Attributes:
        fault: whose side it is on.
        meaning: one sentence for the operator.
        hint: what to do.
    """

    fault: Fault
    meaning: str
    hint: str

    def __init__(self, fault: Fault, meaning: str, hint: str) -> None:
        self.fault = fault
        self.meaning = meaning
        self.hint = hint

    REQUIRED_FIELD_MISSING = (
        Fault.DATA,
        "The CRM demands a field that this record leaves empty.",
        "Give the column a fallback in the view, or fill it in the source; it is retried when its data changes.",
    )
    FIELD_TOO_LONG = (
        Fault.DATA,
        "A value is longer than the CRM's field.",
        "Shorten it in the view (left(column, n)) or lengthen the field in the CRM.",
    )
    WRONG_TYPE = (
        Fault.MAPPING,
        "A value has a type or format that the CRM's field doesn't take.",
        "Cast or format the column in the view.",
    )
    PICKLIST_VALUE_UNKNOWN = (
        Fault.MAPPING,
        "A value isn't on the CRM's picklist.",
        "Add the value to the picklist in the CRM, or map it in the view.",
    )
    FIELD_NOT_IN_CRM = (
        Fault.MAPPING,
        "A view column has no field in the CRM.",
        "Create the field (`cdc setup --create-fields`) or drop the column from the view.",
    )
    DUPLICATE_IN_CRM = (
        Fault.DATA,
        "Another CRM record already holds a value that must be unique there.",
        "Merge the two records in the CRM, or make the value unique in the source.",
    )
    RECORD_GONE = (
        Fault.THEIRS,
        "The CRM record was deleted or merged by somebody else.",
        "Nothing: it is made again from the source.",
    )
    RECORD_LOCKED = (
        Fault.THEIRS,
        "The CRM record is locked, under approval or under review.",
        "Nothing: it is tried again. Unlock it in the CRM if it stays.",
    )
    PARENT_NOT_DELIVERED = (
        Fault.DATA,
        "The record that this one hangs on isn't in the CRM yet.",
        "Nothing if it is on its way; otherwise see that record's own failure.",
    )
    INVALID_VALUE = (
        Fault.DATA,
        "The CRM refused a value.",
        "See the field named in the failure; correct it in the source or in the view.",
    )
    HELD_BY_BREAKER = (
        Fault.DATA,
        "More records would be withdrawn or rewritten at once than the profile allows.",
        "See what and why with `cdc held`; then `cdc held approve`, or `cdc held reject`.",
    )
    REJECTED = (
        Fault.DATA,
        "A person looked at what the breaker held and rejected it; the CRM stays as it is.",
        "Nothing: it is judged anew when the record changes. `cdc failures retry` lets it go after all.",
    )
    STORAGE_FULL = (
        Fault.QUOTA,
        "The CRM organisation has no storage left for records.",
        "Delete old records in the CRM or buy storage.",
    )
    TOKEN_INVALID = (
        Fault.AUTH,
        "The refresh token is revoked, evicted, or belongs to another data centre.",
        "Sign in again with `cdc login zoho`, or set a new ZOHO_REFRESH_TOKEN; check ZOHO_DATA_CENTER.",
    )
    CLIENT_INVALID = (
        Fault.AUTH,
        "The client id or secret is wrong, or is registered in another data centre.",
        "Check ZOHO_CLIENT_ID, ZOHO_CLIENT_SECRET and ZOHO_DATA_CENTER.",
    )
    TOKEN_THROTTLED = (
        Fault.AUTH,
        "Too many access tokens were asked for; Zoho allows ten in ten minutes.",
        "Nothing: it is tried again. Look for a second program that uses the same refresh token.",
    )
    SCOPE_MISSING = (
        Fault.AUTH,
        "The token lacks a scope that this call needs.",
        "Make a refresh token with the scopes listed in docs/zoho.md.",
    )
    NO_PERMISSION = (
        Fault.AUTH,
        "The CRM user's profile forbids this.",
        "Grant the profile access to the module and its fields in the CRM.",
    )
    CREDITS_EXHAUSTED = (
        Fault.QUOTA,
        "The organisation's API credits for the last 24 hours are used up.",
        "Nothing: delivery goes on as credits come back. Raise the edition, or find who else spends them.",
    )
    CONCURRENCY_LIMIT = (
        Fault.QUOTA,
        "Too many calls at once.",
        "Nothing: it is tried again. Lower ZOHO_CONCURRENCY if it stays.",
    )
    UNAVAILABLE = (
        Fault.THEIRS,
        "The service is down, unreachable or overloaded.",
        "Nothing: it is tried again with growing pauses.",
    )
    OUTCOME_UNKNOWN = (
        Fault.THEIRS,
        "The call was sent and its answer was lost.",
        "Nothing: it is checked before anything is sent again.",
    )
    BAD_ANSWER = (
        Fault.THEIRS,
        "The service answered in a form that its documentation doesn't give.",
        "Report it with the call's time; the record is tried again.",
    )
    REQUEST_REFUSED = (
        Fault.MAPPING,
        "The service refused the call as a whole.",
        "See the code in the failure; the module or endpoint may be missing in this edition.",
    )
    KEY_NOT_CAPTURED = (
        Fault.MAPPING,
        "Changes of a watched table no longer say which records of this feed they touch.",
        "Run `cdc setup`, or correct the table or feeds.toml; the feed is then swept and goes on by itself.",
    )
    VIEW_UNREADABLE = (
        Fault.MAPPING,
        "The feed's view can't be read.",
        "Run `cdc setup`, which applies the profile's views.sql again; check that our role may select from it.",
    )
