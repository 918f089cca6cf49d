"""What an operator does on the dashboard: the same as on the command line, once, and written down."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import httpx
import pytest
from markupsafe import escape

from sinks.errors import SinkError
from sinks.reasons import Reason
from tests.integration.web.dashboard.conftest import PAGE, Visit, told, visiting
from tests.support.postgres import Database
from tests.support.shown import Reader
from tests.support.waiting import until

ACTOR = "web:ada"


def parked(visit: Visit, reason: str) -> int:
    return len(visit.keys(reason))


async def test_everything_is_paused_and_resumed(operator: Visit) -> None:
    answer = await operator.post("/pause", scope="*", length="1 h", because="Zoho is being moved")
    assert told(answer) == "Everything is paused for 1 h. Capture goes on."
    assert re.search(r'id="state">.*?PAUSED</h1>', answer.text, re.DOTALL)
    assert "Zoho is being moved" in answer.text
    assert told(await operator.get("/")) == "", "it is said once"
    answer = await operator.post("/resume", scope="*")
    assert told(answer) == "Everything is resumed."
    assert told(await operator.post("/resume", scope="*")) == "Everything wasn&#39;t paused."
    assert [entry[:2] for entry in operator.audit()] == [(ACTOR, "pause"), (ACTOR, "resume")]
    assert operator.audit()[0][4] == "Zoho is being moved"


async def test_a_feed_is_paused_without_an_end(operator: Visit) -> None:
    assert "until it is resumed" in told(await operator.post("/pause", scope="contacts", because="b"))
    text = await operator.get("/")
    assert "1 feed paused" in text
    assert told(await operator.post("/resume", scope="contacts")) == "Contacts is resumed."


@pytest.mark.parametrize(
    "fields", [{"scope": "*"}, {"scope": "nothing", "because": "b"}, {"scope": "*", "because": "b", "length": "9 y"}]
)
async def test_a_pause_needs_a_reason_and_a_feed_that_there_is(operator: Visit, fields: dict[str, str]) -> None:
    assert (await operator.post("/pause", **fields)).status_code == 422
    assert operator.audit() == []


async def test_one_failure_is_retried_once_however_often_it_is_clicked(operator: Visit) -> None:
    [key, *_] = operator.keys("FIELD_TOO_LONG")
    one = {"feed": "contacts", "key": key, "back": "/failures?reason=FIELD_TOO_LONG"}
    answers = await asyncio.gather(*(operator.post("/failures/retry", follow=False, **one) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    assert {answer.headers["location"] for answer in answers} == {one["back"]}
    [row] = operator.database.execute("select parked_at, forced, lane from cdc.outbox where key = %s", [key])
    assert row == (None, True, "live")
    assert operator.audit() == [(ACTOR, "failures.retry", f"feed contacts, key {key}", 1, "")]


async def test_all_that_fit_are_retried_after_a_page_that_says_how_many(operator: Visit) -> None:
    text = await operator.get("/failures/confirm", action="retry", reason="PICKLIST_VALUE_UNKNOWN")
    assert "Retry 9 failures?" in text
    answer = await operator.confirm("/failures/confirm", action="retry", reason="PICKLIST_VALUE_UNKNOWN", since="24h")
    assert told(answer) == "9 records are tried again."
    assert (parked(operator, "PICKLIST_VALUE_UNKNOWN"), parked(operator, "FIELD_TOO_LONG")) == (0, 3)
    assert operator.audit() == [
        (ACTOR, "failures.retry", "reason PICKLIST_VALUE_UNKNOWN, since 24h", 9, "")
    ]  # fmt: skip


async def test_what_is_parked_after_the_confirmation_was_asked_for_is_left_alone(operator: Visit) -> None:
    text = await operator.get("/failures/confirm", action="retry", reason="FIELD_TOO_LONG")
    until_, expected = (re.search(rf'name="{n}" value="([^"]+)"', text)[1] for n in ("until", "expected"))  # type: ignore[index]
    operator.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " values ('contacts', 'late', 'live', now(), now(), now(), 'FIELD_TOO_LONG')"
    )
    answer = await operator.post(
        "/failures/retry", many="yes", reason="FIELD_TOO_LONG", until=until_.replace("&#43;", "+"), expected=expected
    )
    assert told(answer) == "3 records are tried again."
    assert operator.keys("FIELD_TOO_LONG") == ["late"]


async def test_more_than_a_hundred_need_their_number_typed(operator: Visit) -> None:
    operator.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " select 'contacts', 'k' || n, 'live', now(), now(), now(), 'WRONG_TYPE' from generate_series(1, 101) n"
    )
    refused = await operator.confirm("/failures/confirm", action="discard", reason="WRONG_TYPE", because="b")
    assert (refused.status_code, parked(operator, "WRONG_TYPE")) == (422, 101)
    answer = await operator.confirm(
        "/failures/confirm", action="discard", reason="WRONG_TYPE", because="b", typed="101"
    )
    assert (told(answer), parked(operator, "WRONG_TYPE")) == ("101 records are discarded.", 0)


async def test_a_form_without_the_number_that_was_shown_does_nothing(operator: Visit) -> None:
    assert (await operator.post("/failures/retry", many="yes")).status_code == 409
    assert (await operator.post("/failures/retry", many="yes", expected="2")).status_code == 409
    assert (await operator.post("/failures/retry")).status_code == 422
    assert operator.audit() == []


async def test_discarding_asks_why_and_keeps_the_words(operator: Visit) -> None:
    [key, *_] = operator.keys("DUPLICATE_IN_CRM")
    one = {"feed": "badges_earned", "key": key}
    assert (await operator.post("/failures/discard", **one)).status_code == 422
    assert (await operator.post("/failures/discard", **one, because="  ")).status_code == 422
    answer = await operator.confirm("/failures/confirm", action="discard", because="made twice, merged by hand", **one)
    assert told(answer) == "1 record is discarded."
    assert operator.keys("DUPLICATE_IN_CRM") == []
    [(message,)] = operator.database.execute("select error_message from cdc.zoho_sync_log where action = 'discard'")
    assert message == f"discarded: made twice, merged by hand ({ACTOR})"
    assert operator.audit()[0][1:] == (
        "failures.discard",
        f"feed badges_earned, key {key}",
        1,
        "made twice, merged by hand",
    )


async def test_what_is_held_is_approved_as_a_whole(operator: Visit) -> None:
    as_of = operator.database.execute("select max(generation) from cdc.outbox where reason = 'HELD_BY_BREAKER'")[0][0]
    answer = await operator.confirm(
        "/held/confirm", action="approve", feed="contacts", kind="rewrite", as_of=str(as_of)
    )
    assert told(answer) == "6 records approved."
    assert "Nothing is held" in answer.text
    assert operator.database.execute("select count(*) from cdc.outbox where approved = generation") == [(6,)]
    assert operator.audit() == [(ACTOR, "held.approve", "feed contacts, kind rewrite", 6, "")]


async def test_one_held_record_is_rejected_and_needs_a_reason(operator: Visit) -> None:
    [key, *_] = operator.keys("HELD_BY_BREAKER")
    as_of = operator.database.execute("select max(generation) from cdc.outbox where reason = 'HELD_BY_BREAKER'")[0][0]
    one = {"feed": "contacts", "kind": "rewrite", "key": key, "as_of": str(as_of)}
    assert (await operator.post("/held/reject", **one)).status_code == 422
    answer = await operator.confirm("/held/confirm", action="reject", because="left the school", **one)
    assert told(answer) == "1 record rejected."
    assert operator.keys("REJECTED") == [key]
    assert told(await operator.post("/held/reject", because="b", **one)) == "Nothing of that is held any more."
    assert [entry[1:] for entry in operator.audit()] == [
        ("held.reject", f"feed contacts, kind rewrite, key {key}", 1, "left the school")
    ]


async def test_what_came_after_the_page_was_shown_is_not_approved(operator: Visit) -> None:
    as_of = operator.database.execute("select max(generation) from cdc.outbox where reason = 'HELD_BY_BREAKER'")[0][0]
    operator.database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason, detail)"
        " values ('contacts', 'late', 'bulk', now(), now(), now(), 'HELD_BY_BREAKER', 'rewrite: Level')"
    )
    whole = {"feed": "contacts", "kind": "rewrite", "as_of": str(as_of), "expected": "6"}
    assert told(await operator.post("/held/approve", **whole)) == "6 records approved."
    assert operator.keys("HELD_BY_BREAKER") == ["late"]
    assert (await operator.post("/held/approve", feed="contacts")).status_code == 422


async def test_a_record_is_marked_to_be_sent_at_once(operator: Visit) -> None:
    key = operator.database.execute("select key from cdc.ledger where feed = 'contacts' limit 1")[0][0]
    operator.database.execute("delete from cdc.outbox where key = %s", [key])
    with operator.database.connect() as listening:
        listening.execute("listen cdc_outbox")
        assert "It is marked" in told(await operator.post("/record/sync", feed="contacts", key=key))
        assert next(listening.notifies(timeout=10)).channel == "cdc_outbox"
    assert operator.database.execute("select lane, cause, due_at <= now() from cdc.outbox where key = %s", [key]) == [
        ("live", "by hand", True)
    ]
    assert operator.audit() == [(ACTOR, "record.sync", f"feed contacts, key {key}", 1, "")]


async def test_revealing_shows_the_values_and_is_written_down(operator: Visit) -> None:
    [key, *_] = operator.keys("FIELD_TOO_LONG")
    [(name,)] = operator.database.execute('select "Last_Name" from cdc.contacts where user_id::text = %s', [key])
    assert name not in await operator.get("/record", feed="contacts", key=key)
    answer = await operator.post("/record/reveal", feed="contacts", key=key)
    assert (answer.status_code, f"<td>{name}</td>" in answer.text) == (200, True)
    assert answer.headers["cache-control"] == "no-store"
    assert operator.audit() == [(ACTOR, "person.reveal", f"feed contacts, key {key}", 1, "")]
    assert (await operator.http.get("/record/reveal", headers=PAGE)).status_code == 405


async def test_the_crm_is_asked_only_on_a_button_that_says_what_it_costs(day: Database) -> None:
    async with visiting(day, readers={"contacts": Reader({"Last_Name": "Somebody Else"})}) as visit:
        [key, *_] = visit.keys("FIELD_TOO_LONG")
        assert "Ask the CRM (1 credit)" in await visit.get("/record", feed="contacts", key=key)
        text = (await visit.post("/record/ask", feed="contacts", key=key)).text
        assert "13 characters" in text
        assert "Somebody Else" not in text
        assert "differs" in text
        revealed = await visit.post("/record/reveal", feed="contacts", key=key, ask="yes")
        assert "Somebody Else" in revealed.text
        assert [entry[1] for entry in visit.audit()] == ["record.ask", "person.reveal"]
        assert (await visit.post("/record/ask", feed="badges_earned", key="k1")).status_code == 422


async def test_a_crm_that_does_not_answer_leaves_the_rest_of_the_story(day: Database) -> None:
    away = replace(Reader({}), error=SinkError(Reason.UNAVAILABLE, "503"))
    async with visiting(day, readers={"contacts": away}) as visit:
        [key, *_] = visit.keys("FIELD_TOO_LONG")
        text = (await visit.post("/record/ask", feed="contacts", key=key)).text
        assert "the CRM can&#39;t be asked" in text
        assert "Parked: FIELD_TOO_LONG." in text


async def test_a_sweep_marks_what_differs(operator: Visit) -> None:
    operator.database.execute("delete from cdc.outbox")
    assert "The sweep began" in told(await operator.post("/sweep"))
    await until(lambda: operator.database.execute("select count(*) > 200 from cdc.outbox")[0][0], what="the marks")
    assert operator.audit()[0][1] == "sweep"


async def test_an_open_alert_is_acknowledged_and_muted(operator: Visit) -> None:
    assert "sees to it" not in await operator.get("/")
    answer = await operator.post("/alerts/ack", alert="CdcHeld")
    assert told(answer) == "CdcHeld is acknowledged: no more reminders."
    assert f"{ACTOR} sees to it" in answer.text
    answer = await operator.post("/alerts/mute", alert="CdcHeld", length="4 h")
    assert "is evaluated all the same" in told(answer)
    assert "muted until" in answer.text
    assert told(await operator.post("/alerts/unmute", alert="CdcHeld")) == "CdcHeld is told of again."
    assert [entry[1:3] for entry in operator.audit()] == [
        ("alert.ack", "CdcHeld"), ("alert.mute", "CdcHeld, 4 h"), ("alert.unmute", "CdcHeld"),
    ]  # fmt: skip
    assert "isn&#39;t open any more" in told(await operator.post("/alerts/ack", alert="CdcSlotLost"))
    assert (await operator.post("/alerts/mute", alert="CdcNothing", length="4 h")).status_code == 422
    assert (await operator.post("/alerts/mute", alert="CdcHeld")).status_code == 422


async def test_nothing_is_done_from_elsewhere_or_without_the_forms_token(operator: Visit) -> None:
    fields = {"scope": "*", "because": "b"}
    without = await operator.http.post("/pause", data=fields, headers=PAGE)
    wrong = await operator.http.post("/pause", data={**fields, "csrf": "x" * 32}, headers=PAGE)
    elsewhere = await operator.http.post(
        "/pause", data={**fields, "csrf": operator.csrf}, headers={**PAGE, "origin": "https://evil.example"}
    )
    assert [answer.status_code for answer in (without, wrong, elsewhere)] == [403, 403, 403]
    assert operator.audit() == []


async def test_an_action_that_cannot_be_written_down_is_not_done(operator: Visit) -> None:
    [key, *_] = operator.keys("FIELD_TOO_LONG")
    operator.database.execute("alter table cdc.audit rename to away")
    try:
        answer = await operator.post("/failures/retry", feed="contacts", key=key)
    finally:
        operator.database.execute("alter table cdc.away rename to audit")
    assert answer.status_code == 500
    assert len(operator.keys("FIELD_TOO_LONG")) == 3


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_one_is_never_sent_to_another_site(operator: Visit, back: str) -> None:
    [key, *_] = operator.keys("FIELD_TOO_LONG")
    answer = await operator.post("/failures/retry", follow=False, feed="contacts", key=key, back=back)
    assert isinstance(answer, httpx.Response)
    assert answer.headers["location"] == "/"


HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; drop table cdc.outbox; --", "a' or '1'='1",
    "{{ 7*7 }}", "../../etc/passwd", "%00%0a", "key with spaces & an ampersand", "𝔘𝔫𝔦 \u202e",
)  # fmt: skip


async def test_hostile_keys_and_words_come_back_as_they_are_and_do_nothing(operator: Visit) -> None:
    for text in HOSTILE:
        operator.database.execute(
            "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason, detail)"
            " values ('contacts', %s, 'live', now(), now(), now(), %s, %s)",
            [text, text, text],
        )
    for text in HOSTILE:
        found = await operator.get("/failures", reason=text, key=text)
        assert "1 record that fit" in found, text
        assert text not in found or "<" not in text
        assert escape(text) in found
        for path in ("/record", "/failures/confirm"):
            assert escape(text) in await operator.get(path, feed="contacts", key=text)
        answer = await operator.confirm("/failures/confirm", action="discard", because=text, feed="contacts", key=text)
        assert told(answer) == "1 record is discarded.", text
    assert {entry[4] for entry in operator.audit()} >= {"'; drop table cdc.outbox; --", "{{ 7*7 }}"}
    page = await operator.get("/")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert operator.database.execute("select count(*) > 0 from cdc.outbox") == [(True,)]


@pytest.mark.parametrize(
    "path", ["/failures?key=%00", "/failures?since=ever", "/failures?after=xyz", "/audit?before=x", "/?status=fine",
             "/record?feed=contacts&key=%ff%00", "/held?kind=everything", "/failures?key=" + "x" * 600],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused_in_a_sentence(operator: Visit, path: str) -> None:
    answer = await operator.http.get(path, headers=PAGE)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
