"""Connecting to Postgres, and saying plainly why it didn't work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from enum import Enum
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc.errors import CdcError, ConfigError, PreflightError, SourceUnavailable

CONNECT_SECONDS: Final = 10
_POOLER_HOST: Final = ".pooler.supabase.com"
_DIRECT_HOST: Final = ".supabase.co"
_TRANSACTION_PORT: Final = "6543"
_REFUSAL: Final = re.compile(r"FATAL:\s+(.+)")

# A dead line must be noticed: the kernel's own default is two hours.
KEEPALIVES: Final[dict[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 45_000,
}


class Route(Enum):
    """What a connection string leads to. Source: Supabase documentation, "Connect to your database"."""

    DIRECT = "direct"
    SESSION_POOLER = "session pooler"
    TRANSACTION_POOLER = "transaction pooler"


def route_of(dsn: str) -> Route:
    """Tell from host and port what a DSN leads to.

    Raises:
        ConfigError: if it isn't a connection string.
    """
    parts = parse_dsn(dsn)
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")  # libpq says it if that is no number
    if host.endswith((_POOLER_HOST, _DIRECT_HOST)) and port == _TRANSACTION_PORT:
        return Route.TRANSACTION_POOLER
    return Route.SESSION_POOLER if host.endswith(_POOLER_HOST) else Route.DIRECT


def parse_dsn(dsn: str) -> dict[str, Any]:
    """Split a DSN into its parts.

    Raises:
        ConfigError: if libpq can't read it. The message doesn't repeat it: it may hold a password.
    """
    try:
        parts = dict(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        parts = None
    if parts is None or _is_torn(parts):
        raise ConfigError(
            "DATABASE_URL (or CDC_STATE_DSN) is not a connection string",
            fix="write postgresql://user:password@host:5432/database, with special characters percent-encoded",
        ) from None
    return parts


def _is_torn(parts: Mapping[str, Any]) -> bool:
    """A password that isn't percent-encoded puts parts of itself where host and port belong."""
    ports = str(parts.get("port") or "").split(",")
    return "@" in str(parts.get("host") or "") or not all(port.isdecimal() for port in ports if port)


async def connect(dsn: str, *, purpose: str, replication: bool = False) -> AsyncConnection[Any]:
    """Open a connection in autocommit mode, in UTC, without a statement timeout.

    Args:
        dsn: where to.
        purpose: shown in pg_stat_activity, as `cdc <purpose>`.
        replication: for the replication protocol; such a connection keeps the server's settings.

    Raises:
        PreflightError: when another try can't help (password, database, TLS).
        SourceUnavailable: when it may.
    """
    extra: dict[str, Any] = {"application_name": f"cdc {purpose}", "connect_timeout": CONNECT_SECONDS, **KEEPALIVES}
    if replication:
        extra["replication"] = "database"
    parse_dsn(dsn)
    try:
        conn = await AsyncConnection.connect(make_conninfo(dsn, **extra), autocommit=True)
        async with AsyncExitStack() as unless_configured:
            unless_configured.push_async_callback(conn.close)
            if not replication:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await configure(conn)
            unless_configured.pop_all()
    except psycopg.Error as error:
        raise translate(error, dsn) from None
    except TimeoutError:  # a pooler lets in more than it has sessions for, and the first query waits
        raise SourceUnavailable(
            f"{_where(dsn)} let us in and gave no session within {CONNECT_SECONDS} s",
            fix="a pooler's pool may be full: raise its pool size, or close what is connected",
        ) from None
    return conn


def _where(dsn: str) -> str:
    parts = parse_dsn(dsn)
    return f"{parts.get('host') or 'the server'}:{parts.get('port') or 5432}"


async def configure(conn: AsyncConnection[Any]) -> None:
    """Give a session what all our queries rely on. `SET` reaches through a session pooler, start-up options may not."""
    if not conn.autocommit:
        await conn.set_autocommit(True)
    # A generic plan made while the outbox is empty reads it sequentially, and is kept when a backfill has filled it:
    # five times slower, measured with 20,000 keys. Planning anew costs a fraction of a millisecond.
    await conn.execute(
        "set time zone 'UTC'; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;"
        " set plan_cache_mode = 'force_custom_plan'"
    )


_LASTING: Final[dict[str, tuple[str, str]]] = {
    # SQLSTATE: (what is wrong, what to do)
    "28P01": (
        "the password for {user} at {host} is wrong",
        "correct it in DATABASE_URL; percent-encode special characters",
    ),
    "28000": (
        "{user} may not log in at {host}",
        "check the user name (through a pooler it is <role>.<project ref>) and TLS",
    ),
    "3D000": ("there is no database {dbname} at {host}", "correct the database name at the end of DATABASE_URL"),
    "42501": ("{user} lacks a right at {host}", "see the server's words above, and docs/operations.md for the roles"),
}


