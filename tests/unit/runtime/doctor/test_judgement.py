"""Where the bounds are: facts that a test can't stage, and either side of each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdc.routing.feeds import Feed, Lane, parse_profile
from cdc.runtime.doctor.finding import Finding, Level
from cdc.runtime.doctor.judgement import crm, source, state
from cdc.state.control import Pause
from cdc.state.outbox import Counts
from cdc.watch.holders import Holders, OpenTransaction, OtherSlot, PreparedTransaction
from cdc.watch.slot import Behind, SlotHealth
from sinks.zoho.fields import CrmField
from sinks.zoho.organisation import Organisation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MB, GB = 1 << 20, 1 << 30
NOWHERE = Behind(lsn=None, bytes_behind=None, seconds_behind=None)
SLOT = SlotHealth(
    slot="ours", at=NOW, exists=True, wal_status="reserved", invalidation_reason=None, active_pid=None, failover=False,
    end_lsn="0/0", received=NOWHERE, captured=NOWHERE, acknowledged=NOWHERE, retained_wal_bytes=0, safe_wal_bytes=None,
    limit_bytes=None, runway_seconds=None,
)  # fmt: skip


def level(found: Sequence[Finding]) -> Level:
    assert found
    return max((f.level for f in found), key=list(Level).index)


@pytest.mark.parametrize(
    ("families", "has_ipv6", "expected"),
    [
        ({"IPv4"}, False, Level.OK),
        ({"IPv4", "IPv6"}, False, Level.OK),
        ({"IPv6"}, True, Level.OK),
        ({"IPv6"}, False, Level.PROBLEM),
        (set(), True, Level.PROBLEM),
    ],
)
def test_resolution(families: set[str], has_ipv6: bool, expected: Level) -> None:
    found = source.resolution("db.x.supabase.co", families, has_ipv6=has_ipv6)
    assert level(found) is expected
    if families == {"IPv6"} and not has_ipv6:
        assert "session pooler" in found[0].fix
        assert "IPv4 add-on" in found[0].fix


@pytest.mark.parametrize(
    ("number", "in_recovery", "expected", "words"),
    [
        (140_010, False, Level.PROBLEM, "too old"),
        (150_018, False, Level.OK, "may go back"),
        (160_004, False, Level.OK, "Postgres"),
        (180_006, False, Level.OK, "skipped without a word"),
        (170_000, True, Level.PROBLEM, "standby"),
    ],
)
def test_version(number: int, in_recovery: bool, expected: Level, words: str) -> None:
    found = source.version(number, "x", in_recovery=in_recovery)
    assert level(found) is expected
    assert words in found[0].what


@pytest.mark.parametrize(
    ("changes", "expected", "fix"),
    [
        ({"exists": False}, Level.PROBLEM, "cdc setup"),
        ({"wal_status": "lost", "invalidation_reason": "wal_removed"}, Level.PROBLEM, "cdc run"),
        ({"wal_status": "unreserved", "limit_bytes": 8 * GB}, Level.PROBLEM, "max_slot_wal_keep_size = '16384MB'"),
        ({"wal_status": "extended"}, Level.OK, ""),
    ],
)
def test_slot(changes: dict[str, Any], expected: Level, fix: str) -> None:
    found = source.slot(replace(SLOT, **changes), has_position=False)
    assert level(found) is expected
    assert fix in found[0].fix


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"retained_wal_bytes": GB}, Level.OK),
        ({"retained_wal_bytes": GB + 1}, Level.WARNING),
        ({"limit_bytes": 4 * GB, "retained_wal_bytes": 2 * GB}, Level.OK),
        ({"limit_bytes": 4 * GB, "retained_wal_bytes": 3 * GB}, Level.WARNING),
        ({"limit_bytes": 4 * GB, "retained_wal_bytes": 3.5 * GB}, Level.PROBLEM),
        ({"limit_bytes": 4 * GB, "retained_wal_bytes": MB, "runway_seconds": 3_600.0}, Level.PROBLEM),
        ({"limit_bytes": 4 * GB, "retained_wal_bytes": MB, "runway_seconds": 86_400.0}, Level.OK),
    ],
)
def test_room(changes: dict[str, Any], expected: Level) -> None:
    assert level(source.room(replace(SLOT, **changes))) is expected


def test_other_slots_that_are_lost_or_idle_and_large() -> None:
    slots = [
        OtherSlot("active", True, "reserved", 9 * GB), OtherSlot("small", False, "reserved", MB),
        OtherSlot("it's", False, "extended", GB), OtherSlot("lost", False, "lost", None),
    ]  # fmt: skip
    found = source.other_slots(slots)
    assert [f.what.split()[1] for f in found] == ["it's", "lost"]
    assert found[0].fix.startswith("SELECT pg_drop_replication_slot('it''s');")


def test_no_room_for_a_slot_or_a_sender() -> None:
    idle = [OtherSlot("old", False, None, None)]
    assert level(source.free_slots(5, 5, idle, ours=True)) is Level.OK
    assert "pg_drop_replication_slot('old')" in source.free_slots(5, 5, idle, ours=False)[0].fix
    assert "max_replication_slots = 10" in source.free_slots(5, 5, [], ours=False)[0].fix
    assert level(source.free_senders(4, 5, ours=False)) is Level.OK
    assert "max_wal_senders = 10" in source.free_senders(5, 5, ours=False)[0].fix


def test_prepared_transactions_and_readers() -> None:
    reader = OpenTransaction(1, 9_000.0, "active", None, writes=False)
    assert level(source.holders(Holders((reader,)), 300.0)) is Level.OK
    prepared = PreparedTransaction("771", 400.0, "app")
    found = source.holders(Holders((), (), (prepared,)), 300.0)
    assert level(found) is Level.WARNING
    assert "ROLLBACK PREPARED" in found[0].fix


def test_a_transaction_timeout_is_named_where_the_server_knows_it() -> None:
    found = source.session("app", "db", {"transaction_timeout": "5000", "lock_timeout": "0"})
    assert [f.what for f in found] == ["transaction_timeout of role app is 5000 ms"]


def counts(**values: Any) -> Counts:
    zero = dict.fromkeys(("due", "gathering", "in_flight", "retrying", "deferred", "parked"), 0)
    return Counts(**{"feed": "people", "lane": Lane.LIVE, "oldest": None, **zero, **values})


@pytest.mark.parametrize(("minutes", "expected"), [(14, Level.OK), (16, Level.WARNING)])
def test_outbox(minutes: int, expected: Level) -> None:
    assert level(state.outbox([counts(due=3, oldest=NOW - timedelta(minutes=minutes))], NOW)) is expected


def test_a_key_that_is_only_parked_or_deferred_does_not_wait() -> None:
    assert level(state.outbox([counts(parked=3), counts(deferred=9)], NOW)) is Level.OK


def test_delivery_that_is_switched_off() -> None:
    [found] = state.delivering([], 7, enabled=False)
    assert (found.level, found.fix) == (Level.WARNING, "export ZOHO_SYNC_ENABLED=true")


@pytest.mark.parametrize(
    ("scope", "reason", "actor", "fix"),
    [
        ("bulk lane", "BY_HAND", "ada", "cdc backfill resume"),
        ("*", "BY_HAND", "ada", "cdc resume"),
        ("contacts", "BY_HAND", "ada", "cdc resume contacts"),
        ("*", "GAP_UNDECIDED", None, "cdc slot repair"),
        ("*", "LEDGER_DOUBTFUL", None, "cdc run"),
        ("zoho", "TOKEN_INVALID", None, "ZOHO_REFRESH_TOKEN"),
        ("zoho", "A_REASON_OF_LATER", None, "DELETE FROM cdc.control WHERE scope = 'zoho'"),
    ],
)
def test_each_pause_says_what_ends_it(scope: str, reason: str, actor: str | None, fix: str) -> None:
    [found] = state.paused([Pause(scope, None, reason, "", 0, NOW, actor)], NOW)
    assert fix in found.fix
    assert (actor or "") in found.what


@pytest.mark.parametrize(
    ("hours", "size", "expected"), [(160, 10 * MB, Level.OK), (2, 10 * MB, Level.OK), (2, 1_000 * MB, Level.WARNING)]
)
def test_journal(hours: int, size: int, expected: Level) -> None:
    found = state.Journal(NOW - timedelta(hours=hours), NOW - timedelta(days=30), size, 1_024 * MB, timedelta(days=7))
    judged = state.journal(found, NOW)
    assert level(judged) is expected
    if expected is Level.WARNING:
        assert judged[0].fix == "export CDC_JOURNAL_MB=2048"


def test_a_journal_that_nobody_writes() -> None:
    assert level(state.journal(state.Journal(None, None, 0, MB, timedelta(days=7)), NOW)) is Level.WARNING


@pytest.mark.parametrize(
    ("edition", "users", "expected"),
    [
        ("standard", 10, Level.OK),
        ("enterprise", 10, Level.WARNING),  # more than we reckon with
        ("free", 3, Level.PROBLEM),  # less
        ("zohoone", 10, Level.OK),  # its limits aren't known
        (None, None, Level.OK),
    ],
)
def test_licence(edition: str | None, users: int | None, expected: Level) -> None:
    org = Organisation(id="1", name="Ours", edition=edition, users=users)
    found = crm.licence(org, "standard", 10)
    assert level(found) is expected
    if expected in {Level.WARNING, Level.PROBLEM}:
        assert found[0].fix == f"export ZOHO_EDITION={edition}\nexport ZOHO_USERS={users}"


@pytest.mark.parametrize(
    ("used", "remaining", "expected", "words"),
    [
        (39_000, None, Level.OK, "11250 left"),
        (41_000, None, Level.WARNING, "9250 left"),
        (48_000, None, Level.PROBLEM, "2250 left"),
        (10_000, 9_000, Level.WARNING, "31250 of them were spent by others"),
    ],
)
def test_credits(used: int, remaining: int | None, expected: Level, words: str) -> None:
    found = crm.credits(used, 50_250, remaining, {})
    assert level(found) is expected
    assert words in found[0].what


def feed(**field: Any) -> Feed:
    body = {
        "sink": "zoho.contacts", "view": "cdc.people", "key": "id", "external_id": "External_ID",
        "watch": {"people": {"key": "id"}}, "fields": {"Level": {"label": "Level", **field}},
    }  # fmt: skip
    return parse_profile("p", Path("p"), {"people": body}).feeds["people"]


@pytest.mark.parametrize(
    ("spec", "there", "words"),
    [
        ({"type": "picklist", "values": ["A", "B"]}, {"data_type": "picklist", "values": {"A", "B", "C"}}, None),
        ({"type": "picklist", "values": ["A", "B"]}, {"data_type": "picklist", "values": {"A"}}, "picklist values B"),
        ({"type": "picklist", "values": ["A"]}, {"data_type": "text"}, None),
        ({"type": "text", "length": 36}, {"data_type": "text", "max_length": 36}, None),
        ({"type": "text", "length": 36}, {"data_type": "text", "max_length": 35}, "holds 35 characters, not 36"),
        ({"type": "date"}, {"data_type": "datetime"}, "is of type datetime, not date"),
    ],
)
def test_fields(spec: dict[str, Any], there: dict[str, Any], words: str | None) -> None:
    given = {**there, "values": frozenset(there.get("values", ()))}
    found = crm.fields(feed(**spec), "Contacts", {"Level": CrmField(api_name="Level", label="Level", **given)})
    assert [words in f.what for f in found if words] == ([True] if words else [])
    assert bool(found) is (words is not None)


def test_a_data_centre_that_is_nobody_s_is_no_contradiction() -> None:
    assert level(crm.data_centre("http://127.0.0.1:1", "US")) is Level.OK
    assert level(crm.data_centre("https://sandbox.zohoapis.eu", "EU")) is Level.OK
    assert crm.data_centre("https://www.zohoapis.in", "US")[0].fix == "export ZOHO_DATA_CENTER=IN"
