"""A small client of the simulated API: it signs in and sends what it is told, nothing more."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from sinks.simulator import RunningSimulator, SimulatorConfig, start_simulator

PREFIX = "/crm/v8"


class Crm:
    """A simulator and one signed-in connection to it."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config

    async def __aenter__(self) -> Self:
        self.running: RunningSimulator = await start_simulator(self._config)
        self.http = httpx.AsyncClient(base_url=self.running.url, timeout=10)
        await self.sign_in()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.http.aclose()
        await self.running.close()

    @property
    def credentials(self) -> dict[str, str]:
        return {"client_id": self.running.client_id, "client_secret": self.running.client_secret}

    async def mint(self, **changes: str) -> httpx.Response:
        grant = {"grant_type": "refresh_token", "refresh_token": self.running.refresh_token}
        return await self.http.post("/oauth/v2/token", data={**self.credentials, **grant, **changes})

    async def sign_in(self) -> None:
        token = (await self.mint()).json()["access_token"]
        self.http.headers["Authorization"] = f"Zoho-oauthtoken {token}"

    async def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        return await self.http.request(method, path if path.startswith(("/crm", "/_sim")) else PREFIX + path, **how)

    async def get(self, path: str, **how: Any) -> httpx.Response:
        return await self.call("GET", path, **how)

    async def post(self, path: str, body: object, **how: Any) -> httpx.Response:
        return await self.call("POST", path, json=body, **how)

    async def put(self, path: str, body: object) -> httpx.Response:
        return await self.call("PUT", path, json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.call("DELETE", path)

    async def insert(self, module: str, *records: object, **beside: object) -> httpx.Response:
        return await self.post(f"/{module}", {"data": list(records), **beside})

    async def upsert(self, *records: object, by: list[str] | None = None) -> httpx.Response:
        listed = {"duplicate_check_fields": by} if by is not None else {}
        return await self.post("/Contacts/upsert", {"data": list(records), "trigger": [], **listed})

    async def contact(self, **fields: object) -> str:
        """Make a contact; its id."""
        answer = await self.insert("Contacts", {"Last_Name": "Doe", **fields})
        assert answer.status_code == 201, answer.text
        return str(items(answer)[0]["details"]["id"])

    async def records(self, module: str) -> list[dict[str, Any]]:
        return list((await self.get(f"/_sim/records/{module}")).json())

    async def calls(self, **query: str) -> list[dict[str, Any]]:
        return list((await self.get("/_sim/calls", params=query)).json())

    async def fault(self, **rule: object) -> None:
        answer = await self.call("POST", "/_sim/faults", json=[rule])
        assert answer.status_code == 200, answer.text


def items(answer: httpx.Response) -> list[dict[str, Any]]:
    return list(answer.json()["data"])


def codes(answer: httpx.Response) -> list[str]:
    return [item["code"] for item in items(answer)]


def details(answer: httpx.Response) -> dict[str, Any]:
    return dict(items(answer)[0]["details"])
