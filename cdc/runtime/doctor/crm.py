"""The way into the CRM: settings, network, token, organisation, scopes, credits."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from cdc.errors import CdcError
from cdc.runtime.doctor.address import resolve
from cdc.runtime.doctor.examination import Examination, rows, scalar
from cdc.runtime.doctor.finding import Finding, Findings, from_error, from_sink_error, ok, problem, skipped
from cdc.runtime.doctor.judgement import crm as judge
from cdc.runtime.doctor.judgement import source as clocks
from cdc.runtime.limits import credit_limit
from cdc.runtime.signin import signed_in
from cdc.state.credits import CreditLedger, read_spending
from cdc.state.database import open_pool
from cdc.state.tokens import StoredTokens
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.tokens import TokenStore
from sinks.zoho.auth import MemoryTokens, due_at
from sinks.zoho.client import CreditBook, NoBook, ZohoClient
from sinks.zoho.connect import MODULES, open_client, who_am_i
from sinks.zoho.limits import Kind
from sinks.zoho.transport import AnswerLost, NotSent, Transport

_CLOCK_SECONDS: Final = 10.0  # its Date has whole seconds, and a request takes a while
_WHY: Final = "without it nothing is delivered; capture goes on"
_LIVES_IN: Final = re.compile(r"the account lives in data centre ([A-Z]{2})")
_REFUSED: Final = """
select reason, count(*) from cdc.zoho_sync_log
where created_at > now() - interval '1 hour' and reason = any(%s) group by 1
"""
_WAITING: Final = "select reason, count(*) from cdc.outbox where parked_at is null and reason = any(%s) group by 1"


async def look_settings(exam: Examination) -> Findings:
    """Whether the client is set. The refresh token may be one that a sign-in stored."""
    s = exam.settings
    if not s.has_crm and s.zoho_client_secret is None and s.zoho_refresh_token is None:
        return skipped("no CRM is configured: `cdc run` would start the simulator")
    named = {"ZOHO_CLIENT_ID": s.zoho_client_id, "ZOHO_CLIENT_SECRET": s.zoho_client_secret}
    missing = [name for name, value in named.items() if value is None]
    if missing:
        fix = "\n".join(f"export {name}=…  # docs/zoho.md says where it comes from" for name in missing)
        return [problem(f"{', '.join(missing)} is not set", why=_WHY, fix=fix)]
    if s.zoho_refresh_token is None:
        return ok("client id and secret are set; the refresh token is that of `cdc login zoho`")
    return ok("client id, secret and refresh token are set")


async def look_reachable(exam: Examination) -> Findings:
    """Whether the OAuth server and the API can be reached, and what their clocks say."""
    config = exam.zoho_config()
    origins = {config.accounts_url or config.center.accounts, config.api_domain or config.center.api or ""} - {""}
    found: list[Finding] = []
    async with Transport(timeout=8.0, connections=2) as transport:
        for origin in sorted(origins):
            found += await _visit(exam, transport, origin)
    return found or ok(f"{' and '.join(urlsplit(origin).netloc for origin in sorted(origins))} answer")


async def _visit(exam: Examination, transport: Transport, origin: str) -> list[Finding]:
    """Ask for the front page, without a token, and keep the clock that it shows."""
    url = urlsplit(origin)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    fix = f"let this machine reach {host}:{port} (firewall, proxy); this shows where it ends: curl -v {origin}/"
    if not await resolve(host, port):
        return [problem(f"{host} has no address", why=_WHY, fix=f"correct the ZOHO_ settings, or the resolver; {fix}")]
    before = exam.clock()
    try:
        answer = await transport.send("GET", f"{origin.rstrip('/')}/")
    except (NotSent, AnswerLost) as error:
        return [problem(f"{host}:{port} can't be reached: {error}", why=_WHY, fix=fix)]
    date = _date(answer.headers.get("Date"))
    if date is not None:
        exam.clocks[host] = (date - (before + (exam.clock() - before) / 2)).total_seconds()
    return []


def _date(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


async def look_clock(exam: Examination) -> Findings:
    """The CRM's clock beside ours."""
    if not exam.clocks:
        return skipped("it sent no Date")
    host, ahead = max(exam.clocks.items(), key=lambda clock: abs(clock[1]))
    return clocks.clock(host, ahead, _CLOCK_SECONDS)


async def look_data_centre(exam: Examination) -> Findings:
    """Whether the stored token is for the configured data centre."""
    domain = await _stored(exam, "select api_domain from cdc.zoho_tokens where id = 'zoho'")
    if exam.settings.zoho_api_domain is not None:
        return ok("ZOHO_API_DOMAIN names the API")
    lives_in = await _stored(exam, "select to_jsonb(t) ->> 'data_center' from cdc.zoho_tokens t where id = 'zoho'")
    return judge.data_centre(domain, lives_in or exam.settings.zoho_data_center)


