"""Plans are complete, change nothing by themselves, and rehearse the views."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc.errors import PreflightError, ProfileError
from cdc.resources import sql_dir
from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.preparation import Plan, apply_plan, make_plan
from cdc.settings import Settings
from tests.conftest import Connect
from tests.support.postgres import Database


@pytest.fixture
def source(database: Database) -> Database:
    database.apply_profile("core")
    database.execute("drop schema cdc cascade")
    return database


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A copy of `core` that a test may spoil."""
    shutil.copytree(sql_dir() / "profiles" / "core", tmp_path / "profile")
    return load_profile(str(tmp_path / "profile"))


async def plan(source: Database, profile: Profile) -> Plan:
    return await make_plan(source.dsn, source.dsn, Settings(cdc_slot=f"s_{source.name}"), profile)


async def test_a_plan_is_carried_out_once(source: Database, profile: Profile, connect: Connect) -> None:
    first = await plan(source, profile)
    assert not first.is_empty
    assert source.execute("select to_regnamespace('cdc') is null")[0][0], "planning changes nothing"

    await apply_plan(await connect(), source.dsn, first)

    assert (await plan(source, profile)).is_empty


async def test_other_views_are_made_when_their_text_changes(
    source: Database, profile: Profile, connect: Connect
) -> None:
    await apply_plan(await connect(), source.dsn, await plan(source, profile))
    views = profile.folder / "views.sql"
    views.write_text(f"{views.read_text()}\n-- another text\n")

    again = await plan(source, profile)

    assert not again.migrations
    assert [statement.why for statement in again.statements] == [f"make the views of profile profile ({views})"]


def cut_off(text: str) -> str:
    return text + "\ncreate view cdc.more as select no_such_column from public.users;\n"


def misspelt(text: str) -> str:
    return re.sub(r"\bview cdc\.contacts\b", "vieuw cdc.contacts", text, count=1)


@pytest.mark.parametrize(("spoil", "words"), [(cut_off, "no_such_column"), (misspelt, "syntax error")])
async def test_a_view_that_does_not_fit_is_found_with_its_line(
    source: Database, profile: Profile, spoil: Callable[[str], str], words: str
) -> None:
    views = profile.folder / "views.sql"
    text = spoil(views.read_text())
    views.write_text(text)
    wrong = next(n for n, line in enumerate(text.splitlines(), 1) if "no_such_column" in line or "vieuw" in line)

    with pytest.raises(ProfileError, match=words) as caught:
        await plan(source, profile)

    assert f"{views}, line {wrong}:" in str(caught.value)
    assert source.execute("select to_regnamespace('cdc') is null and not exists (select from pg_publication)")[0][0]


async def test_a_state_database_behind_the_transaction_pooler_is_refused(source: Database, profile: Profile) -> None:
    """It would give each statement another session: no advisory lock, no LISTEN."""
    state = "postgresql://postgres:s3cr3t@db.abcdefgh.supabase.co:6543/postgres"
    with pytest.raises(PreflightError, match="CDC_STATE_DSN leads to a pooler in transaction mode") as caught:
        await make_plan(source.dsn, state, Settings(cdc_slot=f"s_{source.name}"), profile)
    assert "s3cr3t" not in str(caught.value)
