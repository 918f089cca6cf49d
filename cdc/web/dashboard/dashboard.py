"""All pages of the dashboard together."""

from __future__ import annotations

from starlette.routing import BaseRoute

from cdc.web.dashboard.actions import Actions
from cdc.web.dashboard.alerts import Alerts
from cdc.web.dashboard.failures import Failures
from cdc.web.dashboard.ground import Ground
from cdc.web.dashboard.held import Held
from cdc.web.dashboard.home import Home
from cdc.web.dashboard.record import Records


class Dashboard:
    """The pages.

    Args:
        ground: what they stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._actions = Actions(ground)

    def routes(self) -> list[BaseRoute]:
        """Routes to mount."""
        ground = self._ground
        parts = (Home(ground), Failures(ground), Held(ground), Records(ground), Alerts(ground), self._actions)
        return [route for part in parts for route in part.routes()]

    async def close(self) -> None:
        """End what goes on behind the pages."""
        await self._actions.close()
