"""The page at `/`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sinks.simulator.simulation import Simulation


class Page:
    """Placeholder until the template lands."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation

    def routes(self) -> list[Route]:
        """Routes to mount."""
        return [Route("/", self._index, methods=["GET"])]

    async def _index(self, _: Request) -> Response:
        return PlainTextResponse("Zoho CRM simulator\n")
