"""`cdc run` at a terminal and under signals, with real pseudo-terminals and real servers that go away."""

from __future__ import annotations

import signal

from cdc.embedded.postgres import EmbeddedPostgres
from tests.acceptance.processes import ENCRYPTION_KEY, Cdc, Crm, wait_until
from tests.acceptance.terminals import ESCAPES, HOME, at_terminal
from tests.support.postgres import Database, fresh_database


def test_the_live_view_tells_the_story_and_ctrl_c_ends_it_with_a_summary(cdc: Cdc) -> None:
    with at_terminal(cdc, "run", "--demo") as terminal:
        terminal.shows("A teenager registers")
        for words in (
            "changes captured", "keys marked dirty", "credits spent", "one call per change", "slot lag",
            "commit to CRM, p50", "operations", "created", "contacts", "CRM page http://127.0.0.1:", "30 new contacts",
        ):  # fmt: skip
            terminal.shows(words)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
        frames, text = terminal.frames(), ESCAPES.sub("", terminal.read())

    assert "row changes captured" in text
    assert "credits spent" in text
    assert "Traceback" not in text
    assert '"event"' not in text, "log lines don't write across the view"
    assert len(frames) > 3
    for frame in frames[:-1]:
        assert len(frame) <= 24, frame
        assert all(len(line) <= 80 for line in frame), frame


def test_what_goes_wrong_is_shown_in_the_view(configured: Cdc, crm: Crm) -> None:
    crm.fault(action="revoke_token")
    with at_terminal(configured, "run") as terminal:
        terminal.shows("delivery to zoho is paused, TOKEN_INVALID")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 0
        text = ESCAPES.sub("", terminal.read())
    assert "ZOHO_REFRESH_TOKEN" in text
    assert "crm_unavailable" in text, "warnings are written out once the view is closed"


def test_an_asked_for_log_replaces_the_view(configured: Cdc) -> None:
    with at_terminal(configured.using(CDC_LOG="json"), "run") as terminal:
        terminal.shows('"event": "swept"')
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
        assert HOME not in terminal.read()


def test_interrupted_during_the_backfill_it_drains_and_loses_nothing(
    configured: Cdc, source: Database, crm: Crm
) -> None:
    crm.fault(action="delay", kind="upsert", seconds=1, times=1)
    with configured.running("run") as run:
        wait_until(lambda: crm.calls(kind="upsert"), what="the first call is under way")
        result = run.stop()
    assert result.code == 0, result.err
    assert "row changes captured" in result.err
    assert source.execute("select count(*) from cdc.outbox where claimed_until > now()")[0][0] == 0

    assert configured("run", "--until-idle").code == 0
    contacts = [contact["External_ID"] for contact in crm.records("Contacts")]
    assert len(contacts) == len(set(contacts)) == source.execute("select count(*) from cdc.contacts")[0][0]


def test_a_server_that_restarts_is_found_again(cdc: Cdc, crm: Crm) -> None:
    with EmbeddedPostgres.start() as server, fresh_database(server.dsn) as source:
        source.apply_profile("core", sample=True)
        source.execute("drop schema cdc cascade")
        command = cdc.using(crm.environment, DATABASE_URL=source.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)
        with command.running("run") as run:
            run.says('"event": "swept"')
            server.halt(immediate=True)
            run.says("capture_interrupted")
            server.resume()
            run.says("capture_started", times=2)
            source.execute(  # fewer than the breaker would hold
                "update public.users set first_name = 'Zora'"
                " where id in (select user_id from cdc.contacts order by 1 limit 50)"
            )
            people = source.execute("select count(*) from cdc.contacts")[0][0]
            wait_until(
                lambda: (
                    sum(contact["First_Name"] == "Zora" for contact in crm.records("Contacts")) == 50
                    and len(crm.records("Contacts")) == people
                ),
                60,
                what="fifty are Zora, and everybody is there",
            )
            result = run.stop()
    assert result.code == 0, result.err
    assert "Traceback" not in result.err


def test_a_server_that_is_gone_at_the_end_does_not_hold_the_stop_up(cdc: Cdc, crm: Crm) -> None:
    with EmbeddedPostgres.start() as server, fresh_database(server.dsn) as source:
        source.apply_profile("core")
        source.execute("drop schema cdc cascade")
        command = cdc.using(crm.environment, DATABASE_URL=source.dsn, CDC_ENCRYPTION_KEY=ENCRYPTION_KEY)
        with command.running("run") as run:
            run.says('"event": "swept"')
            server.halt(immediate=True)
            run.says("capture_interrupted")
            result = run.stop(within=40)
        server.resume()
    assert "Traceback" not in result.err
    assert result.code == 1
    assert "nothing is lost" in result.err


def test_a_view_that_fails_for_its_rows_does_not_end_the_process(configured: Cdc, source: Database) -> None:
    assert configured("setup").code == 0
    source.execute(
        "create or replace function cdc.role_label(role text) returns text language sql return (1 / length(''))::text"
    )
    with configured.running("run") as run:
        run.says("sweep_failed")
        lsn = source.execute("select lsn from cdc.position")[0][0]
        source.execute("update public.users set first_name = 'Zora'")
        wait_until(lambda: source.execute("select lsn > %s from cdc.position", [lsn])[0][0], what="capture goes on")
        assert configured("status").code == 3
        result = run.stop()
    assert result.code == 0, result.err
    assert "Traceback" not in result.err, result.err
    swept = configured("sweep")
    swept.refused(2, "feed contacts", "cdc.contacts", "can't be read", "DivisionByZero")
