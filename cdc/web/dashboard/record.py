"""`/record`: one record's story. Masked; revealing it and asking the CRM are actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cdc.errors import CdcError
from cdc.repair.resend import resend
from cdc.routing.feeds import Feed
from cdc.runtime.explain import explain
from cdc.runtime.masking import mask
from cdc.runtime.story import Story
from cdc.state import audit
from cdc.web.access import Role, Visitor, require
from cdc.web.dashboard.acting import acting, described, operator_form
from cdc.web.dashboard.asked import Asked, choice, needed, text
from cdc.web.dashboard.ground import Ground, go, record_path, show
from cdc.web.refusals import Refusal
from sinks.base import Readable

_YES = frozenset({"yes"})


@dataclass(frozen=True, slots=True)
class Cell:
    """A field, as it is shown."""

    name: str
    ours: str
    theirs: str = ""
    is_equal: bool | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """A record's fields. `missing`: the CRM was asked and hasn't it."""

    record_id: str
    cells: Sequence[Cell]
    crm_id: str | None = None
    missing: bool = False


class Records:
    """The page and its actions.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/record", self._page, methods=["GET"]),
            Route("/record/ask", self._ask, methods=["POST"]),
            Route("/record/reveal", self._reveal, methods=["POST"]),
            Route("/record/sync", self._sync, methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        visitor, asked = await require(request, Role.VIEWER), request.query_params
        if text(asked, "key") is None and text(asked, "record") is None:
            return show(request, visitor, "find.html", feeds=list(self._ground.profile.feeds))
        feed, key = await self._wanted(asked)
        if text(asked, "key") is None:
            return RedirectResponse(record_path(feed.name, key), 303)
        story = await self._story(feed, key, None, with_journal=choice(asked, "journal", _YES) is not None)
        return self._shown(request, visitor, feed, story)

    async def _ask(self, request: Request) -> Response:
        """Show it with what the CRM holds. Not remembered: a reload asks the person, and then the CRM, once more."""
        visitor, form = await operator_form(request)
        feed, key = await self._wanted(form)
        await self._note(visitor, "record.ask", feed, key)
        return await self._asked(request, visitor, feed, key, revealed=False)

    async def _reveal(self, request: Request) -> Response:
        """Show the values themselves. It is written down before anything is read."""
        visitor, form = await operator_form(request)
        feed, key = await self._wanted(form)
        await self._note(visitor, "person.reveal", feed, key)
        if choice(form, "ask", _YES) is not None:
            return await self._asked(request, visitor, feed, key, revealed=True)
        return self._shown(request, visitor, feed, await self._story(feed, key, None), revealed=True)

    async def _sync(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            feed, key = await self._wanted(act.form)
            async with self._ground.source.connection() as source:
                marked, _ = await resend(source, act.conn, feed, [key])
            if marked:
                await act.record("record.sync", described(feed=feed.name, key=key))
        told = "It is marked, and is sent at once." if marked else "It is in no view, and was never sent."
        return go(request, record_path(feed.name, key), told)

    async def _asked(self, request: Request, visitor: Visitor, feed: Feed, key: str, *, revealed: bool) -> Response:
        sink = self._ground.readers.get(feed.name)
        if sink is None:
            raise Refusal(422, "no_crm", "there is no CRM that could be asked about this feed")
        try:
            story = await self._story(feed, key, sink)
        except CdcError as error:
            story, refusal = await self._story(feed, key, None), error.message
            return self._shown(request, visitor, feed, story, revealed=revealed, refusal=refusal)
        return self._shown(request, visitor, feed, story, revealed=revealed)

    async def _story(self, feed: Feed, key: str, sink: Readable | None, *, with_journal: bool = False) -> Story:
        ground = self._ground
        async with ground.connections() as (source, state):
            return await explain(
                source, state, ground.slot, feed, key, ground.hash_key, sink, with_journal=with_journal
            )

    def _shown(
        self, request: Request, visitor: Visitor, feed: Feed, story: Story, *, revealed: bool = False, refusal: str = ""
    ) -> Response:
        here = {"feed": story.feed, "key": story.key}
        records = {*(entry.record_id for entry in story.ledger), *(row.record_id for row in story.rows)}
        return show(
            request, visitor, "record.html", story=story, here=here, back=record_path(story.feed, story.key),
            values=values(story, str if revealed else mask), revealed=revealed, refusal=refusal,
            can_ask=feed.name in self._ground.readers, cost=max(1, len(records)),
        )  # fmt: skip

    async def _wanted(self, asked: Asked) -> tuple[Feed, str]:
        name = needed(asked, "feed", "say which feed")
        feed = self._ground.profile.feeds.get(name)
        if feed is None:
            raise Refusal(404, "not_found", "there is no such feed")
        key = text(asked, "key")
        if key is not None:
            return feed, key
        return feed, await self._key_of(feed, needed(asked, "record", "say which key"))

    async def _key_of(self, feed: Feed, record_id: str) -> str:
        """Give the key that a record hangs on; for most feeds they are the same."""
        async with self._ground.connection() as conn:
            row = await (
                await conn.execute(
                    "select key from cdc.ledger where feed = %s and record_id = %s", [feed.name, record_id]
                )
            ).fetchone()
        return record_id if row is None else str(row[0])

    async def _note(self, visitor: Visitor, action: str, feed: Feed, key: str) -> None:
        async with self._ground.connection() as conn:
            await audit.record(conn, actor=visitor.actor, action=action, subject=described(feed=feed.name, key=key))


def values(story: Story, words: Callable[[Any], str]) -> list[Values]:
    """Give a story's values as they are shown.

    Args:
        story: with the CRM's or without.
        words: what becomes of a value: its mask, or itself.
    """
    if story.in_crm is None:
        return [Values(row.record_id, [Cell(n, words(v)) for n, v in sorted(row.fields.items())]) for row in story.rows]
    return [
        Values(
            record.record_id,
            [
                Cell(pair.name, words(pair.ours), words(pair.theirs), pair.is_equal)
                for pair in sorted(record.pairs, key=lambda pair: pair.name)
            ],
            record.crm_id,
            missing=not record.found,
        )
        for record in story.in_crm
    ]
