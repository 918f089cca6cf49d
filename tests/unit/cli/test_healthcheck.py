"""`cdc healthcheck`, against a real server: the exit code is all that a container looks at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.cli.healthcheck import _address
from cdc.errors import ConfigError
from cdc.settings import Settings
from tests.support.cli import app


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/livez": 200, "/away": 503, "/else": 302}.get(self.path, 404))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("livez", 0), ("away", 1), ("nothing", 1), ("else", 1)])
def test_the_answer_decides(port: int, path: str, code: int) -> None:
    result = CliRunner().invoke(app, ["healthcheck", "--url", f"http://127.0.0.1:{port}/{path}"])
    assert result.exit_code == code


def test_the_settings_say_where_to_ask(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDC_HTTP_PORT", str(port))
    assert CliRunner().invoke(app, ["healthcheck"]).exit_code == 0
    monkeypatch.delenv("CDC_HTTP_PORT")
    result = CliRunner().invoke(app, ["healthcheck"])
    assert isinstance(result.exception, ConfigError)


def test_nobody_there_is_a_failure_and_no_traceback() -> None:
    result = CliRunner().invoke(app, ["healthcheck", "--url", "http://127.0.0.1:9/livez"])
    assert (result.exit_code, result.output) == (1, "no answer: ConnectError\n")


@pytest.mark.parametrize("url", ["127.0.0.1", "ftp://127.0.0.1/", "http://127.0.0.1:port/"])
def test_what_is_no_address_is_said(url: str) -> None:
    result = CliRunner().invoke(app, ["healthcheck", "--url", url])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")],  # noqa: S104
)
def test_who_listens_everywhere_is_asked_on_this_machine(host: str, asked: str) -> None:
    settings = Settings(_env_file=None, cdc_http_host=host, cdc_http_port=8080)
    assert _address(settings) == f"http://{asked}:8080/livez"
