"""The source database: what its answers mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from psycopg import sql

from cdc.runtime.doctor.finding import Finding, Findings, ok, problem, warning
from cdc.runtime.doctor.judgement.words import listed, size, span
from cdc.source.preflight import MINIMUM_VERSION
from cdc.watch.holders import Holders, OtherSlot
from cdc.watch.slot import SlotHealth

_MUCH_WAL: Final = 1 << 30  # that a slot keeps where nothing limits it
_NOTEWORTHY_WAL: Final = 64 << 20  # that a slot keeps which nobody reads
_HALF, _MOST = 0.5, 0.8
_SHORT_RUNWAY: Final = 6 * 3_600.0
_TRAPS: Final[Mapping[int, str]] = {
    15: "a slot's acknowledged position may go back when the server restarts; what was captured is skipped",
    17: "an idle or outdated slot may be invalidated by idle_replication_slot_timeout or by its WAL limit",
    18: "what a publication lacks is skipped without a word; `cdc run` looks every quarter of a minute",
}


def resolution(host: str, families: Collection[str], *, has_ipv6: bool) -> Findings:
    """Judge what a host name resolves to.

    Args:
        host: the name.
        families: `IPv4`, `IPv6`, or both; empty if it doesn't resolve.
        has_ipv6: this machine has a route to IPv6 addresses.
    """
    if not families:
        return [
            problem(
                f"{host} has no address",
                why="nothing can be read from a host that isn't found",
                fix="correct the host in DATABASE_URL; a paused Supabase project has no address until it is restored",
            )
        ]
    if set(families) == {"IPv6"} and not has_ipv6:
        return [
            problem(
                f"{host} has only an IPv6 address, and this machine has no route to IPv6",
                why="Supabase's direct host is IPv6 unless the IPv4 add-on is on",
                fix="in DATABASE_URL use the session pooler (<region>.pooler.supabase.com:5432, user "
                "<role>.<project ref>), where `poll` reads the same slot; or turn the IPv4 add-on on",
            )
        ]
    return ok(f"{host} has {' and '.join(sorted(families))}")


def version(number: int, words: str, *, in_recovery: bool) -> Findings:
    """Judge the server's version, and whether it takes writes."""
    if number < MINIMUM_VERSION:
        return [
            problem(
                f"Postgres {words} is too old",
                why="publications with column lists, which keep everything else out of the stream, came with 15",
                fix="upgrade the server (Supabase: dashboard, Infrastructure)",
            )
        ]
    if in_recovery:
        return [
            problem(
                "the server is a standby",
                why="neither slot nor schema can be made there",
                fix="set DATABASE_URL to the primary's address",
            )
        ]
    trap = _TRAPS.get(number // 10_000)
    return ok(f"Postgres {words}" + (f"; to know: {trap}" if trap else ""))


def clock(whose: str, ahead: float, tolerance: float) -> Findings:
    """Judge a clock by ours."""
    if abs(ahead) <= tolerance:
        return ok(f"the clock of {whose} and this machine's agree")
    return [
        warning(
            f"the clock of {whose} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
            why="tokens, leases and latencies are judged by these clocks",
            fix="timedatectl set-ntp true  # on the machine whose clock is wrong",
        )
    ]


def free_slots(taken: int, allowed: int, idle: Sequence[OtherSlot], *, ours: bool) -> Findings:
    """Judge whether there is room for our slot.

    Args:
        taken: slots on the server.
        allowed: max_replication_slots.
        idle: those that nobody reads.
        ours: our slot is one of them.
    """
    if ours or taken < allowed:
        return ok(f"{taken} of {allowed} replication slots are taken")
    more = f"ALTER SYSTEM SET max_replication_slots = {allowed + 5};  -- then restart the server"
    return [
        problem(
            f"all {allowed} replication slots are taken",
            why="ours can't be made",
            fix="\n".join(_drop(slot.name) for slot in idle) or more,
        )
    ]


def free_senders(taken: int, allowed: int, *, ours: bool) -> Findings:
    """Judge whether there is room for our stream."""
    if ours or taken < allowed:
        return ok(f"{taken} of {allowed} WAL senders are taken")
    return [
        problem(
            f"all {allowed} WAL senders are taken",
            why="the transport `stream` needs one",
            fix=f"ALTER SYSTEM SET max_wal_senders = {allowed + 5};  -- then restart the server",
        )
    ]


def _drop(slot: str) -> str:
    text = sql.SQL("SELECT pg_drop_replication_slot({});").format(sql.Literal(slot)).as_string(None)
    return f"{text}  -- if nothing needs it any more"


def slot(health: SlotHealth, *, has_position: bool) -> Findings:
    """Judge whether our slot is there, and whole."""
    anew = "cdc run  # makes a new one, puts the gap on record and compares everything"
    if not health.exists and not has_position:
        return [
            problem(
                f"slot {health.slot} doesn't exist yet",
                why="what is written before it is there is not in the stream; the first sweep finds it",
                fix="cdc setup",
            )
        ]
    if not health.exists:
        return [
            problem(f"slot {health.slot} is gone", why="what is written until there is a new one is a gap", fix=anew)
        ]
    if health.wal_status == "lost":
        cause = f" ({health.invalidation_reason})" if health.invalidation_reason else ""
        return [
            problem(
                f"the server gave slot {health.slot} up{cause}",
                why="what was written since the last acknowledged position can't be read any more",
                fix=anew,
            )
        ]
    if health.wal_status == "unreserved":
        return [
            problem(
                f"the next checkpoint may take slot {health.slot}",
                why="its WAL is beyond max_slot_wal_keep_size; once it is gone, everything must be compared",
                fix=raise_limit(health.limit_bytes),
            )
        ]
    return ok(f"slot {health.slot} is {health.wal_status}")


def raise_limit(limit: int | None) -> str:
    """Write what gives the slot more room."""
    megabytes = max(4_096, (limit or 0) * 2 // (1 << 20))
    return (
        f"ALTER SYSTEM SET max_slot_wal_keep_size = '{megabytes}MB';"
        f"  -- Supabase: supabase postgres-config update --config max_slot_wal_keep_size={megabytes}MB\n"
        "SELECT pg_reload_conf();"
    )


def room(health: SlotHealth) -> Findings:
    """Judge how much more WAL may be written before our slot is lost."""
    kept = health.retained_wal_bytes or 0
    if health.limit_bytes is None:
        if kept <= _MUCH_WAL:
            return ok(f"it keeps {size(kept)} of WAL; nothing limits that")
        return [
            warning(
                f"it keeps {size(kept)} of WAL, and nothing limits that",
                why="a slot without a limit can fill the server's disk",
                fix=raise_limit(None),
            )
        ]
    share = kept / health.limit_bytes if health.limit_bytes else 1.0
    soon = health.runway_seconds is not None and health.runway_seconds < _SHORT_RUNWAY
    words = f"it keeps {size(kept)} of WAL, {share:.0%} of what it may ({size(health.limit_bytes)})"
    if share <= _HALF and not soon:
        return ok(words)
    if health.runway_seconds is not None:
        words += f"; at this rate it is lost in {span(health.runway_seconds)}"
    why = "beyond the limit the server gives it up, and everything must be compared"
    return [(problem if soon or share > _MOST else warning)(words, why=why, fix=raise_limit(health.limit_bytes))]


def other_slots(slots: Sequence[OtherSlot]) -> Findings:
    """Judge what other readers keep on the same disk."""
    found: list[Finding] = []
    for other in slots:
        kept = other.retained_wal_bytes or 0
        if other.wal_status == "lost":
            words = f"slot {other.name} is lost, and still takes one of the slots"
        elif not other.is_active and kept >= _NOTEWORTHY_WAL:
            words = f"slot {other.name} keeps {size(kept)} of WAL, and nobody reads it"
        else:
            continue
        why = "the disk fills as long as it stands still; a full disk stops every write of the app"
        found.append(warning(words, why=why, fix=_drop(other.name)))
    if found:
        return found
    named = listed([f"{s.name} ({size(s.retained_wal_bytes or 0)})" for s in slots])
    return ok(f"other slots: {named}" if named else "there is no other slot")


def holders(found: Holders, patience: float) -> Findings:
    """Judge transactions that have been open for long."""
    late: list[Finding] = []
    why = "decoding begins before the oldest transaction that writes, and a new slot waits for it"
    for one in found.transactions:
        if one.writes and one.open_seconds >= patience:
            who = f", {one.application}" if one.application else ""
            words = f"pid {one.pid}{who} has had a transaction open for {span(one.open_seconds)}"
            late.append(warning(words, why=why, fix=f"SELECT pg_terminate_backend({one.pid});"))
    for two in found.prepared:
        if two.open_seconds >= patience:
            words = f"a transaction of database {two.database} has been prepared for {span(two.open_seconds)}"
            fix = (
                "SELECT gid, prepared FROM pg_prepared_xacts ORDER BY prepared;"
                "  -- then COMMIT PREPARED or ROLLBACK PREPARED"
            )
            late.append(warning(words, why=why, fix=fix))
    return late or ok("no transaction that writes has been open for long")


_CUTS: Final[Mapping[str, str]] = {
    "idle_session_timeout": "connections that wait for work are cut off and made again and again",
    "transaction_timeout": "a long comparison is cut off before its end",
    "lock_timeout": "a write of ours that waits for a row gives up",
}


def session(role: str, database: str, settings: Mapping[str, str]) -> Findings:
    """Judge what a session of the role begins with.

    Args:
        role: whose.
        database: where.
        settings: name to value; those that the server knows.
    """

    def reset(name: str, value: str) -> str:
        form = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {};")
        parts = sql.Identifier(role), sql.Identifier(database), sql.Identifier(name), sql.SQL("0")
        text = form.format(*parts).as_string(None)
        return text if value == "0" else text.replace("= 0;", f"= {value};")

    found = [
        warning(f"{name} of role {role} is {settings[name]} ms", why=why, fix=reset(name, "0"))
        for name, why in _CUTS.items()
        if settings.get(name, "0") != "0"
    ]
    if settings.get("default_transaction_read_only") == "on":
        why = "the position and the outbox are written there"
        fix = reset("default_transaction_read_only", "off")
        found.append(problem(f"sessions of role {role} are read-only", why=why, fix=fix))
    return found or ok(f"no timeout of role {role} cuts us off")


def publication(name: str, breaches: Sequence[str], surplus: Sequence[str]) -> Findings:
    """Judge whether a publication carries what the feeds watch, and nothing else."""
    if breaches:
        why = "what isn't published is never heard of, and Postgres 18 doesn't even say so"
        return [problem("; ".join(breaches), why=why, fix="cdc setup")]
    if surplus:
        why = "whatever is published is decoded and sent to us for nothing"
        return [
            warning(f"publication {name} carries more than is watched: {listed(surplus)}", why=why, fix="cdc setup")
        ]
    return ok(f"publication {name} carries the watched tables, and of them the columns that are needed")
