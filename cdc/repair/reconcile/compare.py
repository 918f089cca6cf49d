"""Compares one feed three ways, in bounded memory.

What is equal is forgotten at once; what differs is kept up to a limit, and counted beyond it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.repair.reconcile.classify import Measures, Sides, classify, theirs_differing
from cdc.repair.reconcile.differences import Difference, Kind
from cdc.repair.reconcile.joining import join_sides
from cdc.repair.reconcile.staging import Staging
from cdc.repair.reconcile.surroundings import Suspect, settle, survey
from cdc.routing.feeds import Feed
from cdc.state.records import Standing

KEPT: Final = 10_000
"""Differences of a feed that are kept with all they hold; more are only counted."""
_BATCH: Final = 500
_OF_WHOLE_SCANS: Final = frozenset({Kind.MISSING, Kind.UNLINKED, Kind.DUPLICATE})


@dataclass(slots=True)
class Comparison:
    """What comparing one feed found.

    Attributes:
        compared: records that any of the three sides knows.
        counts: differences by kind.
        fields: fields that differ, by name.
        theirs: fields that belong to the CRM's people and hold another value there; no difference.
        kept: the differences, up to `KEPT`.
    """

    feed: str
    compared: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    theirs: Counter[str] = field(default_factory=Counter)
    kept: list[Difference] = field(default_factory=list, repr=False)

    @property
    def differing(self) -> int:
        """Records that differ; what is on its way doesn't."""
        return self.counts.total() - self.counts[Kind.SETTLING]

    def note(self, difference: Difference) -> None:
        """Count a difference, and keep it if there is room."""
        self.counts[difference.kind] += 1
        self.fields.update(one.name for one in difference.fields)
        if difference.kind is not Kind.SETTLING and len(self.kept) < KEPT:
            self.kept.append(difference)

    def change(self, place: int, difference: Difference) -> None:
        """Put another finding in a kept one's place."""
        self.counts[self.kept[place].kind] -= 1
        self.counts[difference.kind] += 1
        self.kept[place] = difference


class Comparer:
    """Compares one feed.

    Args:
        source: in UTC, in a transaction that sees one snapshot.
        state: in a transaction that sees one snapshot, and holds the staged scan.
        feed: whose.
        measures: of its values.
        staging: the scan.
        since: when the scan began, as the state's clock has it.
        is_whole: the scan read everything. What a partial one didn't find may be there.
        likeness: the view column that people know a record by.
        siblings: other feeds of the same module, whose records the scan finds as well.
    """

    def __init__(
        self,
        source: AsyncConnection[Any],
        state: AsyncConnection[Any],
        feed: Feed,
        measures: Measures,
        staging: Staging,
        *,
        since: datetime,
        is_whole: bool,
        likeness: str | None,
        siblings: Collection[str] = (),
    ) -> None:
        self._source = source
        self._state = state
        self._feed = feed
        self._measures = measures
        self._staging = staging
        self._since = since
        self._is_whole = is_whole
        self._likeness = likeness
        self._siblings = siblings
        self._found = Comparison(feed.name)

    async def run(self) -> Comparison:
        """Compare everything.

        Raises:
            ProfileError: if the view can't be read.
        """
        knows_people = self._likeness is not None and self._is_whole and await self._staging.has_strangers()
        suspects: list[Suspect] = []
        people: list[tuple[str, str]] = []
        async for sides in join_sides(self._source, self._state, self._staging, self._feed, self._since):
            self._look_at(sides, suspects)
            if knows_people and (likeness := self._known_by(sides)):
                people.append((likeness, sides.record_id))
            if len(suspects) >= _BATCH:
                await self._settle(suspects)
            if len(people) >= _BATCH:
                await self._staging.saw(people)
                people.clear()
        await self._settle(suspects)
        if knows_people:
            await self._staging.saw(people)
            await self._note_strangers()
        return self._found

    def _look_at(self, sides: Sides, suspects: list[Suspect]) -> None:
        self._found.compared += sides.row is not None or bool(sides.found)
        difference = classify(self._feed, sides, self._measures)
        if difference is not None and not (difference.kind in _OF_WHOLE_SCANS and not self._is_whole):
            suspects.append((sides, difference))
        if self._feed.theirs and sides.row is not None and sides.found:
            self._found.theirs.update(theirs_differing(self._feed, sides.row, sides.found[0], self._measures))

    def _known_by(self, sides: Sides) -> str | None:
        value = None if sides.row is None else sides.row.fields.get(self._likeness or "")
        return value.strip().casefold() if isinstance(value, str) else None

    async def _settle(self, suspects: list[Suspect]) -> None:
        if not suspects:
            return
        named = {
            sides.entry.crm_id
            for sides, _ in suspects
            if sides.entry is not None and sides.entry.standing is Standing.SENT and sides.entry.crm_id is not None
        }
        borne = {one.crm_id for sides, _ in suspects for one in sides.found}
        others = await self._staging.by_crm_id(named - borne) if self._is_whole else {}
        around = await survey(self._source, self._state, self._feed, suspects, others, self._siblings)
        for suspect in suspects:
            difference = settle(self._feed, suspect, around)
            if difference is not None:
                self._found.note(difference)
        suspects.clear()

    async def _note_strangers(self) -> None:
        """Note what bears no id of ours and is known by the same as a row of the view.

        Beside a record that bears our id it is a duplicate. A child may share a parent's address: it is a suggestion.
        """
        listed = {crm_id for one in self._found.kept for crm_id in one.crm_ids}
        missing = {one.record_id: n for n, one in enumerate(self._found.kept) if one.kind is Kind.MISSING}
        for strangers, record_ids, linked in await self._staging.strangers(KEPT):
            fresh = [crm_id for crm_id in strangers if crm_id not in listed]
            if fresh and linked:
                self._note_group(record_ids, [*linked, *fresh])
                continue
            for crm_id in fresh:
                self._found.note(Difference(feed=self._feed.name, kind=Kind.UNLINKED, record_id=None, crm_ids=[crm_id]))
            for record_id in record_ids if fresh else ():
                if (place := missing.get(record_id)) is not None:
                    why = "a record without our id has its address; making it would double it"
                    self._found.change(place, replace(self._found.kept[place], why=why))

    def _note_group(self, record_ids: Sequence[str], crm_ids: Sequence[str]) -> None:
        one = record_ids[0] if len(record_ids) == 1 else None
        why = "the same address, which is a suggestion only"
        self._found.note(
            Difference(feed=self._feed.name, kind=Kind.DUPLICATE, record_id=one, crm_ids=list(crm_ids), why=why)
        )
