"""Takes the pictures of docs/dashboard.md from a day of made-up people.

To be run as `python -m tests.support.screenshots`; needs Chromium.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from cdc.embedded.postgres import EmbeddedPostgres
from cdc.logging import configure_logging
from tests.support.browser import browser, window
from tests.support.postgres import Database
from tests.support.shown import OPERATOR, Reader, a_day, served

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
_SLOT: Final = "optio_cdc"
_DESK: Final = {"viewport": {"width": 1280, "height": 800}}
_PHONE: Final = {"viewport": {"width": 390, "height": 844}}


async def _take(database: Database) -> None:
    [(key,)] = database.execute("select key from cdc.outbox where reason = 'FIELD_TOO_LONG' order by key limit 1")
    pictures: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("dashboard-light", "/", {**_DESK, "color_scheme": "light"}),
        ("dashboard-dark", "/", {**_DESK, "color_scheme": "dark"}),
        ("dashboard-phone", "/", {**_PHONE, "color_scheme": "light"}),
        ("failures", "/failures?reason=FIELD_TOO_LONG", {**_DESK, "color_scheme": "light"}),
        ("record", f"/record?feed=contacts&key={key}", {**_DESK, "color_scheme": "dark"}),
    )
    crm = Reader({"Last_Name": "Calravo", "User_Type": "Parent"})
    async with served(database, readers={"contacts": crm}, slot=_SLOT) as url, browser() as started:
        for name, path, options in pictures:
            async with window(started, url, OPERATOR, **options) as page:
                await page.goto(path)
                if name == "failures":
                    await page.get_by_role("row").get_by_text("FIELD_TOO_LONG").last.click()
                await page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Take them."""
    configure_logging("json", level=logging.ERROR)
    FOLDER.mkdir(exist_ok=True)
    with EmbeddedPostgres.start(settings={"max_slot_wal_keep_size": "4GB"}) as server:
        database = Database("postgres", server.dsn)
        a_day(database, _SLOT)
        asyncio.run(_take(database))


if __name__ == "__main__":
    main()
