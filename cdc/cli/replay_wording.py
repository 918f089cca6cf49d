"""What `cdc replay` found or did, in words."""

from __future__ import annotations

from collections.abc import Iterable

from cdc.routing.keys import Unwatched
from cdc.runtime.rehearsal import Rehearsal, Rehearsed
from cdc.runtime.replaying import Progress

_FIELDS_SHOWN = 12


def cost_of_replay(found: Rehearsal) -> list[str]:
    """Say what a replay would do."""
    lines = []
    for feed in found.feeds:
        lines.append(f"{feed.feed}: {feed.records:,} records touched; {_differences(feed)}")
        if feed.is_sample:
            lines.append(f"  a sample of {feed.compared:,} was compared; calls and credits are scaled up from it")
        if feed.fields:
            most = feed.fields.most_common(_FIELDS_SHOWN)
            more = f", and {len(feed.fields) - len(most)} fields more" if len(feed.fields) > len(most) else ""
            lines.append("  fields that differ: " + ", ".join(f"{name} {count:,}" for name, count in most) + more)
        if feed.calls:
            lines.append(f"  {feed.calls:,} calls, {feed.credits:,} credits")
    calls, credits = sum(f.calls for f in found.feeds), sum(f.credits for f in found.feeds)
    basis = "as the quickest calls of the last week" if found.is_measured else "assumed"
    lines.append(
        f"in all {calls:,} calls and {credits:,} credits at most, about {_duration(found.seconds)} "
        f"({found.call_seconds:.2g} s a call, {basis}, two at a time)"
    )
    return [*lines, *_unwatched(found.unwatched), "nothing was marked"]


def _differences(feed: Rehearsed) -> str:
    numbers = {
        "to be made": feed.creates,
        "to be changed": feed.updates,
        "to be withdrawn": feed.withdrawals,
        "equal": feed.equal,
        "waiting for another record": feed.waiting,
        "can't be sent": feed.refused,
    }
    return ", ".join(f"{count:,} {words}" for words, count in numbers.items() if count) or "nothing to compare"


def outcome_of_replay(done: Progress) -> list[str]:
    """Say what a replay did."""
    by_feed = ", ".join(f"{feed} {count:,}" for feed, count in done.by_feed.items() if count)
    lines = [f"{done.marked:,} keys marked" + (f" ({by_feed})" if by_feed else "")]
    if done.parked:
        lines.append(f"{done.parked:,} are parked and were left so: `cdc failures list`; --force takes them along")
    lines += _unwatched(done.unwatched)
    if not done.is_finished:
        lines.append("broken off: `cdc replay --resume` goes on from here")
    elif done.left is None:
        lines.append("workers send what differs")
    elif done.left:
        lines.append(f"{done.left:,} are still to be delivered; they go on without this command")
    else:
        lines.append("all of it is delivered" if not done.failed else f"{done.failed:,} parked: `cdc failures list`")
    return lines


def _unwatched(found: Iterable[Unwatched]) -> list[str]:
    return [
        f"{u.table} was captured before feed {u.feed} watched it by {u.column}: `cdc sweep {u.feed}` finds what differs"
        for u in found
    ]


def _duration(seconds: float) -> str:
    for size, word in ((3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"
