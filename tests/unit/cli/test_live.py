"""The live view's picture fits small terminals and tells everything."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from cdc.cli.live import Notices, Picture
from cdc.embedded.story import PROFILES, chapters
from cdc.runtime.report import Report
from cdc.state.control import Pause

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(*, big: bool = False, pauses: int = 0) -> Report:
    many = 123_456_789 if big else 7
    return Report(
        changes_captured=many,
        operations={
            "contacts": {"created": many, "updated": many, "retrying": many, "unknown": many},
            "quest_completions": {"created": many, "parked": 1},
            "badges_earned": {},
        },
        credits=many,
        naive_credits=many * 10,
        records={"contacts": many},
        lag_bytes=many * 1000,
        latency_ms={"p50": None, "p99": float(many)},
        parked=1,
        dirty=many,
        pauses=[
            Pause(scope="zoho", until=NOW, reason="TOKEN_INVALID", detail="invalid_code", failures=1, updated_at=NOW)
        ]
        * pauses,
    )


def drawn(picture: Picture, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("big", [False, True])
def test_every_step_of_the_story_fits_80_by_24(profile: str, width: int, big: bool) -> None:
    script = chapters(profile)
    picture = Picture(
        capture="capturing", keys=9, report=report(big=big, pauses=1), page="http://127.0.0.1:65535",
        chapter_count=len(script), notices=["a warning " * 40] * 3,
    )  # fmt: skip
    for told, chapter in enumerate([None, *script]):
        if chapter is not None:
            picture.chapters.append(chapter)
        picture.told = told
        lines = drawn(picture, width)
        assert max(map(len, lines)) <= width
        assert len(lines) <= 24, "\n".join(lines)
        if chapter is not None:
            assert any(chapter.title in line for line in lines)
    picture.is_told = True
    assert any("The story is told" in line for line in drawn(picture, width))


def test_the_numbers_are_all_there() -> None:
    text = "\n".join(drawn(Picture(capture="capturing", keys=11, report=report(pauses=1), page="http://h"), 100))
    for words in (
        "capturing", "CRM page http://h", "keys marked dirty", "11", "saved", "90%", "slot lag", "7 kB", "7 ms",
        "retrying", "unknown", "TOKEN_INVALID", "invalid_code", "fix: Sign in again",
    ):  # fmt: skip
        assert words in text


def test_a_picture_without_a_story_or_numbers_is_drawn_too() -> None:
    assert drawn(Picture(), 80)[0].startswith("cdc starting")


def test_notices_keep_whole_lines() -> None:
    notices = Notices()
    notices.write("one")
    notices.write("\ntwo\n")
    assert notices.lines == ["one", "two"]
