"""`cdc slot`: what it shows of a slot that is well, of one that is gone, and how a gap is decided."""

from __future__ import annotations

from tests.acceptance.processes import Cdc, Crm, wait_until
from tests.support.postgres import Database


def test_a_slot_that_is_well(configured: Cdc, source: Database) -> None:
    configured("slot").refused(1, "cdc schema", "cdc setup")
    assert configured("run", "--until-idle").code == 0

    told = configured("slot")
    assert told.code == 0, told.text
    for words in (f"s_{source.name}", "reserved", "runway", "captured", "acknowledged"):
        assert words in told.out
    as_json = configured("slot", "--json").json
    assert as_json["exists"] is True
    assert as_json["captured"]["bytes_behind"] < 10_000_000
    assert as_json["captured"]["lsn"] == as_json["acknowledged"]["lsn"]
    assert as_json["gaps"] == []
    assert configured("slot", "repair").out == "no gap awaits a decision\n"


def test_a_slot_that_was_dropped_is_made_anew_and_the_gap_says_what_it_held(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    assert configured("run", "--until-idle").code == 0
    source.execute("select pg_drop_replication_slot(%s)", [f"s_{source.name}"])
    user = source.execute("select user_id from cdc.contacts limit 1")[0][0]
    source.execute("update public.users set first_name = 'Zora' where id = %s", [user])

    gone = configured("slot")
    assert gone.code == 3
    assert "doesn't exist" in gone.out
    assert configured("setup").code == 0, "set-up leaves a slot that was there before to `cdc run`"
    assert configured("slot").code == 3

    assert configured("run", "--until-idle").code == 0
    told = configured("slot")
    assert told.code == 0, told.text
    assert "SLOT_DROPPED" in told.out
    assert "contacts 1 changed" in told.out
    assert "Zora" in {contact["First_Name"] for contact in crm.records("Contacts")}
    assert "Zora" not in told.text


def test_a_gap_that_a_person_must_decide_holds_everything_until_then(configured: Cdc, source: Database) -> None:
    assert configured("run", "--until-idle").code == 0
    source.execute("update cdc.position set system_id = '7'")
    source.execute("update public.users set first_name = 'Zora'")

    with configured.running("run") as process:
        wait_until(lambda: source.execute("select 1 from cdc.control where scope = '*'") != [], what="the hold")
        told = configured("slot")
        assert told.code == 3
        for words in ("ANOTHER_CLUSTER", "cdc slot repair", "wait for a person"):
            assert words in told.out
        held = configured("status")
        assert held.code == 3
        assert "GAP_UNDECIDED" in held.out
        asked = configured("slot", "repair")
        assert asked.code == 2
        assert "contacts: 0 to create" in asked.out
        assert "--yes" in asked.err
        assert source.execute("select decided_at from cdc.gap") == [(None,)]

        assert configured("slot", "repair", "--yes").code == 0
        assert source.execute("select action, count from cdc.audit") == [("slot.repair", 1)]
        closed = "select found -> 'contacts' ->> 'changed' from cdc.gap where repaired_at is not null"
        wait_until(lambda: source.execute(closed) != [], what="the sweep")
        assert int(source.execute(closed)[0][0]) > 0
        assert source.execute("select * from cdc.control") == []
        assert process.stop().code == 0
