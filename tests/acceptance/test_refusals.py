"""What can't work is refused with one sentence, exit code 2, and before anything is changed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.resources import sql_dir
from tests.acceptance.processes import ENCRYPTION_KEY, Cdc, Crm
from tests.support.postgres import Database, fresh_database

PASSWORD = "MARKED-pass/word"


def untouched(source: Database) -> bool:
    """Nothing of ours is in the database."""
    return bool(
        source.execute(
            """
            select to_regnamespace('cdc') is null and not exists (select from pg_publication)
               and not exists (select from pg_replication_slots where database = current_database())
               and not exists (select from pg_class where relreplident = 'f' and relnamespace = 'public'::regnamespace)
            """
        )[0][0]
    )


@pytest.fixture(scope="module")
def awkward() -> Iterator[EmbeddedPostgres]:
    """A server that asks one role for its password and has few slots."""
    with EmbeddedPostgres.start(settings={"max_replication_slots": "1", "max_wal_senders": "3"}) as server:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(f"create role guarded login superuser password '{PASSWORD}'")
        hba = server.folder / "data" / "pg_hba.conf"
        hba.write_text(f"local all guarded scram-sha-256\n{hba.read_text()}")
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
        yield server


@pytest.fixture
def there(awkward: EmbeddedPostgres) -> Iterator[Database]:
    """A database of that server with the application's tables."""
    with fresh_database(awkward.dsn) as made:
        made.apply_profile("core")
        made.execute("drop schema cdc cascade")
        yield made


@pytest.fixture
def command(cdc: Cdc, crm: Crm, there: Database) -> Cdc:
    return cdc.using(crm.environment, DATABASE_URL=there.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)


def socket_url(database: Database, user: str, password: str = "") -> str:
    host = psycopg.conninfo.conninfo_to_dict(database.dsn)["host"]
    return f"postgresql://{user}:{password}@/{database.name}?host={host}"


def test_the_pooler_in_transaction_mode(cdc: Cdc) -> None:
    url = f"postgresql://postgres.ref:{PASSWORD.replace('/', '%2F')}@aws-0-eu-1.pooler.supabase.com:6543/postgres"
    command = cdc.using(DATABASE_URL=url, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)
    for name in ("run", "setup"):
        command(name).refused(2, "transaction mode", "6543", "CDC_TRANSPORT=poll")


def test_a_wrong_password(command: Cdc, there: Database) -> None:
    result = command.using(DATABASE_URL=socket_url(there, "guarded", "MARKED-wrong"))("run")

    result.refused(2, "password for guarded", "DATABASE_URL")
    assert "MARKED" not in result.text
    assert untouched(there)


def test_no_such_database_and_no_such_role(command: Cdc, there: Database) -> None:
    command.using(DATABASE_URL=there.dsn.replace(there.name, "nowhere"))("run").refused(2, "no database nowhere")
    command.using(DATABASE_URL=socket_url(there, "nobody_at_all"))("run").refused(2, "nobody_at_all may not log in")


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ("noreplication bypassrls", ("REPLICATION", "ALTER ROLE")),
        ("replication nobypassrls", ("row-level security", "users", "BYPASSRLS")),
        ("replication bypassrls", ("may not read", "GRANT SELECT ON")),
    ],
)
def test_a_role_that_lacks_a_right(
    command: Cdc, there: Database, crm: Crm, rights: str, words: tuple[str, ...]
) -> None:
    role = sql.Identifier(f"r_{there.name}")
    with there.connect() as connection:
        connection.execute(sql.SQL("create role {} login " + rights).format(role))  # type: ignore[arg-type]
        connection.execute("alter table public.users enable row level security")
        if "bypassrls" not in rights.split():
            connection.execute(sql.SQL("grant select on all tables in schema public to {}").format(role))
    try:
        result = command.using(DATABASE_URL=socket_url(there, f"r_{there.name}"))("run")

        result.refused(2, *words)
        assert untouched(there)
        assert crm.calls() == []
    finally:
        with there.connect() as connection:
            connection.execute(sql.SQL("drop owned by {role}; drop role {role}").format(role=role))


def test_no_free_slot(command: Cdc, there: Database) -> None:
    there.execute("select pg_create_logical_replication_slot('somebody_elses', 'pgoutput')")
    result = command("run")

    result.refused(2, "no free replication slot", "somebody_elses", "max_replication_slots")
    assert there.execute("select to_regnamespace('cdc') is null and not exists (select from pg_publication)")[0][0]


def test_wal_level_that_is_not_logical(cdc: Cdc, tmp_path: Path) -> None:
    with EmbeddedPostgres.start() as server:
        server._options = {**server._options, "wal_level": "replica"}
        server.halt()
        server.resume()
        command = cdc.using(DATABASE_URL=server.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)

        command("run").refused(2, "wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical'", "restart")


