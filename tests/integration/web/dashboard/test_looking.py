"""What the pages show, to somebody who may only look. Nothing here changes the database."""

from __future__ import annotations

import csv
import io
import re

import httpx
import psycopg
import pytest

from cdc.state.database import open_pool
from cdc.web.dashboard.panels import PANELS
from tests.integration.web.dashboard.conftest import PAGE, Forms, Visit
from tests.support.postgres import Database
from tests.support.shown import feed, served

PAGES = ("/", "/fragment/status", "/failures", "/held", "/held?feed=contacts&kind=rewrite", "/record", "/audit")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table in the section with this heading."""
    section = text[text.index(heading) :]
    body = section[section.index("<tbody>") : section.index("</tbody>")]
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in body.split("<tr>")[1:]]
    return [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


async def test_the_state_its_cause_and_what_to_do_stand_first(looker: Visit) -> None:
    text = await looker.get("/")
    assert re.search(r'id="state">.*?DEGRADED</h1>', text, re.DOTALL)
    assert "The breaker holds 6 records." in text
    assert "<code>cdc held</code>" in text
    assert text.index('id="state"') < text.index('id="live-figures"') < text.index('id="path"')


async def test_the_queue_shows_each_feed_and_lane(looker: Visit) -> None:
    found = rows(await looker.get("/"), "Queue</h2>")
    assert ["contacts", "", "live", "11", "0", "0", "0", "0", "12"] in [row[:9] for row in found]
    assert ["quest_completions", "418", "live", "0", "0", "0", "0", "0", "2"] in [row[:9] for row in found]


async def test_the_charts_have_their_numbers_as_tables(looker: Visit) -> None:
    text = await looker.get("/")
    delivered = looker.database.execute("select count(*) from cdc.zoho_sync_log where status = 'success'")[0][0]
    in_table = sum(int(row[1].replace(",", "")) for row in rows(text, "Deliveries</h2>"))
    assert delivered * 0.98 <= in_table <= delivered, "all but what is a day old by now"
    assert text.count('<svg class="chart') == 3
    assert text.count("<desc") == 3
    assert rows(text, "Credits</h2>")[0][0] in {"upsert", "update", "coql"}


async def test_the_last_comparison_says_what_differed_and_what_it_cost(looker: Visit) -> None:
    text = " ".join((await looker.get("/")).split())
    assert "782 records, 5 credits, 19 s" in text
    assert "8: 3 missing, 4 stale, 1 orphan" in text
    assert "7, 0 of them differed still" in text
    looker.database.execute("update cdc.reconcile_run set verdict = 'incomplete', complete = false, fixed = 0")
    try:
        assert "Not everything could be read" in await looker.get("/")
    finally:
        looker.database.execute("update cdc.reconcile_run set verdict = 'fixed', complete = true, fixed = 7")


async def test_what_is_done_by_the_clock_says_how_it_went_and_when_it_comes_next(looker: Visit) -> None:
    found = {row[0]: row for row in rows(await looker.get("/"), "By the clock</h2>")}
    assert found["reconcile"][1:] == ["daily at 03:00 UTC", found["reconcile"][2], "done", "03:00:00"]
    assert found["reconcile"][2].endswith("ago, took 19 s")
    assert found["volume"][1] == "every 30 min"


async def test_an_open_alert_says_what_is_wrong_and_what_to_run(looker: Visit) -> None:
    [row] = rows(await looker.get("/"), "Open alerts</h2>")
    assert row[0] == "CdcHeld warning"
    assert row[1] == "26 min"
    assert "cdc held" in row[2]
    assert "docs/runbook.md#held" in row[2]


async def test_the_latest_operations_can_be_filtered_by_the_address(looker: Visit) -> None:
    newest = rows(await looker.get("/"), "Latest operations</h2>")
    assert len(newest) == 50
    failed = rows(await looker.get("/", status="failed"), "Latest operations</h2>")
    assert {row[1] for row in failed} == {"failed"}
    assert all("PICKLIST_VALUE_UNKNOWN" in row[5] for row in failed)
    of_feed = rows(await looker.get("/", feed="badges_earned", status="success"), "Latest operations</h2>")
    assert {(row[1], row[2]) for row in of_feed} == {("success", "badges_earned")}
    key = looker.database.execute("select record_id from cdc.zoho_sync_log limit 1")[0][0]
    assert {row[4] for row in rows(await looker.get("/", key=key), "Latest operations</h2>")} == {key}


async def test_the_fragment_is_what_the_page_shows(looker: Visit) -> None:
    page, fragment = await looker.get("/", status="failed"), await looker.get("/fragment/status", status="failed")
    live = [re.findall(r'id="(live-[a-z]+)"[^>]*data-live', text) for text in (page, fragment)]
    assert live[0] == live[1]
    assert len(live[0]) == len(PANELS) + 2
    assert rows(page, 'id="live-activity"') == rows(fragment, 'id="live-activity"')
    assert "<html" not in fragment


async def test_failures_come_page_by_page_and_each_once(looker: Visit, database: Database) -> None:
    database.apply_state()
    database.execute(
        "insert into cdc.outbox (feed, key, lane, due_at, dirty_at, parked_at, reason)"
        " select f, 'k' || n, 'live', now(), now(), timestamptz '2026-01-01' + interval '1 s' * (n / 40), 'WRONG_TYPE'"
        " from generate_series(1, 60) n, unnest(array['contacts', 'badges_earned']) f"
    )
    seen: list[tuple[str, str]] = []
    async with served(database) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        await http.post("/login", data={"token": "viewer-token-of-a-test"})
        path: str | None = "/failures?reason=WRONG_TYPE"
        while path is not None:
            text = (await http.get(path, headers=PAGE)).text
            assert "120 records that fit" in text
            seen += [(row[1], row[2]) for row in rows(text, 'aria-labelledby="rows"')]
            found = re.search(r'rel="next" href="([^"]+)"', text)
            path = found[1].replace("&amp;", "&") if found else None
    assert len(seen) == 120
    assert len(set(seen)) == 120


async def test_failures_are_filtered_and_explained(looker: Visit) -> None:
    text = await looker.get("/failures", reason="FIELD_TOO_LONG", since="24h")
    assert "3 records that fit" in text
    assert {row[1] for row in rows(text, 'aria-labelledby="rows"')} == {"contacts"}
    assert "A value is longer than the CRM&#39;s field." in text
    assert "lengthen the field in the CRM" in text
    [key, *_] = looker.keys("FIELD_TOO_LONG")
    assert "1 record that fit" in await looker.get("/failures", key=key)
    assert "Nothing is parked that fits" in await looker.get("/failures", reason="RECORD_LOCKED")


async def test_what_the_breaker_holds_is_not_among_the_failures(looker: Visit) -> None:
    text = await looker.get("/failures")
    assert "15 records" in text
    assert "6 records more are held by the breaker" in text
    assert not any(key in text for key in looker.keys("HELD_BY_BREAKER"))


async def test_held_groups_say_what_marked_them_and_which_fields_would_change(looker: Visit) -> None:
    text = await looker.get("/held")
    assert "contacts: 6 rewrites" in text
    assert "sweep: 6 records" in text
    assert "Level (6)" in text
    one_by_one = rows(await looker.get("/held", feed="contacts", kind="rewrite"), 'aria-label="Held records"')
    assert len(one_by_one) == 6


async def test_the_export_has_every_failure_once(looker: Visit) -> None:
    answer = await looker.http.get("/failures.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="failures.csv"'
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(found) == len({row["key"] for row in found}) == 15
    some = await looker.http.get("/failures.csv", params={"reason": "FIELD_TOO_LONG"})
    assert len(list(csv.DictReader(io.StringIO(some.text)))) == 3


async def test_a_records_story_is_told_masked(looker: Visit) -> None:
    [key, *_] = looker.keys("FIELD_TOO_LONG")
    text = await looker.get("/record", feed="contacts", key=key)
    assert "Parked: FIELD_TOO_LONG." in text
    fields = dict(row[:2] for row in rows(text, "Values, masked</h2>"))
    names = looker.database.execute(
        'select "First_Name", "Last_Name", "Email" from cdc.contacts where user_id::text = %s', [key]
    )[0]
    assert fields["Last_Name"] == f"{len(names[1])} characters"
    assert re.fullmatch(r".…@.…", fields["Email"])
    assert not any(name in text for name in names)
    assert "The journal wasn't looked through" in text
    assert "nothing was ever captured" in await looker.get("/record", feed="contacts", key=key, journal="yes")


async def test_a_record_is_found_by_its_own_id_too(looker: Visit) -> None:
    record = looker.database.execute("select record_id, key from cdc.ledger where feed = 'badges_earned' limit 1")[0]
    answer = await looker.http.get("/record", params={"feed": "badges_earned", "record": record[0]}, headers=PAGE)
    assert answer.headers["location"] == f"/record?feed=badges_earned&key={record[1]}"


async def test_a_viewer_is_offered_nothing_to_do_and_may_do_nothing(looker: Visit) -> None:
    [key, *_] = looker.keys("FIELD_TOO_LONG")
    for path in (*PAGES, f"/record?feed=contacts&key={key}"):
        actions = {action for action, _ in Forms(await looker.get(path)).found}
        assert actions <= {"/logout", "/failures", "/#activity", "/record"}, path
    before = looker.database.execute("select count(*) from cdc.outbox where parked_at is not null")
    one = {"feed": "contacts", "key": key, "because": "b", "scope": "*"}
    for path in ("/pause", "/resume", "/sweep", "/failures/retry", "/failures/discard", "/held/approve", "/held/reject",
                 "/record/sync", "/record/ask", "/record/reveal", "/alerts/ack", "/alerts/mute",
                 "/alerts/unmute"):  # fmt: skip
        assert (await looker.post(path, **one)).status_code == 403, path
    for path in ("/failures/confirm", "/held/confirm"):
        assert (await looker.http.get(path, headers=PAGE)).status_code == 403
    assert looker.database.execute("select count(*) from cdc.outbox where parked_at is not null") == before
    assert looker.audit() == []


async def test_nobody_sees_anything(looker: Visit) -> None:
    async with httpx.AsyncClient(base_url=looker.http.base_url) as nobody:
        for path in (*PAGES, "/failures.csv"):
            answer = await nobody.get(path)
            assert answer.status_code == 401, path
            assert "contacts" not in answer.text


async def test_no_page_needs_what_the_policy_forbids(looker: Visit) -> None:
    for path in (*PAGES, f"/record?feed=contacts&key={looker.keys('FIELD_TOO_LONG')[0]}"):
        answer = await looker.http.get(path, headers=PAGE)
        assert "style-src 'self'; script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(
            r"<style|<script(?! src=\"/static/)|\sstyle=|\son[a-z]+=|javascript:|https?://", answer.text
        )


STATEMENTS = {
    "/": 9, "/fragment/status": 9, "/failures": 2, "/failures?since=24h&reason=WRONG_TYPE": 3, "/held": 3,
    "/held?feed=contacts&kind=rewrite": 4, "/audit": 1, "/record?feed=contacts&key=nobody": 6, "/failures.csv": 1,
}  # fmt: skip


async def test_a_page_takes_a_fixed_number_of_statements(looker: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those of the status, which all pages share: they are counted apart."""
    counted: list[str] = []
    plain = psycopg.AsyncCursor.execute

    async def execute(self: psycopg.AsyncCursor[object], query: object, *args: object, **kwargs: object) -> object:
        if query:  # the pool looks with an empty one whether a connection is alive
            counted.append(str(query))
        return await plain(self, query, *args, **kwargs)  # type: ignore[arg-type]

    async with open_pool(looker.database.dsn, purpose="test") as pool:
        monkeypatch.setattr(psycopg.AsyncCursor, "execute", execute)
        await feed(pool).now()
        status = len([query for query in counted if "set " not in query])
    taken = {}
    for path in STATEMENTS:
        counted.clear()
        assert (await looker.http.get(path, headers=PAGE)).status_code == 200
        taken[path] = len([query for query in counted if "set " not in query])
        taken[path] -= status if path in {"/", "/fragment/status"} else 0
    assert taken == STATEMENTS
