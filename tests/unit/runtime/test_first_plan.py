"""`cdc setup --create-fields` makes every custom field that the first plan asked for."""

from __future__ import annotations

from cdc.routing.feeds import load_profile
from sinks.simulator.standard import FIRST_PLAN
from sinks.zoho.connect import MODULES


def test_every_field_of_the_first_plan_is_made_from_the_profile() -> None:
    made: dict[str, set[str]] = {module: set() for module in FIRST_PLAN}
    for feed in load_profile("core").feeds.values():
        if feed.fields:
            made[MODULES[feed.sink]] |= {spec.label for spec in feed.fields.values()}
    assert made == {module: {one.label for one in fields} for module, fields in FIRST_PLAN.items()}
