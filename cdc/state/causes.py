"""Why a stream doesn't join up with our position: a closed registry.

As with `sinks.reasons`, a cause can be counted, looked up in a runbook and tested; free text can't. Each has a section
in docs/slot.md.
"""

from __future__ import annotations

from enum import Enum


class GapCause(Enum):
    """One way in which the stream fails to join up with our position.

    Attributes:
        is_automatic: same cluster, same history: a new slot and a sweep put it right without a question. Otherwise
            the database may be the wrong one, or older than the CRM, and a person looks first.
        meaning: what happened, one sentence.
        hint: what to do.
    """

    is_automatic: bool
    meaning: str
    hint: str

    def __init__(self, is_automatic: bool, meaning: str, hint: str) -> None:
        self.is_automatic = is_automatic
        self.meaning = meaning
        self.hint = hint

    SLOT_DROPPED = (
        True,
        "The slot was dropped.",
        "Find out who drops slots; before an upgrade or a restore it is as it should be.",
    )
    SLOT_RECREATED = (
        True,
        "The slot was dropped and made again, so it begins behind our position.",
        "Nobody but `cdc` should make this slot.",
    )
    SLOT_ADVANCED = (
        True,
        "The slot was moved beyond our position while nobody read it.",
        "Look for another reader of this slot, or somebody who ran pg_replication_slot_advance.",
    )
    WAL_REMOVED = (
        True,
        "The slot held back more WAL than max_slot_wal_keep_size allows, and the server gave it up.",
        "Keep the pipeline running, or raise max_slot_wal_keep_size; `cdc slot` shows the runway.",
    )
    IDLE_TIMEOUT = (
        True,
        "Nobody read the slot for longer than idle_replication_slot_timeout, and the server gave it up.",
        "Keep the pipeline running, or raise idle_replication_slot_timeout.",
    )
    SLOT_INVALIDATED = (
        True,
        "The server gave the slot up.",
        "See invalidation_reason in pg_replication_slots and the server's log.",
    )
    FAILED_OVER = (
        True,
        "The database failed over to a server that doesn't have our slot.",
        "On Postgres 17 or newer CDC_SLOT_FAILOVER and a standby with sync_replication_slots take the slot along.",
    )
    LEDGER_DOUBTFUL = (
        True,
        "The database that holds our state failed over or was restored: the CRM may hold more than the ledger says.",
        "Nothing: everything is sent again, and what was perhaps made before is looked for first.",
    )
    PUBLICATION_INCOMPLETE = (
        True,
        "The publication didn't carry all that the feeds watch.",
        "Run `cdc setup`; a sweep finds what changed meanwhile.",
    )
    PUBLICATION_CHANGED = (
        True,
        "The publication was changed, or dropped and made again, while nobody looked.",
        "Nothing, if it was `cdc setup`.",
    )
    STREAM_UNREADABLE = (
        True,
        "The server can't decode a stretch of WAL that was written without the publication.",
        "Don't drop the publication while the slot exists. Postgres 15 refuses such a stretch for ever.",
    )
    SLOT_TAKEN = (
        False,
        "The slot of our name belongs to another plugin or another database.",
        "Set CDC_SLOT to another name, or let `cdc slot repair` replace that slot if nothing uses it.",
    )
    ANOTHER_CLUSTER = (
        False,
        "The database is another cluster than before: upgraded, moved, restored from a dump, or the wrong one.",
        "Check DATABASE_URL. If this is the right database: `cdc slot repair`.",
    )
    SERVER_BEHIND = (
        False,
        "The database is older than our position: it was restored from a backup.",
        "Check that it is the database you want to keep. Then `cdc slot repair`.",
    )
    FORKED_BEFORE = (
        False,
        "The database's history parted from ours before our position: it lacks changes that we have read.",
        "Check that it is the database you want to keep. Then `cdc slot repair`.",
    )
    HISTORY_UNKNOWN = (
        False,
        "The database is on another timeline, and it can't be read whether that parted before or after our position.",
        "Let `cdc` use a direct connection, or check that it is the right database; then `cdc slot repair`.",
    )


def in_words(cause: str) -> str:
    """Give a stored cause's meaning as part of a sentence; text of an older version stays as it is."""
    known = GapCause.__members__.get(cause)
    return cause if known is None else known.meaning[0].lower() + known.meaning[1:].removesuffix(".")
