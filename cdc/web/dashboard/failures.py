"""`/failures`: what is parked, and retrying or discarding it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cdc.state import failures as parked
from cdc.state.failures import Selection
from cdc.web.access import Role, require
from cdc.web.access.signin import local_path
from cdc.web.dashboard import export
from cdc.web.dashboard.acting import TYPE_ABOVE, Act, acting, check_typed, described
from cdc.web.dashboard.asked import SINCE, Asked, choice, needed, selection
from cdc.web.dashboard.formats import counted
from cdc.web.dashboard.ground import Ground, go, link, show
from cdc.web.dashboard.paging import Cursor, parse_cursor
from sinks.reasons import Reason

PAGE: Final = 50
_CSV_PAGE: Final = 2_000
_CRITERIA: Final = ("reason", "feed", "since", "key")
_ACTIONS: Final = frozenset({"retry", "discard"})
_EFFECTS: Final = {
    "retry": "They are due at once, and all their fields are sent again. What fails again is parked again.",
    "discard": "They leave the outbox undelivered. The next change of a record, or the next sweep, brings it back.",
}


@dataclass(frozen=True, slots=True)
class Why:
    """A reason in a feed, and how many."""

    feed: str
    reason: str
    count: int


class Failures:
    """The list, its export, and what is done about it.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/failures", self._list, methods=["GET"]),
            Route("/failures.csv", self._export, methods=["GET"]),
            Route("/failures/confirm", self._confirm, methods=["GET"]),
            Route("/failures/retry", self._retry, methods=["POST"]),
            Route("/failures/discard", self._discard, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        visitor = await require(request, Role.VIEWER)
        asked = request.query_params
        wanted, after = selection(asked, datetime.now(UTC)), parse_cursor(asked.get("after"))
        async with self._ground.connection() as conn:
            counts = [Why(*row) for row in await parked.failure_counts(conn)]
            rows = await parked.failures(
                conn, wanted, limit=PAGE + 1, after=None if after is None else (after.at, after.feed, after.key)
            )
            total = await self._total(conn, wanted, counts)
        shown = rows[:PAGE]
        last = shown[-1] if len(rows) > PAGE else None
        ours = [why for why in counts if why.reason != Reason.HELD_BY_BREAKER.name]
        return show(
            request, visitor, "failures.html",
            rows=shown, next=None if last is None else str(Cursor(last.parked_at, last.feed, last.key)), total=total,
            held=sum(why.count for why in counts) - sum(why.count for why in ours),
            summary=sorted(ours, key=lambda why: -why.count), asked=asked, criteria=_criteria(asked),
            reasons=sorted({why.reason for why in ours} | ({asked["reason"]} if asked.get("reason") else set())),
            feeds=sorted({*self._ground.profile.feeds, *(why.feed for why in ours)}), sinces=list(SINCE),
            is_filtered=bool(_criteria(asked)), back=link("/failures", after=asked.get("after"), **_criteria(asked)),
        )  # fmt: skip

    @staticmethod
    async def _total(conn: Any, wanted: Selection, counts: list[Why]) -> int:
        """Add up what is counted already; a time or a key has to be counted anew."""
        if wanted.since is None and wanted.until is None and wanted.keys is None:
            fits = (
                why.count
                for why in counts
                if wanted.feed in {None, why.feed}
                and wanted.reason in {None, why.reason}
                and why.reason != wanted.without
            )
            return sum(fits)
        return (await parked.count(conn, wanted))[0]

    async def _export(self, request: Request) -> Response:
        await require(request, Role.VIEWER)
        wanted = selection(request.query_params, datetime.now(UTC))
        return StreamingResponse(
            self._lines(wanted), media_type="text/csv; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="failures.csv"'},
        )  # fmt: skip

    async def _lines(self, wanted: Selection) -> AsyncIterator[str]:
        """Give the file page by page; a connection is taken for each, so that a slow reader keeps none."""
        yield export.HEAD
        after: tuple[datetime, str, str] | None = None
        while True:
            async with self._ground.connection() as conn:
                rows = await parked.failures(conn, wanted, limit=_CSV_PAGE, after=after)
            if rows:
                yield "".join(export.line(row) for row in rows)
                after = (rows[-1].parked_at, rows[-1].feed, rows[-1].key)
            if len(rows) < _CSV_PAGE:
                return

    async def _confirm(self, request: Request) -> Response:
        visitor = await require(request, Role.OPERATOR)
        asked = request.query_params
        does = choice(asked, "action", _ACTIONS) or "retry"
        async with self._ground.connection() as conn:
            count, at = await parked.count(conn, selection(asked, datetime.now(UTC)))
        criteria = _criteria(asked)
        noun = counted(count, "failure")
        return show(
            request, visitor, "confirm.html",
            title=f"{does.capitalize()} {noun}?", count=count,
            question=f"{noun} {'fits' if count == 1 else 'fit'} what you chose." if criteria else f"All {noun}.",
            effect=_EFFECTS[does], facts=list(criteria.items()), action=f"/failures/{does}",
            hidden={**criteria, "until": at.isoformat(), "expected": count, "many": "yes"}, type_above=TYPE_ABOVE,
            because="needed" if does == "discard" else "no", does=f"{does.capitalize()} {noun}",
            is_grave=does == "discard", back=link("/failures", **criteria),
        )  # fmt: skip

    async def _retry(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            wanted = await self._chosen(act)
            count = await parked.retry(act.conn, wanted)
            await self._record(act, "failures.retry", count)
        return go(request, _back(act), _said(count, "is tried again", "are tried again"))

    async def _discard(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            why = needed(act.form, "because", "say why they are discarded; it is all that is left of them")
            wanted = await self._chosen(act)
            count = await parked.discard(act.conn, wanted, f"{why} ({act.visitor.actor})")
            await self._record(act, "failures.discard", count)
        return go(request, _back(act), _said(count, "is discarded", "are discarded"))

    @staticmethod
    async def _chosen(act: Act) -> Selection:
        wanted = selection(act.form, datetime.now(UTC))
        if act.form.get("many") == "yes":
            if act.form.get("since"):  # what was counted, and not what the clock makes of it meanwhile
                wanted = replace(wanted, since=(wanted.until or datetime.now(UTC)) - SINCE[act.form["since"]])
            count, _ = await parked.count(act.conn, wanted)
            check_typed(act.form, count)
            return wanted
        needed(act.form, "feed", "say which feed")
        needed(act.form, "key", "say which key")
        return wanted

    @staticmethod
    async def _record(act: Act, action: str, count: int) -> None:
        if count:
            await act.record(action, described(**_criteria(act.form)), count)


def _criteria(asked: Asked) -> dict[str, str]:
    return {name: asked[name] for name in _CRITERIA if asked.get(name)}


def _back(act: Act) -> str:
    given = act.form.get("back")
    return "/failures" if given is None else local_path(given)


def _said(count: int, one: str, many: str) -> str:
    if not count:
        return "Nothing of that is parked any more."
    return f"{counted(count, 'record')} {one if count == 1 else many}."
