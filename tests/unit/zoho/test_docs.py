"""The page about Zoho says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from sinks.zoho.auth import MINTS
from sinks.zoho.config import DATA_CENTERS

PAGE = (Path(__file__).parents[3] / "docs" / "zoho.md").read_text(encoding="utf-8")


def test_every_data_centre_is_listed_with_its_hosts() -> None:
    rows = dict(re.findall(r"^\| `([A-Z]{2})` \| (.+) \|$", PAGE, re.MULTILINE))
    assert set(rows) == set(DATA_CENTERS)
    for name, center in DATA_CENTERS.items():
        accounts, api = rows[name].split(" | ")
        assert accounts == urlsplit(center.accounts).hostname
        assert center.api is None or api == urlsplit(center.api).hostname


def test_the_limit_on_tokens_is_the_one_in_force() -> None:
    assert MINTS == 8
    assert "stops at eight" in PAGE
