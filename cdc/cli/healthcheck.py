"""`cdc healthcheck`: ask a running `cdc run` how it does, for containers without curl."""

from __future__ import annotations

from typing import Annotated

import httpx
import typer

from cdc.cli.start import EXIT_ERROR, begin_with_settings
from cdc.errors import ConfigError
from cdc.settings import Settings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, and not listened at


def healthcheck(
    url: Annotated[
        str | None,
        typer.Option(help="What to ask; /livez at CDC_HTTP_HOST and CDC_HTTP_PORT if left out. See docs/access.md."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to wait for an answer.", min=0.1, max=60)] = 5.0,
) -> None:
    """Exit with 0 if the answer is fine, with 1 if it isn't or if there is none."""
    address = url if url is not None else _address(begin_with_settings())
    try:
        answer = httpx.get(address, timeout=seconds)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise ConfigError("--url is no address", fix="give one such as http://127.0.0.1:8080/livez") from None
    except httpx.HTTPError as error:
        typer.echo(f"no answer: {type(error).__name__}", err=True)
        raise typer.Exit(EXIT_ERROR) from None
    typer.echo(f"{answer.status_code}")
    raise typer.Exit(0 if answer.is_success else EXIT_ERROR)


def _address(settings: Settings) -> str:
    if not settings.cdc_http_port:
        raise ConfigError("CDC_HTTP_PORT doesn't say where to ask", fix="set it, or give --url")
    host = _EVERYWHERE.get(settings.cdc_http_host, settings.cdc_http_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.cdc_http_port}/livez"