def test_a_database_that_is_down(cdc: Cdc) -> None:
    command = cdc.using(
        DATABASE_URL="postgresql://app:MARKED-secret@127.0.0.1:9/app", CDC_ENCRYPTION_KEY=ENCRYPTION_KEY
    )
    for name in ("run", "setup", "status", "sweep", "worker"):
        result = command(name) if name != "worker" else command.using(
            ZOHO_CLIENT_ID="x", ZOHO_CLIENT_SECRET="y", ZOHO_REFRESH_TOKEN="z"
        )(name)  # fmt: skip
        result.refused(1, "127.0.0.1:9 can't be reached: Connection refused", "fix:")
        assert "MARKED" not in result.text


def test_an_encryption_key_that_is_none(command: Cdc, there: Database) -> None:
    result = command.using(CDC_ENCRYPTION_KEY="MARKED-not-a-key")("run")

    result.refused(2, "CDC_ENCRYPTION_KEY", "openssl rand -base64 32")
    assert "MARKED" not in result.text
    assert untouched(there)


def test_settings_that_do_not_parse(cdc: Cdc) -> None:
    cdc.using(CDC_ROLLUP_SECONDS="soon")("run").refused(2, "CDC_ROLLUP_SECONDS", "number")
    cdc.using(CDC_TRANSPORT="pigeon")("config").refused(2, "CDC_TRANSPORT", "'auto', 'stream', 'poll' or 'realtime'")
    cdc.using(ZOHO_CLIENT_ID="x")("run").refused(2, "ZOHO_CLIENT_SECRET is not set although ZOHO_CLIENT_ID is")
    cdc.using(DATABASE_URL="MARKED nonsense", CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)("run").refused(
        2, "DATABASE_URL", "not a connection string"
    )
    cdc.using(DATABASE_URL="postgresql://h:MARKED/d", CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)("status").refused(
        2, "DATABASE_URL", "not a connection string"
    )


# Profiles that don't fit ----------------------------------------------------------------------------------------------

Edit = Callable[[Path], None]


def replace(file: str, pattern: str, by: str) -> Edit:
    """Make an edit that must find its place."""

    def edit(folder: Path) -> None:
        path = folder / file
        text, count = re.subn(pattern, by, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
        assert count == 1, f"{pattern} not in {file}"
        path.write_text(text, encoding="utf-8")

    return edit


def append(file: str, text: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return edit


MISFITS = {
    "bad TOML": (append("feeds.toml", "\n[[broken"), ("feeds.toml", "not valid TOML")),
    "unknown key": (replace("feeds.toml", r"^\[contacts\]$", "[contacts]\nshape = 1"),
                    ("feeds.toml", "feed contacts", "shape")),
    "needs an unknown feed": (replace("feeds.toml", r'^needs +=.*', 'needs = "people"'),
                              ("feeds.toml", "quest_completions", "'people'")),
    "unknown sink": (replace("feeds.toml", r'"zoho.tasks"', '"zoho.deals"'),
                     ("feeds.toml", "feed quest_completions", "zoho.deals")),
    "unknown table": (append("feeds.toml", '\n[badges_earned.watch.no_such_table]\nkey = "id"\n'),
                      ("feeds.toml", "badges_earned", "public.no_such_table")),
    "unknown key column": (append("feeds.toml", '\n[badges_earned.watch.quests]\nkey = "no_such_column"\n'),
                           ("feeds.toml", "badges_earned", "public.quests.no_such_column")),
    "view reads an unknown table": (replace("views.sql", r"from public\.user_badges", "from public.no_such_table"),
                                    ("views.sql, line", "no_such_table")),
    "view without its key": (replace("feeds.toml", r'^key  .*', 'key = "no_such_key"'),
                             ("contacts", "no_such_key")),
    "no views.sql": (lambda folder: (folder / "views.sql").unlink(), ("views.sql", "does not exist")),
    "column that the CRM lacks": (replace("views.sql", r'as "Display_Name"', 'as "Nickname"'),
                                  ("views.sql", "feed contacts", "column Nickname", "setup --create-fields")),
    "wrong type": (replace("views.sql", r'^(.*) as "Total_XP"', r'\1::text as "Total_XP"'),
                   ("views.sql", "feed contacts", "column Total_XP", "integer")),
    "picklist value that the CRM lacks": (replace("views.sql", r'^.* as "User_Type"', "'Wizard' as \"User_Type\""),
                                          ("views.sql", "feed contacts", "column User_Type", "picklist")),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_a_profile_that_does_not_fit(configured: Cdc, source: Database, crm: Crm, tmp_path: Path, case: str) -> None:
    edit, words = MISFITS[case]
    folder = tmp_path / "profile"
    shutil.copytree(sql_dir() / "profiles" / "core", folder)
    edit(folder)

    result = configured.using(CDC_PROFILE=str(folder))("run")

    result.refused(2, *words)
    assert crm.writes() == []
    if not any("column" in word for word in words if word.startswith("column")):
        assert untouched(source)
        assert crm.calls() == []