def translate(error: psycopg.Error, dsn: str) -> CdcError:
    """Turn a driver's connection error into ours, without the DSN's secrets."""
    parts = {"user": "the role", "host": "the server", "dbname": "", **{k: v for k, v in parse_dsn(dsn).items() if v}}
    text = str(error)
    lasting = _tls_problem(text) or _LASTING.get(error.sqlstate or "") or _lasting_by_text(text)
    if lasting is not None:
        problem, fix = lasting
        return PreflightError(problem.format(**parts), fix=fix)
    where = _where(dsn)
    if "Network is unreachable" in text or "Cannot assign requested address" in text:
        return SourceUnavailable(
            f"{where} can't be reached from here: no route to its address",
            fix="Supabase's direct host is IPv6 unless the IPv4 add-on is on; use the session pooler (port 5432)",
        )
    refusal = _REFUSAL.search(text)
    if refusal is not None:  # a server's own words: full, starting up, not enough rights for replication
        may_not_stream = "walsender" in text.lower().replace(" ", "")
        fix = f'ALTER ROLE "{parts["user"]}" REPLICATION;' if may_not_stream else "see the server's words"
        return SourceUnavailable(f"{where} refused the connection: {refusal[1]}", fix=fix)
    why = next((words for words in _WHY_UNREACHABLE if words in text), type(error).__name__)
    return SourceUnavailable(f"{where} can't be reached: {why}", fix="check host, port, network and firewall")


# Of libpq's words only these are repeated: the rest may hold anything.
_WHY_UNREACHABLE: Final = (
    "Connection refused",
    "No such file or directory",
    "could not translate host name",
    "Name or service not known",
    "failed to resolve host",
    "timeout expired",
    "connection timeout",
    "the database system is starting up",
    "the database system is shutting down",
    "remaining connection slots are reserved",
    "too many clients already",
    "server closed the connection unexpectedly",
)


def _lasting_by_text(text: str) -> tuple[str, str] | None:
    """Libpq's own failures have no SQLSTATE, and neither has a server's refusal while connecting."""
    table = {
        "password authentication failed": "28P01",
        "no password supplied": "28P01",
        "Wrong password": "28P01",
        "no pg_hba.conf entry": "28000",
        "Tenant or user not found": "28000",
    }
    for words, sqlstate in table.items():
        if words in text:
            return _LASTING[sqlstate]
    if 'database "' in text and "does not exist" in text:
        return _LASTING["3D000"]
    if 'role "' in text and ("does not exist" in text or "not permitted" in text):
        return _LASTING["28000"]
    return None


_CA: Final = "the project's CA certificate (Supabase: Database settings, SSL configuration)"
_TLS: Final[tuple[tuple[str, tuple[str, str]], ...]] = (
    # libpq's words: (what is wrong, what to do)
    (
        "root certificate file",
        (
            "the certificate of {host} can't be verified: the file of sslrootcert is missing, or no certificate",
            f"download {_CA} and give its path: sslmode=verify-full&sslrootcert=/path/to/ca.crt",
        ),
    ),
    (
        "does not match host name",
        (
            "the TLS certificate that answers at {host} is for another name",
            "connect by the name that the certificate has; a pooler's name may differ from the direct host's",
        ),
    ),
    (
        "certificate verify failed",
        (
            "the TLS certificate of {host} can't be verified: another CA than that in sslrootcert, or expired",
            f"set sslrootcert to {_CA}",
        ),
    ),
    (
        "server does not support SSL",
        (
            "{host} offers no TLS, and sslmode asks for it",
            "check host and port; only on this machine or a private network is sslmode=disable all right",
        ),
    ),
    (
        "no encryption",
        (
            "{host} takes {user} only with TLS",
            f"add sslmode=verify-full&sslrootcert=/path/to/ca.crt to the address, with {_CA}",
        ),
    ),
)


def _tls_problem(text: str) -> tuple[str, str] | None:
    return next((problem for words, problem in _TLS if words in text), None)


_VERIFIED: Final = "verify-full"


def unverified(dsn: str) -> str | None:
    """Say what a connection over a network lacks; None if it is verified, or stays on this machine.

    Libpq's default, `prefer`, takes a connection without TLS if that is all that it is offered. Source: PostgreSQL
    documentation, "SSL Support", Protection Provided in Different Modes.
    """
    parts = parse_dsn(dsn)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "")
    if all(host.startswith("/") or host in _THIS_MACHINE for host in hosts.split(",")):
        return None
    defaults = {option.keyword.decode(): option.val for option in psycopg.pq.Conninfo.get_defaults()}
    mode = str(parts.get("sslmode") or (defaults.get("sslmode") or b"prefer").decode())
    return None if mode == _VERIFIED else f"sslmode={mode} doesn't check who answers; use sslmode={_VERIFIED}"


_THIS_MACHINE: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})


WAITABLE: Final = (psycopg.OperationalError, errors.ReadOnlySqlTransaction, errors.IdleInTransactionSessionTimeout)
"""What the database says for a while: it is away, or it takes no writes, as Supabase's do when their disk is full or a
standby is being promoted. No statement and no row is at fault. https://supabase.com/docs/guides/platform/database-size
"""


def is_transient(error: psycopg.Error) -> bool:
    """True for a lost connection, a server that stops or starts or takes no writes, and a deadlock: try again."""
    if isinstance(
        error,
        (
            errors.AdminShutdown,
            errors.CrashShutdown,
            errors.CannotConnectNow,
            errors.DeadlockDetected,
            errors.ReadOnlySqlTransaction,
            errors.IdleInTransactionSessionTimeout,
        ),
    ):
        return True
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate[:2] in {"08", "57", "53"}
    )
