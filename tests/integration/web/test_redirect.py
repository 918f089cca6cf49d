"""The one request that a browser comes back with."""

from __future__ import annotations

import socket

import httpx
import pytest

from cdc.errors import ConfigError
from cdc.web.redirect import redirect_uri, waiting_for_browser
from tests.integration.cli.conftest import free_port


async def test_the_first_request_with_the_state_is_taken_and_no_other() -> None:
    port = free_port()
    async with waiting_for_browser(port, "state") as answer, httpx.AsyncClient() as browser:
        here = redirect_uri(port)
        assert here == f"http://localhost:{port}/"
        for strange in ({"state": "guess", "code": "evil"}, {"code": "evil"}, {}):
            assert (await browser.get(here, params=strange)).status_code == 400
        assert (await browser.get(f"{here}favicon.ico")).status_code == 404
        assert (await browser.post(here, params={"state": "state"})).status_code == 405
        assert not answer.done()
        page = await browser.get(here, params={"state": "state", "code": "<b>c</b>"})
        assert page.status_code == 200
        assert "You can close this tab" in page.text
        assert "<b>" not in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        assert (await browser.get(here, params={"state": "state", "code": "again"})).status_code == 410
        assert await answer == {"state": "state", "code": "<b>c</b>"}


async def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of this machine is taken") as caught:
            async with waiting_for_browser(port, "state"):
                pass
    assert "--port" in str(caught.value.fix)
