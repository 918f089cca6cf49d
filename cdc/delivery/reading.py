"""Reads the truth about a batch, and keeps one row that the view can't compute from holding up the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection

from cdc.connection import WAITABLE
from cdc.errors import ProfileError
from cdc.state.records import ViewRow
from cdc.state.truth import Truth, View
from sinks.base import Refused
from sinks.errors import SinkError
from sinks.reasons import Reason

_HOPELESS = 3
"""When this many keys fail each on its own and none can be read, the view is at fault."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the view says.

    Attributes:
        rows: by key; a key without rows isn't in the view.
        refused: keys at which the view fails.
    """

    rows: dict[str, list[ViewRow]] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)


async def open_view(conn: AsyncConnection[Any], view: View) -> Truth:
    """Look a view up.

    Raises:
        SinkError: VIEW_UNREADABLE, if it is gone or lacks a column that steers delivery.
    """
    try:
        return await view.open(conn)
    except ProfileError as error:
        raise SinkError(Reason.VIEW_UNREADABLE, error.message.partition(": ")[2]) from None


async def read_truth(conn: AsyncConnection[Any], truth: Truth, keys: Collection[str], hash_key: bytes) -> Reading:
    """Read keys together, or one by one if the view fails at one of them.

    Raises:
        SinkError: VIEW_UNREADABLE, if the view can't be read at all.
        psycopg.OperationalError: if the source can't be reached.
    """
    try:
        return Reading(rows=await truth.read(conn, keys, hash_key))
    except WAITABLE:
        raise
    except psycopg.ProgrammingError as error:
        raise SinkError(Reason.VIEW_UNREADABLE, view_error_code(error)) from None
    except psycopg.Error as error:
        if len(keys) == 1:
            return Reading(refused={key: _refused(key, error) for key in keys})
    return await _read_singly(conn, truth, keys, hash_key)


async def _read_singly(conn: AsyncConnection[Any], truth: Truth, keys: Collection[str], hash_key: bytes) -> Reading:
    reading = Reading()
    fine = False
    for key in keys:
        try:
            reading.rows.update(await truth.read(conn, [key], hash_key))
            fine = True
        except WAITABLE:
            raise
        except psycopg.Error as error:
            reading.refused[key] = _refused(key, error)
            if not fine and len(reading.refused) >= _HOPELESS:
                raise SinkError(Reason.VIEW_UNREADABLE, view_error_code(error)) from None
    return reading


def _refused(key: str, error: psycopg.Error) -> Refused:
    return Refused(
        record_id=key, reason=Reason.WRONG_TYPE, detail=f"the view fails at this row: {view_error_code(error)}"
    )


def view_error_code(error: psycopg.Error) -> str:
    """Give code and kind. The server's own words may quote a value."""
    return f"SQLSTATE {error.sqlstate} {type(error).__name__}"
