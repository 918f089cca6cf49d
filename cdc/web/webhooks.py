"""Webhooks as doorbells: what they name is marked dirty, and nothing of what they say is believed.

A row that a webhook carries may be old by now, may come twice or out of order, or never. So only its keys count. They
are marked as a captured change is, and the sender hears 202 once that is committed; delivery then reads the truth.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cdc.routing.feeds import Doorbell, Lane, Profile, qualified
from cdc.routing.rings import KINDS, Ring, ring_of, ring_of_hint
from cdc.routing.router import Route, build_routes
from cdc.settings import Settings, secrets_in
from cdc.state.database import Pool
from cdc.state.doorbell import Touch, marks_of
from cdc.state.outbox import mark
from cdc.web.bodies import Door, parse_object, read_body, require_json
from cdc.web.refusals import Refusal
from cdc.web.signatures import has_token, is_signed, is_timely

log = structlog.get_logger()

_CONNECTIONS: Final = 2
_WAIT_SECONDS: Final = 2.0


@dataclass(slots=True)
class Webhooks:
    """The endpoints.

    Attributes:
        state: pool on the state database; no more than two of its connections are taken.
        routes: by qualified table name.
        doorbells: the application's own webhooks, by name.
        lane_seconds: length of each lane's window.
        tokens: that a database webhook may send.
        signing_secrets: that the application's webhooks may be signed with.
    """

    state: Pool
    routes: Mapping[str, Route]
    doorbells: Mapping[str, Doorbell]
    lane_seconds: Mapping[Lane, float]
    tokens: tuple[str, ...] = field(repr=False)
    signing_secrets: tuple[str, ...] = field(repr=False)
    _door: Door = field(default_factory=Door)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS))

    @classmethod
    def make(cls, settings: Settings, profile: Profile, state: Pool) -> Webhooks:
        """Make them as configured."""
        return cls(
            state,
            build_routes(profile),
            profile.doorbells,
            {Lane.ROLLUP: settings.cdc_rollup_seconds},
            secrets_in(settings.cdc_webhook_tokens),
            secrets_in(settings.cdc_webhook_signing_secrets),
        )

    async def supabase(self, request: Request) -> Response:
        """Take a Supabase database webhook: `{type, table, schema, record, old_record}`."""
        if not has_token(request.headers, self.tokens):
            raise _unauthorized("a bearer token that is accepted here is needed")
        require_json(request)
        async with self._door.enter():
            payload = parse_object(await read_body(request))
            return await self._take(self._ring_of_row(payload))

    async def application(self, request: Request) -> Response:
        """Take a signed webhook of the application; the profile says what its fields are keys of."""
        doorbell = self.doorbells.get(request.path_params["name"])
        if doorbell is None:
            raise Refusal(404, "not_found", "the profile has no doorbell of this name")
        if not is_timely(request.headers, time.time()):
            raise _unauthorized("webhook-timestamp must be within five minutes of now")
        async with self._door.enter():
            body = await read_body(request)
            if not is_signed(request.headers, body, self.signing_secrets):
                raise _unauthorized("webhook-signature doesn't fit")
            require_json(request)
            route = self.routes[qualified(doorbell.table)]
            ring = ring_of_hint(route, doorbell, parse_object(body))
            if not ring.keys:
                names = ", ".join(doorbell.fields)
                raise Refusal(422, "no_key", f"one of these fields must hold text or a number: {names}")
            return await self._take(ring)

    def _ring_of_row(self, payload: Mapping[str, Any]) -> Ring:
        kind, schema, table = (payload.get(name) for name in ("type", "schema", "table"))
        rows = payload.get("record"), payload.get("old_record")
        if not (isinstance(kind, str) and isinstance(schema, str) and isinstance(table, str)) or kind not in KINDS:
            raise Refusal(422, "invalid_body", "type, schema and table must be those of a database webhook")
        if not all(row is None or isinstance(row, dict) for row in rows):
            raise Refusal(422, "invalid_body", "record and old_record must be objects or null")
        route = self.routes.get(f"{schema}.{table}")
        if route is None:
            return Ring()
        ring = ring_of(route, kind, *rows)
        if not ring.is_whole:
            raise Refusal(422, "no_key", f"the row must hold {', '.join(route.columns)}")
        return ring

    async def _take(self, ring: Ring) -> Response:
        """Mark, commit, and only then say so."""
        if ring.keys:
            now = datetime.now(UTC)
            marks = marks_of({key: Touch(lane, now) for key, lane in ring.keys.items()}, self.lane_seconds)
            try:
                async with (
                    asyncio.timeout(_WAIT_SECONDS),
                    self._turns,
                    self.state.connection(timeout=_WAIT_SECONDS) as conn,
                    conn.transaction(),
                ):
                    await mark(conn, marks)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("webhook_not_stored", error=type(error).__name__)
                raise Refusal(
                    503, "database_away", "the ring could not be stored; try again", {"retry-after": "5"}
                ) from None
        return JSONResponse({"status": "accepted", "keys": len(ring.keys)}, 202)


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "unauthorized", message, {"www-authenticate": "Bearer"})
