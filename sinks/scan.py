"""What a sink is asked whose modules can be read whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sinks.base import Column, FieldValue, Misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A record as a scan of the sink finds it.

    Attributes:
        crm_id: the sink's id of the record.
        record_id: our identity of it, as the sink holds it; None if it bears none.
        likeness: what a person would know it by (an e-mail address, in lower case); None if it has none.
        modified_at: when it was last changed there, as the sink writes times.
        fields: values by view column.
    """

    crm_id: str
    record_id: str | None
    likeness: str | None = field(default=None, repr=False)
    modified_at: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict, repr=False)


class Scannable(Protocol):
    """All records of a module, read page by page. Nothing here writes.

    Every method but `forms`, `same` and the prices makes calls and raises `SinkError` as `Sink.deliver` does; what was
    read before that is then a part of the whole, and nobody must take it for the whole.

    Attributes:
        likeness: the view column that people know a record by; None if the module has none.
        merges: how many others one merge takes into a record; 0 if the module has no merge.
        merge_credits: what a merge costs.
    """

    likeness: str | None
    merges: int
    merge_credits: int

    async def fit(self, columns: Sequence[Column]) -> list[Misfit]:
        """Learn the fields of view columns, as `Sink.fit` does; must have been called once before the others."""
        ...

    async def count(self) -> int:
        """Count the module's records, ours and others."""
        ...

    def scan(self, columns: Sequence[str], expected: int) -> AsyncIterator[Sequence[Scanned]]:
        """Read every record of the module once, in pages, ordered by the sink's id.

        Args:
            columns: view columns.
            expected: how many there are, which decides how much is asked for at once; it is read to the end anyway.
        """
        ...

    async def find(self, record_ids: Sequence[str], columns: Sequence[str]) -> list[Scanned]:
        """Read some records by our identity; those that aren't there are left out, doubles are all there."""
        ...

    async def binned(self, wanted: Collection[str]) -> frozenset[str]:
        """Tell which of some sink ids lie in the bin, as far back as the sink lists it."""
        ...

    async def activities(self, crm_ids: Sequence[str]) -> Mapping[str, int]:
        """Count what hangs on some records, by the sink's id."""
        ...

    def same(self, column: str, ours: FieldValue, theirs: object) -> bool:
        """See `Readable.same`."""
        ...

    def forms(self, theirs: object) -> Sequence[FieldValue]:
        """Give the values of ours that the sink would show like this, as far as that can be told."""
        ...

    def scan_credits(self, records: int, columns: int) -> int:
        """Say what a scan of so many records and columns costs."""
        ...

    def find_credits(self, records: int, columns: int) -> int:
        """Say what `find` costs."""
        ...

    def write_credits(self, records: int) -> int:
        """Say what it costs to send so many records by ordinary calls."""
        ...
