"""The demo's story does to the views what its chapters say."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.embedded.application import Application
from cdc.embedded.story import PROFILES, Cast, Chapter, Deltas, chapters, play
from cdc.errors import ConfigError
from cdc.routing.feeds import Feed, Lane, load_profile
from tests.conftest import Connect
from tests.support.postgres import Database


class Crm:
    """What a CRM would hold that follows the views: contacts as they are, events once each and for good."""

    def __init__(self, database: Database, profile: str) -> None:
        self._database = database
        self._feeds = load_profile(profile).feeds
        self.contacts: dict[Any, tuple[Any, ...]] = {}
        self.events: dict[str, set[str]] = {name: set() for name in self._feeds if self._feeds[name].once}

    def _contacts(self, feed: Feed) -> dict[Any, tuple[Any, ...]]:
        columns = self._database.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum", [feed.view]
        )
        wanted = ", ".join(f'"{name}"' for (name,) in columns if feed.lane_of([name]) is not Lane.DAILY)
        return {row[0]: row[1:] for row in self._database.execute(f"select {wanted} from {feed.view}")}

    def follow(self) -> Deltas:
        """Catch up with the views and say what that changed."""
        before, now = self.contacts, self._contacts(self._feeds["contacts"])
        self.contacts = now
        gained = {}
        for name, seen in self.events.items():
            shown = {event for (event,) in self._database.execute(f"select event_id from {self._feeds[name].view}")}
            gained[name] = len(shown - seen)
            seen |= shown
        return Deltas(
            contacts=len(now) - len(before),
            changed=sum(1 for key in now.keys() & before.keys() if now[key] != before[key]),
            tasks=gained["quest_completions"],
            notes=gained.get("badges_earned", 0),
        )


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("profile", PROFILES)
async def test_each_chapter_changes_what_it_says(
    profile: str, sample: bool, database: Database, connect: Connect
) -> None:
    database.apply_profile(profile, sample=sample)
    app, cast, crm = Application(await connect(), profile), Cast(), Crm(database, profile)
    crm.follow()
    for chapter in chapters(profile):
        await chapter.scene(app, cast)
        assert (chapter.title, crm.follow()) == (chapter.title, chapter.expects)


@pytest.mark.parametrize("profile", PROFILES)
async def test_play_tells_them_in_order_and_waits_before_it_takes_something_back(
    profile: str, database: Database
) -> None:
    database.apply_profile(profile)
    told: list[str] = []

    async def settled() -> None:
        told.append("(settled)")

    def on_chapter(chapter: Chapter) -> None:
        told.append(chapter.title)

    await play(database.dsn, profile=profile, pace_seconds=0, on_chapter=on_chapter, settled=settled)
    titles = [chapter.title for chapter in chapters(profile)]
    titles.insert(titles.index("The quest, again"), "(settled)")
    assert told == titles
    assert database.execute("""select count(*) from cdc.contacts where "Last_Name" = 'O''Tavi'""") == [(1,)]

    # and again on the same database, as somebody who runs the demo twice does
    await play(database.dsn, profile=profile, pace_seconds=0, on_chapter=on_chapter)


async def test_the_teenager_in_the_crm(database: Database, connect: Connect) -> None:
    database.apply_profile("core")
    app, cast = Application(await connect(), "core"), Cast()
    for chapter in chapters("core")[:7]:
        await chapter.scene(app, cast)
    ((first, last, email, xp, level, done, badges),) = database.execute(
        'select "First_Name", "Last_Name", "Email", "Total_XP", "Level", "Completed_Quests", "Badges_Earned"'
        " from cdc.contacts where user_id = %s",
        [cast.teen],
    )
    assert (first, last, xp, level, done, badges) == ("Maro", "O'Tavi", 300, "Builder", 1, 1)
    assert email.startswith("maro.otavi.")
    assert database.execute('select "Subject", "XP_Earned" from cdc.quest_completions') == [
        ("Completed: Build a solar oven", 300)
    ]


def test_another_applications_profile_has_no_story() -> None:
    with pytest.raises(ConfigError, match="no demo story"):
        chapters("mine")
