"""No view and no function of a profile reads a column that isn't on this list. The database itself keeps the record.

A new column of the application is not on the list, so it can't leave by accident; adding one here is a decision about
people's data, and most of the people are children.
"""

from __future__ import annotations

import pytest

from tests.support.postgres import Database

COMMON = {
    "users": "id first_name last_name display_name email role created_at last_active date_of_birth "
    "requires_parental_consent parental_consent_verified deletion_status",
    "quests": "id title created_by",
    "user_quests": "id user_id quest_id completed_at is_active",
    "user_quest_tasks": "id user_quest_id xp_value",
    "quest_task_completions": "user_id task_id user_quest_task_id completed_at",
    "user_skill_xp": "user_id pillar xp_amount",
    "parent_student_links": "parent_user_id student_user_id status",
    "lms_integrations": "id user_id lms_platform sync_status created_at",
}
ONLY_IN = {
    "core": {"badges": "id name", "user_badges": "id user_id badge_id completed_at"},
    "2026": {
        "users": "org_role org_roles is_dependent managed_by_parent_id",
        "quests": "quest_type class_review_status",
    },
}
READ_AND_NEVER_SHOWN = {"date_of_birth", "requires_parental_consent", "parental_consent_verified", "deletion_status"}

COLUMNS_READ = """
    with recursive ours as (
        select 'pg_rewrite'::regclass as class, r.oid, c.oid as relation
        from pg_rewrite r join pg_class c on c.oid = r.ev_class
        where c.relnamespace = 'cdc'::regnamespace
        union all
        select 'pg_proc'::regclass, p.oid, null from pg_proc p where p.pronamespace = 'cdc'::regnamespace
    )
    select t.relnamespace::regnamespace::text, t.relname, a.attname
    from ours
    join pg_depend d on d.classid = ours.class and d.objid = ours.oid and d.refclassid = 'pg_class'::regclass
    join pg_class t on t.oid = d.refobjid and t.oid is distinct from ours.relation
    left join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid and d.refobjsubid <> 0
    where t.relnamespace <> 'cdc'::regnamespace
"""


def allowed(profile: str) -> set[tuple[str, str]]:
    lists = (COMMON, ONLY_IN[profile])
    return {(table, column) for tables in lists for table, columns in tables.items() for column in columns.split()}


@pytest.mark.parametrize("profile", ["core", "2026"])
def test_exactly_the_listed_columns_are_read(profile: str, profile_databases: dict[str, Database]) -> None:
    found = profile_databases[profile].execute(COLUMNS_READ)
    assert {schema for schema, _, _ in found} == {"public"}
    # a column of None is a reference to the whole row, which would take every present and future column along
    columns = {(table, column) for _, table, column in found}
    assert columns == allowed(profile)


@pytest.mark.parametrize("profile", ["core", "2026"])
def test_every_function_has_a_body_that_the_database_can_see_into(
    profile: str, profile_databases: dict[str, Database]
) -> None:
    opaque = "select proname from pg_proc where pronamespace = 'cdc'::regnamespace and prosqlbody is null"
    assert profile_databases[profile].execute(opaque) == []


@pytest.mark.parametrize("profile", ["core", "2026"])
def test_what_the_gate_reads_is_not_shown(profile: str, profile_databases: dict[str, Database]) -> None:
    shown = profile_databases[profile].execute(
        "select lower(column_name) from information_schema.columns where table_schema = 'cdc'"
    )
    assert not READ_AND_NEVER_SHOWN & {name for (name,) in shown}


def test_the_list_names_nothing_that_may_never_be_read() -> None:
    forbidden = {
        "bio", "phone_number", "city", "state", "avatar_url", "allergies", "medications", "username", "preferences",
        "parental_consent_token", "parental_consent_email", "token", "evidence_text", "evidence_url",
        "reflection_notes", "archive_feedback", "description", "identity_statement",
    }  # fmt: skip
    for profile in ONLY_IN:
        assert not forbidden & {column for _, column in allowed(profile)}
