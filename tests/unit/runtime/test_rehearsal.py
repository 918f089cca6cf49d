"""What a dry run says of calls and credits, from the sinks' own prices."""

from __future__ import annotations

import pytest

from cdc.runtime.rehearsal import Rehearsed, price_calls


@pytest.mark.parametrize(
    ("sink", "found", "calls", "credits"),
    [
        pytest.param("zoho.contacts", Rehearsed("f", records=100, compared=100, equal=100), 0, 0, id="equal"),
        pytest.param("zoho.contacts", Rehearsed("f", records=100, compared=100, updates=100), 1, 10, id="a full call"),
        pytest.param(
            "zoho.contacts", Rehearsed("f", records=250, compared=250, creates=125, updates=125), 3, 27,
            id="contacts go together",
        ),
        pytest.param(
            "zoho.tasks", Rehearsed("f", records=200, compared=200, creates=100, updates=100), 4, 20,
            id="those of tasks don't",
        ),
        pytest.param(
            "zoho.contacts", Rehearsed("f", records=1_000, compared=1_000, updates=20), 10, 10,
            id="few that differ spread over all batches",
        ),
        pytest.param(
            "zoho.contacts", Rehearsed("f", records=300, compared=300, withdrawals=300), 3, 3, id="a delete costs one"
        ),
        pytest.param(
            "zoho.contacts", Rehearsed("f", records=100_000, compared=1_000, updates=500), 1_000, 5_000,
            id="a sample is scaled up",
        ),
        pytest.param("zoho.contacts", Rehearsed("f"), 0, 0, id="nothing touched"),
        pytest.param("mail.welcome", Rehearsed("f", records=9, compared=9, creates=9), 0, 0, id="no CRM"),
    ],
)  # fmt: skip
def test_price(sink: str, found: Rehearsed, calls: int, credits: int) -> None:
    price_calls(found, sink)
    assert (found.calls, found.credits) == (calls, credits)
