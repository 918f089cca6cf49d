"""What a connection string leads to, and what a driver's error means. No server is asked."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from cdc.connection import Route, is_transient, parse_dsn, route_of, translate
from cdc.errors import ConfigError, PreflightError, SourceUnavailable
from cdc.source.poolers import refuse_transaction_pooler

DSN = "postgresql://app:s3cr3t@db.example.org:5433/shop"


@pytest.mark.parametrize(
    ("dsn", "route"),
    [
        ("postgresql://postgres:x@db.abcdefgh.supabase.co:5432/postgres", Route.DIRECT),
        ("postgresql://postgres:x@db.abcdefgh.supabase.co:6543/postgres", Route.TRANSACTION_POOLER),
        ("postgresql://postgres.abc:x@aws-0-eu-west-1.pooler.supabase.com:5432/postgres", Route.SESSION_POOLER),
        ("postgresql://postgres.abc:x@aws-0-eu-west-1.pooler.supabase.com/postgres", Route.SESSION_POOLER),
        ("postgresql://postgres.abc:x@aws-0-eu-west-1.pooler.supabase.com:6543/postgres", Route.TRANSACTION_POOLER),
        ("host=localhost port=6543 user=me", Route.DIRECT),
        ("postgresql:///db?host=/run/postgresql", Route.DIRECT),
        ("", Route.DIRECT),
    ],
)
def test_host_and_port_tell_what_a_dsn_leads_to(dsn: str, route: Route) -> None:
    assert route_of(dsn) is route


@pytest.mark.parametrize("dsn", ["mysql://root:s3cr3t@h/db", "postgresql://u:s3cr3t@h:port/db?nonsense=1", "s3cr3t"])
def test_what_is_no_connection_string_is_refused_without_being_repeated(dsn: str) -> None:
    with pytest.raises(ConfigError, match="not a connection string") as caught:
        parse_dsn(dsn)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "host", ["db.abcdefgh.supabase.co", "aws-0-eu-west-1.pooler.supabase.com", "aws-1-us-east-2.pooler.supabase.com"]
)
def test_the_transaction_pooler_is_refused_with_both_ways_out(host: str) -> None:
    with pytest.raises(PreflightError, match="transaction mode") as caught:
        refuse_transaction_pooler(f"postgresql://postgres:s3cr3t@{host}:6543/postgres")
    assert "CDC_TRANSPORT=poll" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('FATAL:  password authentication failed for user "app"', "the password for app at db.example.org is wrong"),
        ("fe_sendauth: no password supplied", "the password for app at db.example.org is wrong"),
        ("FATAL:  Tenant or user not found", "app may not log in at db.example.org"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "app may not log in at db.example.org"),
        ('FATAL:  role "app" is not permitted to log in', "app may not log in at db.example.org"),
        ('FATAL:  database "shop" does not exist', "there is no database shop at db.example.org"),
        (
            "SSL error: certificate verify failed",
            "the TLS certificate of db.example.org can't be verified: another CA than that in sslrootcert, or expired",
        ),
    ],
)
def test_what_another_try_cannot_mend_is_said_so(text: str, cause: str) -> None:
    error = translate(psycopg.OperationalError(f"connection failed: {text}"), DSN)
    assert isinstance(error, PreflightError)
    assert error.message == cause
    assert error.fix


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("connection refused", "db.example.org:5433 can't be reached"),
        ("Network is unreachable", "no route to its address"),
        ("FATAL:  sorry, too many clients already", "too many clients already"),
        ("FATAL:  the database system is starting up", "the database system is starting up"),
        ("FATAL:  permission denied to start WAL sender", "permission denied to start WAL sender"),
        ("FATAL:  must be superuser or replication role to start walsender", "replication role"),
    ],
)
def test_what_may_pass_is_worth_another_try_and_keeps_the_servers_words(text: str, cause: str) -> None:
    error = translate(psycopg.OperationalError(f"connection failed: {text}"), DSN)
    assert isinstance(error, SourceUnavailable)
    assert cause in error.message
    assert "s3cr3t" not in str(error)


def test_a_dsn_without_parts_still_gives_a_sentence() -> None:
    assert "the server:5432 can't be reached" in translate(psycopg.OperationalError("gone"), "").message


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (errors.AdminShutdown(), True),
        (errors.CannotConnectNow(), True),
        (errors.TooManyConnections(), True),
        (errors.ConnectionFailure(), True),
        (errors.DeadlockDetected(), True),
        (errors.ReadOnlySqlTransaction(), True),
        (errors.IdleInTransactionSessionTimeout(), True),
        (errors.UniqueViolation(), False),
        (errors.UndefinedTable(), False),
        (psycopg.ProgrammingError("no"), False),
    ],
)
def test_lost_connections_and_deadlocks_are_transient(error: psycopg.Error, transient: bool) -> None:
    assert is_transient(error) is transient
