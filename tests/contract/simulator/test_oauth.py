from urllib.parse import urlencode

import httpx
import pytest

from sinks.simulator.scopes import DEFAULT_SCOPES
from tests.contract.simulator.conftest import Start
from tests.contract.simulator.support import Crm

FIELDS = "/settings/fields?module=Contacts"


async def test_a_minted_token_has_the_documented_answer(crm: Crm) -> None:
    answer = await crm.mint()
    body = answer.json()
    assert answer.status_code == 200
    assert body["expires_in"] == 3600
    assert body["token_type"] == "Bearer"
    assert body["api_domain"] == crm.running.url
    assert "refresh_token" not in body
    assert body["scope"].split() == list(DEFAULT_SCOPES)


async def test_parameters_may_come_in_the_query_string(crm: Crm) -> None:
    query = urlencode({**crm.credentials, "grant_type": "refresh_token", "refresh_token": crm.running.refresh_token})
    assert "access_token" in (await crm.http.post(f"/oauth/v2/token?{query}")).json()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "1000.NOBODY"}, "invalid_client"),
        ({"client_secret": "wrong"}, "invalid_client_secret"),
        ({"refresh_token": "1000.unknown"}, "invalid_code"),
        ({"grant_type": "authorization_code", "code": "never made"}, "invalid_code"),
        ({"grant_type": "client_credentials", "scope": "ZohoCRM.org.READ"}, "missing_org_info"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_token_errors_come_with_status_200(crm: Crm, changes: dict[str, str], error: str) -> None:
    answer = await crm.mint(**changes)
    assert (answer.status_code, answer.json()) == (200, {"error": error})


async def test_the_eleventh_mint_in_ten_minutes_is_throttled(crm: Crm) -> None:
    for _ in range(9):  # signing in was the first
        assert "access_token" in (await crm.mint()).json()
    refused = await crm.mint()
    assert refused.status_code == 400
    assert refused.json()["error"] == "Access Denied"
    assert "too many requests" in refused.json()["error_description"]
    await crm.post("/_sim/clock", {"seconds": 600})
    assert "access_token" in (await crm.mint()).json()


async def test_the_eleventh_live_token_kills_the_oldest(start: Start) -> None:
    crm = await start(mints_in_ten_minutes=100)
    for _ in range(9):
        await crm.mint()
    assert (await crm.get(FIELDS)).status_code == 200
    await crm.mint()
    refused = await crm.get(FIELDS)
    assert (refused.status_code, refused.json()["code"]) == (401, "INVALID_TOKEN")


async def test_an_access_token_expires(crm: Crm) -> None:
    await crm.post("/_sim/clock", {"seconds": 3599})
    assert (await crm.get(FIELDS)).status_code == 200
    await crm.post("/_sim/clock", {"seconds": 2})
    assert (await crm.get(FIELDS)).json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AUTHENTICATION_FAILURE"),
        ("Bearer {token}", "AUTHENTICATION_FAILURE"),
        ("Zoho-oauthtoken", "AUTHENTICATION_FAILURE"),
        ("Zoho-oauthtoken 1000.made.up", "INVALID_TOKEN"),
    ],
)
async def test_calls_demand_a_token_in_zohos_own_scheme(crm: Crm, header: str | None, code: str) -> None:
    token = crm.http.headers["Authorization"].split()[1]
    async with httpx.AsyncClient(base_url=crm.running.url) as plain:
        headers = {"Authorization": header.format(token=token)} if header else {}
        answer = await plain.get("/crm/v8/org", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


async def test_revoking_a_refresh_token_kills_its_access_tokens(crm: Crm) -> None:
    revoked = await crm.http.post(f"/oauth/v2/token/revoke?token={crm.running.refresh_token}")
    assert revoked.json() == {"status": "success"}
    assert (await crm.get(FIELDS)).status_code == 401
    assert (await crm.mint()).json() == {"error": "invalid_code"}


async def test_a_code_works_once_and_gives_a_refresh_token(crm: Crm) -> None:
    code = (await crm.post("/_sim/codes", {})).json()["code"]
    first = (await crm.mint(grant_type="authorization_code", code=code)).json()
    assert "access_token" in (await crm.mint(refresh_token=first["refresh_token"])).json()
    assert (await crm.mint(grant_type="authorization_code", code=code)).json() == {"error": "invalid_code"}


async def test_a_code_expires(crm: Crm) -> None:
    code = (await crm.post("/_sim/codes", {})).json()["code"]
    await crm.post("/_sim/clock", {"seconds": 200})
    assert (await crm.mint(grant_type="authorization_code", code=code)).json() == {"error": "invalid_code"}


async def test_the_twenty_first_refresh_token_evicts_the_oldest(crm: Crm) -> None:
    for _ in range(20):
        code = (await crm.post("/_sim/codes", {})).json()["code"]
        assert "refresh_token" in (await crm.mint(grant_type="authorization_code", code=code)).json()
    assert (await crm.mint()).json() == {"error": "invalid_code"}


async def test_client_credentials_give_no_refresh_token(crm: Crm) -> None:
    org = (await crm.get("/org")).json()["org"][0]["zgid"]
    body = (await crm.mint(grant_type="client_credentials", scope="ZohoCRM.org.READ", soid=f"ZohoCRM.{org}")).json()
    assert body["scope"] == "ZohoCRM.org.READ"
    assert "refresh_token" not in body


@pytest.mark.parametrize(
    ("without", "method", "path"),
    [
        ("ZohoCRM.modules.contacts.CREATE", "POST", "/Contacts/upsert"),
        ("ZohoCRM.modules.contacts.UPDATE", "POST", "/Contacts/upsert"),
        ("ZohoCRM.modules.tasks.CREATE", "POST", "/Tasks"),
        ("ZohoCRM.modules.contacts.DELETE", "DELETE", "/Contacts?ids=1"),
        ("ZohoCRM.settings.fields.READ", "GET", FIELDS),
        ("ZohoCRM.settings.fields.CREATE", "POST", FIELDS),
        ("ZohoSearch.securesearch.READ", "GET", "/Contacts/search?email=a@b.co"),
        ("ZohoCRM.coql.READ", "POST", "/coql"),
        ("ZohoFiles.files.ALL", "POST", "/upload"),
    ],
)
async def test_a_missing_scope_is_a_401_of_its_own(start: Start, without: str, method: str, path: str) -> None:
    crm = await start(scopes=tuple(scope for scope in DEFAULT_SCOPES if scope != without))
    query = "select id from Contacts where Last_Name is not null"
    answer = await crm.call(method, path, json={"data": [{}], "fields": [{}], "select_query": query})
    assert (answer.status_code, answer.json()["code"]) == (401, "OAUTH_SCOPE_MISMATCH")
