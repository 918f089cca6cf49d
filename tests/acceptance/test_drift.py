"""The database is changed under a running pipeline: one feed breaks, the others go on, and it comes back by itself."""

from __future__ import annotations

import pytest

from tests.acceptance.processes import Cdc, Crm, wait_until
from tests.support.postgres import Database

pytestmark = pytest.mark.timeout(240)


def rename_somebody(source: Database, name: str) -> None:
    source.execute(
        "update public.users set display_name = %s where id = (select user_id from cdc.contacts order by 1 limit 1)",
        [name],
    )


def has_contact(crm: Crm, name: str) -> bool:
    return any(record["Display_Name"] == name for record in crm.records("Contacts"))


def broken(cdc: Cdc) -> dict[str, str]:
    status = cdc("status", "--json")
    assert status.code == 3
    return {pause["scope"]: pause["reason"] for pause in status.json["pauses"]}


def test_a_view_that_is_dropped_stops_its_feed_only_and_comes_back_with_set_up(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    with configured.running("run") as pipeline:
        pipeline.says("delivery_started")
        wait_until(lambda: crm.records("Notes"), what="the first notes")
        source.execute("drop view cdc.badges_earned")
        pipeline.says("feed_broken", within=60)
        assert broken(configured) == {"badges_earned": "VIEW_UNREADABLE"}
        rename_somebody(source, "While it is broken")
        wait_until(lambda: has_contact(crm, "While it is broken"), what="the others go on")
        notes = len(crm.records("Notes"))
        source.execute(
            "update public.user_badges set completed_at = now() where id = (select b.id from public.user_badges b"
            " join cdc.contacts c using (user_id) where b.completed_at is null limit 1)"
        )

        assert configured("setup").code == 0
        pipeline.says("feed_mended", within=60)
        wait_until(lambda: len(crm.records("Notes")) > notes, what="what happened meanwhile arrives")
        assert pipeline.stop().code == 0
    assert configured("status").code == 0


@pytest.mark.long
def test_a_start_with_a_column_gone_breaks_the_feed_that_needs_it_and_runs_the_others(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    assert configured("run", "--until-idle").code == 0
    source.execute("alter table public.user_badges drop column id cascade")
    with configured.running("run") as pipeline:
        pipeline.says("feed_broken", within=60)
        assert broken(configured) == {"badges_earned": "VIEW_UNREADABLE"}
        rename_somebody(source, "While it is broken")
        wait_until(lambda: has_contact(crm, "While it is broken"), what="the others go on")
        source.execute("alter table public.user_badges add column id uuid primary key default gen_random_uuid()")
        assert configured("setup").code == 0
        pipeline.says("feed_mended", within=60)
        assert pipeline.stop().code == 0


@pytest.mark.long
def test_a_table_taken_out_of_the_publication_breaks_its_feed_and_set_up_sweeps_what_was_missed(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    def xp() -> int:
        return sum(record["Total_XP"] or 0 for record in crm.records("Contacts"))

    with configured.running("run") as pipeline:
        pipeline.says("delivery_started")
        wait_until(lambda: crm.records("Tasks"), what="the first tasks")
        before, tasks = xp(), len(crm.records("Tasks"))
        [(publication,)] = source.execute("select pubname from pg_publication")
        source.execute(f"alter publication {publication} drop table public.user_skill_xp")
        pipeline.says("feed_broken", within=60)
        assert broken(configured) == {"contacts": "KEY_NOT_CAPTURED"}
        source.execute(
            "update public.user_skill_xp set xp_amount = xp_amount + 5000"
            " where user_id = (select user_id from public.user_skill_xp join cdc.contacts using (user_id) limit 1)"
        )
        source.execute(
            "update public.user_quests set completed_at = now() where id = (select q.id from public.user_quests q"
            " join cdc.contacts c using (user_id) where q.completed_at is null limit 1)"
        )
        wait_until(lambda: len(crm.records("Tasks")) > tasks, what="the others go on")
        assert configured("setup").code == 0
        pipeline.says("feed_mended", within=60)
        wait_until(lambda: xp() >= before + 5000, what="what nobody heard arrives")
        assert pipeline.stop().code == 0


def test_the_first_set_up_still_refuses_what_does_not_fit(configured: Cdc, source: Database) -> None:
    source.execute("alter table public.user_badges drop column id cascade")
    configured("run", "--until-idle").refused(2, "user_badges")
