"""What is configured, what stands in, and what is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.errors import ConfigError, ProfileError
from cdc.routing.feeds import Profile, load_profile
from cdc.runtime.environment import prepare, sink_specs
from cdc.settings import Settings


def profile_with(**changes: object) -> Profile:
    profile = load_profile("core")
    contacts = profile.feeds["contacts"].model_copy(update=changes)
    return profile.model_copy(update={"feeds": {**profile.feeds, "contacts": contacts}, "folder": Path("/app/cdc")})


def test_shipped_profiles_name_sinks_that_there_are() -> None:
    for name in ("core", "2026"):
        profile = load_profile(name)
        assert sink_specs(profile).keys() == profile.feeds.keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sink": "zoho.deals"}, "no sink zoho.deals; there are zoho.contacts, zoho.notes, zoho.tasks"),
        ({"external_id": None}, "zoho.contacts needs external_id"),
    ],
)
async def test_a_sink_that_cannot_be_is_refused_with_file_and_feed(changes: dict[str, object], words: str) -> None:
    profile = profile_with(**changes)
    with pytest.raises(ProfileError, match=r"feeds\.toml: feed contacts: ") as caught:
        async with prepare(Settings(), profile):
            pytest.fail("something was started")
    assert words in str(caught.value)


async def test_the_demo_writes_only_to_a_database_of_its_own() -> None:
    settings = Settings(database_url="postgresql://app@db.example.org/app")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--demo writes made-up people"):
        async with prepare(settings, load_profile("core"), demo=True):
            pytest.fail("something was started")
