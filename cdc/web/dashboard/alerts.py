"""What an operator does about an open alert."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc.state import mutes
from cdc.watch.alerts.rules import RULES
from cdc.web.dashboard.acting import Act, acting
from cdc.web.dashboard.actions import LENGTHS
from cdc.web.dashboard.asked import choice
from cdc.web.dashboard.ground import Ground, go
from cdc.web.refusals import Refusal

_PLACE: Final = "/#alerts"


class Alerts:
    """Acknowledging and muting. All of it needs the role operator.

    Args:
        ground: what the pages stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [
            Route("/alerts/ack", self._acknowledge, methods=["POST"]),
            Route("/alerts/mute", self._mute, methods=["POST"]),
            Route("/alerts/unmute", self._unmute, methods=["POST"]),
        ]

    async def _acknowledge(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            name = _name(act)
            done = await mutes.acknowledge(act.conn, self._ground.slot, name, act.visitor.actor)
            if done:
                await act.record("alert.ack", name)
        words = "is acknowledged: no more reminders" if done else "isn't open any more"
        return go(request, _PLACE, f"{name} {words}.")

    async def _mute(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            name, length = _name(act), choice(act.form, "length", LENGTHS)
            if length is None:
                raise Refusal(422, "missing_parameter", "say for how long")
            until = await mutes.mute(act.conn, self._ground.slot, name, LENGTHS[length], act.visitor.actor)
            await act.record("alert.mute", f"{name}, {length}")
        return go(request, _PLACE, f"{name} is muted until {until:%H:%M} UTC. It is evaluated all the same.")

    async def _unmute(self, request: Request) -> Response:
        async with acting(request, self._ground) as act:
            name = _name(act)
            done = await mutes.unmute(act.conn, self._ground.slot, name)
            if done:
                await act.record("alert.unmute", name)
        return go(request, _PLACE, f"{name} {'is told of again' if done else 'was not muted'}.")


def _name(act: Act) -> str:
    name = act.form.get("alert", "")
    if name not in RULES:
        raise Refusal(422, "invalid_parameter", "there is no such alert")
    return name
