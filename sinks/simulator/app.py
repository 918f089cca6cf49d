"""The routes of the simulator, as a Starlette application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sinks.simulator.answers import error
from sinks.simulator.consent import Consent
from sinks.simulator.control import Control
from sinks.simulator.gate import Endpoint, Gate
from sinks.simulator.handlers import bulking, querying, reading, settings, writing
from sinks.simulator.kinds import Kind
from sinks.simulator.page import Page
from sinks.simulator.simulation import Simulation

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(method="POST", path="/oauth/v2/token", kind=Kind.TOKEN, handler=settings.token, public=True),
    Endpoint(method="POST", path="/oauth/v2/token/revoke", kind=Kind.REVOKE, handler=settings.revoke, public=True),
    Endpoint(method="POST", path="/oauth/v3/device/code", kind=Kind.DEVICE, handler=settings.device, public=True),
    Endpoint(
        method="POST", path="/oauth/v3/device/token", kind=Kind.DEVICE_TOKEN, handler=settings.device_token, public=True
    ),
    Endpoint(method="GET", path="/crm/v8/org", kind=Kind.ORG, handler=settings.organisation),
    Endpoint(method="GET", path="/crm/v8/users", kind=Kind.USERS, handler=settings.users),
    Endpoint(method="GET", path="/crm/v8/settings/modules", kind=Kind.MODULES, handler=settings.modules),
    Endpoint(method="GET", path="/crm/v8/settings/modules/{name}", kind=Kind.MODULES, handler=settings.modules),
    Endpoint(method="GET", path="/crm/v8/settings/fields", kind=Kind.FIELDS, handler=settings.fields),
    Endpoint(method="GET", path="/crm/v8/settings/fields/{id}", kind=Kind.FIELDS, handler=settings.fields),
    Endpoint(method="POST", path="/crm/v8/settings/fields", kind=Kind.CREATE_FIELDS, handler=settings.create_fields),
    Endpoint(
        method="POST",
        path="/crm/v8/coql",
        kind=Kind.COQL,
        handler=querying.coql,
        module_of=querying.queried_module,
    ),
    Endpoint(method="POST", path="/crm/v8/upload", kind=Kind.UPLOAD, handler=bulking.upload),
    Endpoint(
        method="POST",
        path="/crm/bulk/v8/write",
        kind=Kind.BULK_WRITE,
        handler=bulking.write,
        module_of=bulking.written_module,
    ),
    Endpoint(method="GET", path="/crm/bulk/v8/write/{id}", kind=Kind.BULK_STATUS, handler=bulking.status),
    Endpoint(method="GET", path="/crm/bulk/v8/write/{id}/result", kind=Kind.BULK_RESULT, handler=bulking.result),
    Endpoint(method="POST", path="/crm/v8/{module}/upsert", kind=Kind.UPSERT, handler=writing.upsert),
    Endpoint(method="GET", path="/crm/v8/{module}/deleted", kind=Kind.DELETED, handler=reading.deleted),
    Endpoint(method="GET", path="/crm/v8/{module}/search", kind=Kind.SEARCH, handler=reading.search),
    Endpoint(method="GET", path="/crm/v8/{module}/actions/count", kind=Kind.COUNT, handler=reading.count),
    Endpoint(
        method="GET", path="/crm/v8/{parent}/{id}/Notes", kind=Kind.RELATED, handler=reading.notes_of, module="Notes"
    ),
    Endpoint(
        method="POST", path="/crm/v8/{parent}/{id}/Notes", kind=Kind.INSERT, handler=writing.add_notes, module="Notes"
    ),
    Endpoint(method="POST", path="/crm/v8/{module}", kind=Kind.INSERT, handler=writing.insert),
    Endpoint(method="PUT", path="/crm/v8/{module}", kind=Kind.UPDATE, handler=writing.update),
    Endpoint(method="GET", path="/crm/v8/{module}", kind=Kind.LIST, handler=reading.listing),
    Endpoint(method="DELETE", path="/crm/v8/{module}", kind=Kind.DELETE, handler=writing.delete),
    Endpoint(method="GET", path="/crm/v8/{module}/{id}", kind=Kind.GET, handler=reading.get),
    Endpoint(method="PUT", path="/crm/v8/{module}/{id}", kind=Kind.UPDATE, handler=writing.update),
    Endpoint(method="DELETE", path="/crm/v8/{module}/{id}", kind=Kind.DELETE, handler=writing.delete),
)
"""The whole API; the first that fits a call takes it."""


def build_app(simulation: Simulation) -> Starlette:
    """The application over one simulation."""
    gate = Gate(simulation)
    routes = [Route(one.path, _bound(gate, one), methods=[one.method]) for one in ENDPOINTS]
    return Starlette(
        routes=[*Control(simulation).routes(), *Page(simulation).routes(), *Consent(simulation).routes(), *routes],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        exception_handlers={HTTPException: _unrouted},
    )


def _bound(gate: Gate, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await gate.answer(endpoint, request)

    return answer


async def _unrouted(_: Request, unrouted: Exception) -> Response:
    """Unknown paths and methods in Zoho's form."""
    status = unrouted.status_code if isinstance(unrouted, HTTPException) else 500
    if status == 404:
        message = "Please check if the URL trying to access is a correct one"
        return JSONResponse(error("INVALID_URL_PATTERN", message), 404)
    if status == 405:
        message = "The http request method type is not a valid one"
        return JSONResponse(error("INVALID_REQUEST_METHOD", message), 405)
    return JSONResponse(error("INVALID_DATA", "body"), status)
