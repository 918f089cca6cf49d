"""The way to the source: address, TLS, poolers, and what a session there begins with."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from psycopg import AsyncConnection

from cdc.connection import Route, parse_dsn, route_of, unverified
from cdc.errors import CdcError, PreflightError
from cdc.runtime.doctor.examination import Examination, rows, scalar
from cdc.runtime.doctor.finding import Findings, from_error, ok, problem, skipped, warning
from cdc.runtime.doctor.judgement import source as judge
from cdc.source.poolers import check_sessions, refuse_transaction_pooler
from cdc.source.preflight import choose_transport

CLOCK_SECONDS: Final = 5.0
_SESSION: Final = (
    "idle_session_timeout",
    "transaction_timeout",
    "lock_timeout",
    "default_transaction_read_only",
)


async def look_address(exam: Examination) -> Findings:
    """What DATABASE_URL leads to, and whether that can be found from here."""
    if not exam.source_dsn:
        return skipped("no database is configured: `cdc run` would start one of its own, with made-up people")
    try:
        refuse_transaction_pooler(exam.source_dsn)
    except PreflightError as error:
        return [from_error(error, why="neither locks nor the replication protocol get through it")]
    parts = parse_dsn(exam.source_dsn)
    host, port = str(parts.get("host") or ""), int(str(parts.get("port") or 5432).partition(",")[0])
    if not host or host.startswith("/") or "," in host or parts.get("hostaddr"):
        return ok(f"{host or 'a local socket'}, {route_of(exam.source_dsn).value}")
    found = await resolve(host, port)
    has_ipv6 = any(_has_route(address) for family, address in found if family is socket.AF_INET6)
    names = {"IPv6" if family is socket.AF_INET6 else "IPv4" for family, _ in found}
    judged = judge.resolution(host, names, has_ipv6=has_ipv6)
    return judged if judged[0].needs_a_person else ok(f"{judged[0].what}; {route_of(exam.source_dsn).value}")


async def resolve(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Give (family, address) of a host; empty if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [(family, address) for family, _, _, _, address in found]


def _has_route(address: tuple[Any, ...]) -> bool:
    """Tell whether there is a way to an address. Connecting a datagram socket sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError:
        return False
    return True


async def look_tls(exam: Examination) -> Findings:
    """Whether the connection verifies who answers."""
    advice = unverified(exam.source_dsn)
    in_use = "encrypted" if exam.source.pgconn.ssl_in_use else "not encrypted"
    if advice is None:
        return ok(f"who answers is verified, or on this machine; {in_use}")
    return [
        warning(
            f"{in_use}, and {advice.partition(';')[0]}",
            why="somebody on the way could answer in the database's place, and read the password",
            fix="end DATABASE_URL with ?sslmode=verify-full&sslrootcert=/path/to/ca.crt"
            " (Supabase: Database settings, SSL configuration)",
        )
    ]


async def look_reachable(exam: Examination) -> Findings:
    """Whether the database lets us in."""
    try:
        conn = await exam.open_source()
    except CdcError as error:
        return [from_error(error, why="without it nothing is captured and nothing delivered")]
    role, database = (await rows(conn, "select current_user::text, current_database()::text"))[0]
    return ok(f"connected as {role} to database {database}")


async def look_version(exam: Examination) -> Findings:
    """The server's version and its known traps."""
    number = int(await scalar(exam.source, "select current_setting('server_version_num')"))
    words = str(await scalar(exam.source, "show server_version")).split()[0]
    return judge.version(number, words, in_recovery=await scalar(exam.source, "select pg_is_in_recovery()"))


async def look_clock(exam: Examination) -> Findings:
    """The server's clock beside ours."""
    before = exam.clock()
    theirs = await scalar(exam.source, "select clock_timestamp()")
    middle = before + (exam.clock() - before) / 2
    return judge.clock("the database", (theirs - middle).total_seconds(), CLOCK_SECONDS)


async def look_transport(exam: Examination) -> Findings:
    """Which transports the address carries."""
    wanted = exam.settings.cdc_transport
    if wanted == "realtime":
        return skipped("CDC_TRANSPORT=realtime needs no slot")
    try:
        transport, why = await choose_transport(exam.source_dsn, wanted)
    except CdcError as error:
        fix = "export CDC_TRANSPORT=poll" if isinstance(error, PreflightError) else None
        why = "CDC_TRANSPORT=stream asks for what this address doesn't carry"
        return [problem(error.message, why=why, fix=fix or error.fix or "export CDC_TRANSPORT=poll")]
    way = route_of(exam.source_dsn)
    pooled = " through a pooler of your own" if way is Route.DIRECT and transport == "poll" and wanted == "auto" else ""
    return ok(f"{transport}{pooled}: {why}")


async def look_sessions(exam: Examination) -> Findings:
    """Whether a pooler on the way gives each connection a session of its own, and a clean one."""
    try:
        await check_sessions(exam.source_dsn)
        if exam.state_dsn != exam.source_dsn:
            await check_sessions(exam.state_dsn, "CDC_STATE_DSN")
    except CdcError as error:
        return [from_error(error, why="capture lives on locks and cursors, which belong to a session")]
    return ok("each connection has a clean session of its own")


async def look_source_session(exam: Examination) -> Findings:
    """Whether timeouts of the role would cut us off."""
    return await _session(exam.source)


async def look_state_session(exam: Examination) -> Findings:
    """The same in the database with the cdc tables."""
    return ok("the same database as the source") if exam.state is exam.source else await _session(exam.state)


async def _session(conn: AsyncConnection[Any]) -> Findings:
    role, database = (await rows(conn, "select current_user::text, current_database()::text"))[0]
    found = await rows(conn, "select name, reset_val from pg_settings where name = any(%s)", list(_SESSION))
    return judge.session(role, database, dict(found))
