"""`/held`: what the breaker holds, and a person's answer to it."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc.state import held
from cdc.state.held import HeldSelection, Kind
from cdc.web.access import Role, require
from cdc.web.dashboard.acting import TYPE_ABOVE, acting, check_typed, described
from cdc.web.dashboard.asked import Asked, choice, needed, text, whole
from cdc.web.dashboard.formats import counted
from cdc.web.dashboard.ground import Ground, go, link, show
from cdc.web.refusals import Refusal

_KEYS: Final = 100
_KINDS: Final = frozenset(kind.value for kind in Kind)
_ACTIONS: Final = frozenset({"approve", "reject"})
_EFFECTS: Final = {
    "approve": "They go as they were held. A record that changes meanwhile is judged anew.",
    "reject": "The CRM stays as it is, until a record changes again. No sweep brings them back.",
}


class Held:
    """The list and the decision.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/held", self._list, methods=["GET"]),
            Route("/held/confirm", self._confirm, methods=["GET"]),
            Route("/held/approve", self._approve, methods=["POST"]),
            Route("/held/reject", self._reject, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        visitor = await require(request, Role.VIEWER)
        wanted = _selection(request.query_params)
        chosen = wanted.feed is not None and wanted.kind is not None
        async with self._ground.connection() as conn:
            groups = await held.held_groups(conn, wanted)
            keys = await held.held_keys(conn, wanted, _KEYS) if chosen and groups else []
        return show(request, visitor, "held.html", groups=groups, keys=keys, chosen=chosen)

    async def _confirm(self, request: Request) -> Response:
        visitor = await require(request, Role.OPERATOR)
        asked = request.query_params
        does, wanted = choice(asked, "action", _ACTIONS) or "reject", _selection(asked)
        async with self._ground.connection() as conn:
            groups = await held.held_groups(conn, wanted, with_causes=False)
        count = sum(group.keys for group in groups)
        noun = counted(count, wanted.kind.value if wanted.kind else "record")
        given = {name: asked[name] for name in ("feed", "kind", "key", "as_of") if asked.get(name)}
        return show(
            request, visitor, "confirm.html",
            title=f"{does.capitalize()} {noun}?", count=count,
            question=f"{noun} {'is' if count == 1 else 'are'} held"
            + (f" of {wanted.feed}." if wanted.feed else "."),
            effect=_EFFECTS[does], facts=[(name, value) for name, value in given.items() if name != "as_of"],
            action=f"/held/{does}", hidden={**given, "expected": count}, type_above=TYPE_ABOVE,
            because="needed" if does == "reject" else "may", does=f"{does.capitalize()} {noun}",
            is_grave=does == "reject" or wanted.kind is Kind.WITHDRAWAL, back="/held",
        )  # fmt: skip

    async def _approve(self, request: Request) -> Response:
        return await self._decide(request, "approve")

    async def _reject(self, request: Request) -> Response:
        return await self._decide(request, "reject")

    async def _decide(self, request: Request, does: str) -> Response:
        async with acting(request, self._ground) as act:
            wanted = _selection(act.form)
            if wanted.as_of is None:
                raise Refusal(422, "missing_parameter", "say as of when; take the button on the page")
            if wanted.is_whole:
                groups = await held.held_groups(act.conn, wanted, with_causes=False)
                check_typed(act.form, sum(group.keys for group in groups))
            if does == "approve":
                count = await held.approve(act.conn, wanted, act.visitor.actor, act.because)
            else:
                why = needed(act.form, "because", "say why they are rejected; it is all that is left of the decision")
                count = await held.reject(act.conn, wanted, act.visitor.actor, why)
            if count:
                given = {name: act.form.get(name) for name in ("feed", "kind", "key")}
                await act.record(f"held.{does}", described(**given), count)
        done = {"approve": "approved", "reject": "rejected"}[does]
        words = f"{counted(count, 'record')} {done}." if count else "Nothing of that is held any more."
        return go(request, link("/held", feed=wanted.feed, kind=wanted.kind) if not wanted.is_whole else "/held", words)


def _selection(asked: Asked) -> HeldSelection:
    kind, key = choice(asked, "kind", _KINDS), text(asked, "key")
    return HeldSelection(
        feed=text(asked, "feed"),
        kind=None if kind is None else Kind(kind),
        keys=None if key is None else [key],
        as_of=whole(asked, "as_of"),
    )
