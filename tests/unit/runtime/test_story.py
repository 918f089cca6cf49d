"""Where a record's way ended: one verdict for each end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cdc.runtime.story import Change, Dirty, InCrm, Pair, Searched, Standing, Step, Story

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
CHANGE = Change("0/10", AT, "public.users", "U")
NEVER = Story(
    feed="contacts", key="ada", view="cdc.contacts", searched=Searched([], 0, AT), dirty=None, in_view=False,
    steps=[Step("nothing", "ada", detail="not in the view")], ledger=[], calls=[], pauses={},
)  # fmt: skip
SENT = replace(NEVER, in_view=True, ledger=[Standing("ada", "sent", "crm-1", None)], searched=Searched([CHANGE], 1, AT))
DIRTY = Dirty("bulk", AT, AT, None, None, False, 0, None, None, None, None, None)


def in_crm(*, found: bool = True, is_equal: bool = True) -> list[InCrm]:
    return [InCrm("ada", "crm-1", found, [Pair("Level", "Sage", "Builder", is_equal)] if found else [])]


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (NEVER, ["never came to delivery", "the gate", "no change of it was captured since 2026-11-26 09:30:00Z"]),
        (replace(NEVER, searched=Searched([], 0, None)), ["nothing was ever captured"]),
        (replace(NEVER, searched=Searched([CHANGE], 1, AT)), ["the gate", "captured at 0/10"]),
        (replace(NEVER, ledger=[Standing("ada", "withdrawn", None, None)]), ["it was withdrawn", "the gate"]),
        (replace(NEVER, in_view=True, steps=[Step("create", "ada")]), ["nobody has marked it", "cdc sweep"]),
        (replace(NEVER, in_view=True, steps=[Step("wait", "ada")]), ["hangs on isn't in the CRM"]),
        (replace(NEVER, dirty=DIRTY), ["waits in the lane bulk, due at 2026-11-26 09:30:00Z"]),
        (replace(NEVER, dirty=replace(DIRTY, claimed_by="w1")), ["a worker has it: w1"]),
        (replace(NEVER, dirty=replace(DIRTY, reason="UNAVAILABLE", attempts=3)), ["tried 3 times, last UNAVAILABLE"]),
        (
            replace(NEVER, dirty=replace(DIRTY, parked_at=AT, reason="FIELD_TOO_LONG")),
            ["parked: FIELD_TOO_LONG", "longer than the CRM's field"],
        ),
        (replace(NEVER, dirty=DIRTY, pauses={"zoho": "TOKEN_INVALID"}), ["delivery to zoho is paused: TOKEN_INVALID"]),
        (SENT, ["delivered, and nothing differs"]),
        (replace(SENT, in_crm=in_crm()), ["delivered, and nothing differs"]),
        (replace(SENT, in_crm=in_crm(is_equal=False)), ["somebody changed it in the CRM: Level"]),
        (replace(SENT, in_crm=in_crm(found=False)), ["the CRM has no record crm-1 any more"]),
    ],
)
def test_verdict(story: Story, words: list[str]) -> None:
    said = "\n".join(story.verdict())
    for each in words:
        assert each in said


def test_no_value_is_in_the_json_or_in_the_repr() -> None:
    story = replace(SENT, in_crm=in_crm(is_equal=False), dirty=DIRTY)
    for text in (json.dumps(story.as_json()), repr(story)):
        assert "Level" in text
        assert "Sage" not in text
        assert "Builder" not in text
