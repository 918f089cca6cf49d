"""The sample people, and how the views read a few keys or all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cdc.routing.feeds import load_profile
from tests.support.postgres import Database, fresh_database

PROFILES = ("core", "2026")


@pytest.fixture(scope="module", params=PROFILES)
def sample(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[tuple[str, Database]]:
    with fresh_database(postgres_dsn) as made:
        made.apply_profile(request.param, sample=True)
        yield request.param, made


def test_the_gate_holds_back_the_sample_people_that_it_should(sample: tuple[str, Database]) -> None:
    _, database = sample
    assert database.execute("select count(*) from public.users") == [(300,)]
    # 165 teenagers, 100 adults, one whose parents agreed, two without an address
    assert database.execute("select count(*) from cdc.contacts") == [(268,)]
    assert database.execute("""select count(*) from cdc.contacts where "Email" like '%local'""") == [(0,)]
    assert database.execute("""select count(*) from cdc.contacts where "Last_Name" ~ '&|^$'""") == [(0,)]


def test_events_hang_on_contacts(sample: tuple[str, Database]) -> None:
    profile, database = sample
    views = ["quest_completions", *(["badges_earned"] if profile == "core" else [])]
    for view in views:
        ((events, distinct, orphans),) = database.execute(
            f"select count(*), count(distinct event_id), count(*) filter (where user_id not in "
            f"(select user_id from cdc.contacts)) from cdc.{view}"
        )
        assert events > 20
        assert (distinct, orphans) == (events, 0)


def test_the_sample_is_the_same_in_every_run(sample: tuple[str, Database], postgres_dsn: str) -> None:
    profile, database = sample
    digest = "select md5(string_agg(c::text, '' order by user_id)) from cdc.contacts c"
    with fresh_database(postgres_dsn) as again:
        again.apply_profile(profile, sample=True)
        assert again.execute(digest) == database.execute(digest)


def test_applying_the_views_again_changes_nothing(sample: tuple[str, Database]) -> None:
    profile, database = sample
    folder = load_profile(profile).folder
    before = database.execute("select count(*) from cdc.contacts")
    database.execute((folder / "views.sql").read_text(encoding="utf-8"))
    assert database.execute("select count(*) from cdc.contacts") == before


def test_columns_fit_the_feeds_file(sample: tuple[str, Database]) -> None:
    """Own columns are there, every custom field has a column of a fitting type, and picklists hold what is shown."""
    profile, database = sample
    types = {
        "text": "text", "website": "text", "picklist": "text", "date": "date", "datetime": "timestamp with time zone",
        "integer": "integer", "boolean": "boolean",
    }  # fmt: skip
    for feed in load_profile(profile).feeds.values():
        columns = dict(
            database.execute(
                "select attname, format_type(atttypid, atttypmod) from pg_attribute "
                "where attrelid = %s::regclass and attnum > 0 and not attisdropped",
                [feed.view],
            )
        )
        assert feed.own_columns <= columns.keys()
        assert set(feed.mandatory) <= columns.keys()
        for name, crm in feed.fields.items():
            if name == feed.external_id:
                assert name not in columns
                continue
            assert columns[name] == types[crm.type], name
            if crm.values:
                shown = database.execute(f'select distinct "{name}" from {feed.view} where "{name}" is not null')
                assert {value for (value,) in shown} <= set(crm.values)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_few_keys_are_read_by_index(profile: str, postgres_dsn: str) -> None:
    """With tables too big to scan, no plan scans one that grows with the number of people."""
    grows = {
        "users", "user_quests", "user_skill_xp", "quest_task_completions", "user_quest_tasks", "user_badges",
        "parent_student_links", "lms_integrations",
    }  # fmt: skip
    with fresh_database(postgres_dsn) as database, database.connect() as connection:
        database.apply_profile(profile, sample=True)
        connection.execute("set enable_seqscan = off")
        for feed in load_profile(profile).feeds.values():
            ((plan,),) = connection.execute(
                f"explain (format json, analyze) select * from {feed.view} where {feed.key} = any(%s::uuid[])",
                [[str(key) for (key,) in database.execute(f"select {feed.key} from {feed.view} limit 3")]],
            ).fetchall()
            tree = plan[0] if isinstance(plan, list) else json.loads(plan)[0]
            scanned = {node["Relation Name"] for node in nodes(tree["Plan"]) if node["Node Type"] == "Seq Scan"}
            assert not scanned & grows
            rows_read = [node["Actual Rows"] for node in nodes(tree["Plan"]) if node.get("Relation Name") == "users"]
            assert max(rows_read) <= 3


@pytest.mark.parametrize("zone", ["UTC", "America/Denver", "Pacific/Auckland"])
def test_days_do_not_depend_on_the_sessions_zone(sample: tuple[str, Database], zone: str) -> None:
    _, database = sample
    days = """select md5(string_agg(user_id || ' ' || "Signup_Date", '' order by user_id)) from cdc.contacts"""
    with database.connect() as connection:
        connection.execute("select set_config('timezone', %s, false)", [zone])
        assert connection.execute(days).fetchall() == database.execute(days)
