"""What a view says about a record, and what the ledger says: plain values, so that planning needs no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Standing(StrEnum):
    """Where a record stands with the sink, as far as the ledger knows."""

    SENDING = "sending"  # a create went out or was about to; its answer isn't recorded
    SENT = "sent"
    WITHDRAWN = "withdrawn"  # not there any longer; may be made again


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRow:
    """One row of a feed's view.

    Attributes:
        key: the key column as text.
        event_id: the `once` column as text; None for a feed of records.
        parent_id: the parent column as text, where the feed has one.
        fields: JSON values by field API name, the steering columns left out.
        row_hash: keyed hash of the whole row, made by Postgres.
    """

    key: str
    event_id: str | None
    parent_id: str | None
    fields: Mapping[str, Any]
    row_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What was last delivered of a record.

    Attributes:
        record_id: the key for a feed of records, the event's id for a feed of events.
        parent_id: record id, in the needed feed, that this one hangs on.
        field_hashes: keyed hashes by field, of the values that the sink holds.
        row_hash: of the whole view row; None if it wasn't delivered whole.
    """

    record_id: str
    key: str
    standing: Standing
    parent_id: str | None = None
    crm_id: str | None = None
    row_hash: bytes | None = None
    field_hashes: Mapping[str, str] = field(default_factory=dict)
