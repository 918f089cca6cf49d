"""A real browser: Debian's Chromium, driven by Playwright. It fetches nothing but what it is told to."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.debian import require

_ARGS: Final = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


def chromium() -> str | None:
    """Where it is; None where it isn't."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start one for the length of the block; where there is none the test is skipped, and fails in CI."""
    found = chromium()
    require(found, "Chromium (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=found, args=list(_ARGS))
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def window(started: Browser, url: str, token: str, **options: Any) -> AsyncIterator[Page]:
    """Open a window of its own and sign in there."""
    context: BrowserContext = await started.new_context(base_url=url, **options)
    try:
        page = await context.new_page()
        await page.goto("/login")
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/")
        yield page
    finally:
        await context.close()