async def _stored(exam: Examination, query: str) -> Any:
    """Ask the state, if its tables are there."""
    return await scalar(exam.state, query) if await _has_state(exam) else None


async def _has_state(exam: Examination) -> bool:
    """Tell whether the state can be asked: it lets us in, and was set up."""
    if not exam.state_dsn:
        return False
    try:
        return bool(await scalar(await exam.open_state(), "select to_regclass('cdc.zoho_tokens') is not null"))
    except (CdcError, psycopg.Error):
        return False


async def look_token(exam: Examination) -> Findings:
    """Whether there is an access token to be had: the stored one, or a new one under the store's lock."""
    has_state = await _has_state(exam)
    if exam.source_dsn and not exam.has_state:
        return skipped("the stored token is in a database that can't be reached, and isn't made anew")
    store: TokenStore = MemoryTokens()
    book: CreditBook = NoBook()
    if has_state:
        pool = await exam.stack.enter_async_context(open_pool(exam.state_dsn, purpose="doctor", size=2))
        store = StoredTokens(pool, exam.keyring)
        book = await exam.stack.enter_async_context(CreditLedger(pool))
    try:
        before = await store.load()
    except CdcError:
        return skipped("the stored token doesn't open; see state.key")
    except psycopg.errors.UndefinedColumn:
        return skipped("the tables are older than this program; see state.migrations")
    account = exam.zoho_config()
    try:
        account = signed_in(account, before)
    except CdcError as error:
        return [from_error(error, why=_WHY)]
    exam.client = await exam.stack.enter_async_context(open_client(account, store, book))
    try:
        await exam.client.api_origin()
    except SinkError as error:
        lives_in = _LIVES_IN.search(error.detail)
        fix = None if lives_in is None else f"export ZOHO_DATA_CENTER={lives_in[1]}"
        return [from_sink_error(error, why=_WHY, fix=fix)]
    record = await store.load()
    made = "the stored one" if before is not None and record == before else "made anew"
    due = None if record is None else due_at(record)
    return ok(f"an access token, {made}; the next is due at {due:%H:%M} UTC" if due else f"an access token, {made}")


async def look_organisation(exam: Examination) -> Findings:
    """Whose CRM it is, and whether the settings have its limits."""
    try:
        found = await who_am_i(exam.client)
    except SinkError as error:
        return [_refused(error, "read the organisation (ZohoCRM.org.READ)", exam)]
    return judge.licence(found, exam.settings.zoho_edition, exam.settings.zoho_users)


async def look_scopes(exam: Examination) -> Findings:
    """Whether the token may read what the feeds need. What it may write only `--write-test` shows."""
    found: list[Finding] = []
    modules = sorted({MODULES[feed.sink] for feed in exam.profile.feeds.values()})
    for module in modules:
        what = f"read {module} (ZohoCRM.modules.{module.lower()}.READ)"
        page = {"fields": "id", "per_page": "1"}
        found += await _try(exam, what, Kind.RECORDS_READ, "GET", f"/{module}", params=page)
    query = {"select_query": "select id from Contacts where id is not null limit 1"}
    found += await _try(exam, "query (ZohoCRM.coql.READ)", Kind.COQL, "POST", "/coql", json=query)
    return found or ok(f"{', '.join(modules)} may be read; what may be written only --write-test shows")


async def _try(exam: Examination, what: str, kind: Kind, method: str, path: str, **more: Any) -> list[Finding]:
    client: ZohoClient = exam.client
    try:
        await client.call(kind, method, path, **more)
    except SinkError as error:
        return [_refused(error, what, exam)]
    return []


def _refused(error: SinkError, what: str, exam: Examination) -> Finding:
    if error.reason is Reason.SCOPE_MISSING:
        return judge.missing_scope(what, exam.profile)
    return from_sink_error(error, why=f"it was asked to {what}")


async def look_credits(exam: Examination) -> Findings:
    """What is left of the day's credits, and who was turned away lately."""
    limit, used = credit_limit(exam.settings), 0
    refused: dict[str, int] = {}
    if await _has_state(exam):
        used = (await read_spending(exam.state, limit)).used
        names = [Reason.CONCURRENCY_LIMIT.name]
        for counting in (_REFUSED, _WAITING):
            for name, count in await rows(exam.state, counting, names):
                refused[name] = refused.get(name, 0) + int(count)
    return judge.credits(used, limit, exam.client.credits_remaining, refused)
