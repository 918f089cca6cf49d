"""`cdc keys`: what stands under which key, and changing it."""

from __future__ import annotations

import asyncio
import json

import pytest

from cdc.cli.start import EXIT_DEGRADED
from cdc.errors import ConfigError, KeyMissing
from cdc.state.database import migrate
from cdc.state.envelope import Key, Keyring
from cdc.state.envelope import Place as Where
from tests.integration.cli.conftest import KEY, Place
from tests.support.postgres import Database

OLD = Key.parse(KEY)


@pytest.fixture
def ready(place: Place, database: Database) -> Place:
    """A state with a sign-in under the old key, which stands in `.env`."""
    asyncio.run(migrate(database.dsn))
    sealed = Keyring((OLD,)).seal("1000.token", Where("cdc.zoho_tokens", "zoho", "refresh_token"))
    database.execute("insert into cdc.zoho_tokens (id, refresh_token) values ('zoho', %s)", [sealed])
    (place.folder / ".env").write_text(f"CDC_ENCRYPTION_KEY={KEY}\nOTHER=1\n", encoding="utf-8")
    return place


def listed(place: Place) -> dict[str, tuple[str, int]]:
    shown = json.loads(place.run("keys", "list", "--json").stdout)
    return {key: (entry["use"], len(entry["encrypts"])) for key, entry in shown.items()}


def test_a_new_key_is_printed_and_is_one(place: Place) -> None:
    first, second = (place.run("keys", "new").stdout for _ in range(2))
    assert Key.parse(first).id != Key.parse(second).id


def test_from_the_old_key_to_the_new_in_two_steps(ready: Place, database: Database) -> None:
    assert listed(ready) == {OLD.id: ("encrypts", 1)}
    assert ready.run("keys", "rotate").exit_code == 0
    value = (ready.folder / ".env").read_text(encoding="utf-8").split("=", 1)[1].split("\n")[0]
    keyring = Keyring.parse(value)
    assert keyring.ids[1] == OLD.id
    assert listed(ready) == {keyring.ids[0]: ("encrypts", 0), OLD.id: ("decrypts", 1)}, (
        "nothing moves before all have it"
    )

    done = ready.run("keys", "rotate")
    assert done.exit_code == 0, done.output
    assert listed(ready) == {keyring.ids[0]: ("encrypts", 2), OLD.id: ("decrypts", 0)}
    assert value.split(",")[0] not in done.output
    noted = [("keys.rotate", f"to key {keyring.ids[0]}", 1)]  # the ledger's key was written for the first time
    assert database.execute("select action, subject, count from cdc.audit") == noted
    (ready.folder / ".env").write_text(f"CDC_ENCRYPTION_KEY={value.split(',')[0]}\n", encoding="utf-8")
    assert listed(ready) == {keyring.ids[0]: ("encrypts", 2)}


def test_a_key_of_one_s_own_is_taken_from_a_file(ready: Place) -> None:
    mine = Key.new()
    (ready.folder / "key").write_text(f"{mine.text()}\n", encoding="utf-8")
    assert ready.run("keys", "rotate", "--key-file", "key").exit_code == 0
    assert listed(ready)[mine.id] == ("encrypts", 0)
    under_way = ready.run("keys", "rotate", "--key-file", "key")
    assert isinstance(under_way.exception, ConfigError)
    assert "under way" in str(under_way.exception)


@pytest.mark.parametrize("content", ["no key", KEY])
def test_a_file_without_a_new_key_changes_nothing(ready: Place, content: str) -> None:
    (ready.folder / "key").write_text(content, encoding="utf-8")
    before = (ready.folder / ".env").read_text(encoding="utf-8")
    refused = ready.run("keys", "rotate", "--key-file", "key")
    assert isinstance(refused.exception, ConfigError)
    assert (ready.folder / ".env").read_text(encoding="utf-8") == before


def test_a_key_from_the_environment_is_changed_where_it_comes_from(ready: Place) -> None:
    ready.environment.setenv("CDC_ENCRYPTION_KEY", KEY)
    refused = ready.run("keys", "rotate")
    assert isinstance(refused.exception, ConfigError)
    assert "<new>,<old>" in str(refused.exception.fix)
    assert KEY not in str(refused.exception)


def test_a_missing_key_is_seen_and_nothing_is_rotated(ready: Place, database: Database) -> None:
    one, two = Key.new(), Key.new()
    ready.environment.setenv("CDC_ENCRYPTION_KEY", f"{one.text()},{two.text()}")
    result = ready.run("keys", "list")
    assert result.exit_code == EXIT_DEGRADED
    assert "missing" in result.stdout
    before = database.execute("select * from cdc.zoho_tokens")
    refused = ready.run("keys", "rotate")
    assert isinstance(refused.exception, KeyMissing)
    assert database.execute("select * from cdc.zoho_tokens") == before
    assert database.execute("select * from cdc.secret") == []
