"""The dashboard in a real browser. One server and one browser for all of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, Route, expect

from tests.support.browser import browser, window
from tests.support.postgres import Database
from tests.support.shown import OPERATOR, restore, served
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE = {"viewport": {"width": 360, "height": 740}}
DESK = {"viewport": {"width": 1280, "height": 800}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(shown_day: Database) -> AsyncIterator[str]:
    async with served(shown_day) as url:
        yield url


class Watched:
    """A page, and what the browser complained of while it was open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request))

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    @property
    def refreshes(self) -> int:
        return len([request for request in self.requests if "/fragment/status" in request.url])


@pytest_asyncio.fixture(loop_scope="module")
async def watched(shown_day: Database, chromium: Browser, site: str) -> AsyncIterator[Watched]:
    """A window at the overview; whatever a test does there, nothing may be complained of and nobody else be called."""
    restore(shown_day)
    async with window(chromium, site, OPERATOR, **DESK) as page:
        found = Watched(page)
        await page.goto("/")
        yield found
        assert found.complaints == []
        assert {request.url.split("/")[2] for request in found.requests if request.url.startswith("http")} == {
            site.split("/")[2]
        }


async def test_an_operator_pauses_and_resumes(watched: Watched) -> None:
    page = watched.page
    await page.get_by_text("Pause delivery…").click()
    await page.get_by_label("For how long").select_option("1 h")
    await page.get_by_label("Why").fill("the CRM is being moved")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("PAUSED")
    await expect(page.get_by_text("Everything is paused for 1 h. Capture goes on.")).to_be_visible()
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("DEGRADED")
    await expect(page.get_by_role("row", name=re.compile("web:ada pause everything"))).to_be_visible()


async def test_a_failure_is_looked_at_and_retried(watched: Watched) -> None:
    page = watched.page
    await page.get_by_role("link", name=re.compile("Needs a person")).click()
    await page.get_by_label("Reason").select_option("FIELD_TOO_LONG")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("heading", name="3 records that fit")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="INVALID_DATA Last_Name").first
    await row.get_by_text("FIELD_TOO_LONG").click()
    await expect(row.get_by_text("lengthen the field in the CRM")).to_be_visible()
    await row.get_by_role("button", name=re.compile("Retry contacts")).click()
    await expect(page.get_by_text("1 record is tried again.")).to_be_visible()
    await expect(page.get_by_role("heading", name="2 records that fit")).to_be_visible()


async def test_the_numbers_refresh_themselves_one_request_at_a_time_and_stop_on_demand(
    watched: Watched, shown_day: Database
) -> None:
    page = watched.page
    await page.clock.install()
    await page.goto("/")
    waiting = page.locator("#live-figures li", has_text="Waiting").locator(".value")
    await expect(waiting).to_have_text("31 records")
    await page.get_by_label("Record id").fill("half typed")
    shown_day.execute("delete from cdc.outbox where lane = 'rollup'")
    await page.clock.run_for(5_100)
    await expect(waiting).to_have_text("11 records")
    await expect(page.get_by_label("Record id")).to_have_value("half typed")
    assert watched.refreshes == 1
    await page.get_by_role("button", name="Stop refreshing").click()
    await page.clock.run_for(30_000)
    await expect(page.get_by_text("not refreshed")).to_be_visible()
    assert watched.refreshes == 1
    await page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await page.get_by_role("button", name="Go on refreshing").click()
    await page.clock.run_for(30_000)
    assert watched.refreshes == 1, "nobody looks"
    await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    await until(lambda: watched.refreshes == 2, what="the next refresh")


async def test_a_slow_answer_is_waited_for_and_not_asked_for_again(watched: Watched) -> None:
    page, go_on = watched.page, asyncio.Event()

    async def slowly(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.clock.install()
    await page.goto("/")
    await page.route("**/fragment/status", slowly)
    await page.clock.run_for(5_100)
    await until(lambda: watched.refreshes == 1, what="a refresh")
    await page.clock.run_for(9_000)
    assert watched.refreshes == 1
    async with page.expect_response("**/fragment/status"):
        go_on.set()
    await page.clock.run_for(6_000)
    await until(lambda: watched.refreshes >= 2, what="the next refresh")


async def test_numbers_that_are_old_are_called_so(watched: Watched) -> None:
    page = watched.page
    await page.clock.install()
    await page.goto("/")
    await page.route("**/fragment/status", lambda route: route.abort())
    await page.clock.run_for(5_100)
    await expect(page.get_by_text("doesn't answer; the numbers are old")).to_be_visible()
    watched.complaints.clear()  # the browser says that the request failed


@pytest.mark.parametrize(("scheme", "size"), [("dark", DESK), ("light", PHONE), ("dark", PHONE)])
async def test_every_page_fits_its_window_in_both_schemes(
    chromium: Browser, site: str, shown_day: Database, scheme: str, size: dict[str, object]
) -> None:
    restore(shown_day)
    [(key,)] = shown_day.execute("select key from cdc.outbox where reason = 'FIELD_TOO_LONG' order by key limit 1")
    async with window(chromium, site, OPERATOR, color_scheme=scheme, **size) as page:
        found = Watched(page)
        for path in ("/", "/failures", "/held?feed=contacts&kind=rewrite", f"/record?feed=contacts&key={key}",
                     "/audit", "/failures/confirm?action=discard&reason=FIELD_TOO_LONG", "/record"):  # fmt: skip
            await page.goto(path)
            width, inner = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width <= inner, path
            paper, ink = await page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert _contrast(paper, ink) > 10, path
            assert (_light(paper) < 0.2) == (scheme == "dark")
        assert found.complaints == []


def _light(color: str) -> float:
    """The relative luminance of `rgb(r, g, b)`: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_light(one), _light(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


async def test_the_page_is_whole_without_scripts_and_with_the_keyboard_alone(chromium: Browser, site: str) -> None:
    async with window(chromium, site, OPERATOR, java_script_enabled=False) as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("DEGRADED")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.get_by_label("Outcome").select_option("failed")
        await page.get_by_role("button", name="Filter").press("Enter")
        await page.wait_for_url("**status=failed**")
        await expect(page.get_by_role("link", name="Show all")).to_be_visible()
