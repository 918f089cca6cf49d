"""What every sink is asked and what it answers. Knows nothing of Postgres, feeds or lanes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sinks.reasons import Reason

FieldValue = str | int | float | bool | None
"""A value as it goes into a request body. None clears the field."""


class Action(StrEnum):
    """What is to become of a record."""

    CREATE = "create"  # it isn't there as far as we know: all fields
    UPDATE = "update"  # it is there: changed fields only
    WITHDRAW = "withdraw"  # it must not be there any longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing to do to one record.

    Attributes:
        record_id: our identity of the record, the same for ever (a user's id, an event's id).
        fields: values by field API name; None clears. Empty for a withdrawal.
        crm_id: the sink's id of the record, where known.
        parent_crm_id: the sink's id of the record that this one hangs on.
        uncertain: an earlier attempt may have been carried out; look before sending where a
            repeat would make a second record.
    """

    record_id: str
    action: Action
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    crm_id: str | None = None
    parent_crm_id: str | None = None
    uncertain: bool = False


class Effect(StrEnum):
    """What a delivery did to the sink."""

    CREATED = "created"
    UPDATED = "updated"
    FOUND = "found"  # it was there already from an earlier attempt
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The sink holds the operation's result durably.

    `effect` is CREATED for an update whose record had vanished in the sink and was made anew; such a
    record holds only the fields that were sent, and the caller owes it the others.
    """

    record_id: str
    crm_id: str | None
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The sink answered that it won't do this operation.

    Attributes:
        reason: from the closed registry.
        field: API name of the field at fault, where the sink named one.
        detail: the sink's own code and bounds, free of values.
    """

    record_id: str
    reason: Reason
    field: str | None = None
    detail: str = ""


Outcome = Delivered | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a feed's view, to be held against the sink's fields.

    Attributes:
        name: column name; also the sink's field API name or label.
        type: Postgres type name as `format_type` prints it, such as `text` or `integer`.
        values: distinct values found, for columns that go into a picklist; None if not looked up.
        max_length: longest text found, None if not looked up.
    """

    name: str
    type: str
    values: frozenset[str] | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A column that the sink can't take as it is."""

    column: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A record as the sink holds it now.

    Attributes:
        crm_id: the sink's id of the record.
        fields: values by view column; columns that the sink has no field for are left out.
    """

    crm_id: str
    fields: Mapping[str, object] = field(repr=False)


class Readable(Protocol):
    """A sink whose records can be looked at."""

    async def read(self, record_id: str, crm_id: str | None, columns: Sequence[str]) -> Held | None:
        """Read one record: by the sink's id, or by our identity of it where that isn't known.

        Returns:
            None if it isn't there, or can't be found without the sink's id.

        Raises:
            SinkError: as `Sink.deliver`.
        """
        ...

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        """Tell whether the sink's value is ours, in the form that the sink gives it."""
        ...


class Sink(Protocol):
    """A module of an outside system that records are delivered to.

    `deliver` takes at most `batch_size` operations. Withdrawals come in batches of their own. It returns one
    outcome for each operation, in the same order. It raises `SinkError` when the call as a whole failed; then no
    operation has an outcome, and with `maybe_applied` each of them may or may not have been carried out.

    Repeating a delivery is safe: creates converge on `record_id` (by a unique field, or by looking when `uncertain`).
    """

    name: str
    batch_size: int

    async def fit(self, columns: Sequence[Column]) -> list[Misfit]:
        """Compare a view's columns with the sink's field metadata, and remember how names map.

        Must have been called once before `deliver`. An empty list means that all columns fit.
        """
        ...

    async def deliver(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry the operations out; see the class for the contract."""
        ...


class JobState(StrEnum):
    """Where a bulk job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"  # some of its records may have been written all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """What the sink says of a bulk job.

    Attributes:
        result: where the outcomes are, once it is completed.
        detail: the sink's own word for the state.
    """

    state: JobState
    result: str | None = None
    detail: str = ""


class BulkFile(Protocol):
    """Records that are put together for one bulk job; held in memory, compressed, and nowhere else."""

    def add(self, operation: Operation) -> bool:
        """Add a record with all its fields. False if the file is full; it is unchanged then."""
        ...

    def close(self) -> bytes:
        """Give the file as it is uploaded; nothing can be added any more. May be called again."""
        ...


class BulkSink(Protocol):
    """A sink that also takes many records in a job of its own, which runs later and has a price of its own.

    Every record goes in with all its fields and is matched by its record id, so creating and updating are the same,
    and a job that runs twice leaves what a job leaves that ran once.

    Attributes:
        job_rows: most records in a job.
        job_credits: what a job costs, whatever its size.
    """

    job_rows: int
    job_credits: int

    def records_credits(self, records: int) -> int:
        """Say what so many records cost by ordinary calls."""
        ...

    def takes(self, operation: Operation) -> bool:
        """Tell whether a record can stand in a file; others go by ordinary calls."""
        ...

    def open_file(self, columns: Sequence[str]) -> BulkFile:
        """Begin a file. Must come after the sink's `fit`."""
        ...

    async def upload(self, data: bytes) -> str:
        """Upload a file; nothing is written by that. Gives its id."""
        ...

    async def start(self, file_id: str, columns: Sequence[str]) -> str:
        """Start a job on an uploaded file, which is what costs. Gives its id.

        Raises:
            SinkError: with `maybe_applied` if the job may have been started all the same.
        """
        ...

    async def progress(self, job_id: str) -> JobProgress:
        """Ask how a job stands.

        Raises:
            SinkError: RECORD_GONE if there is no such job.
        """
        ...

    async def outcomes(self, result: str) -> Iterator[Outcome]:
        """Fetch a completed job's outcomes, in no particular order; records without one are left out.

        Raises:
            SinkError: RECORD_GONE if the result isn't there any longer.
        """
        ...
