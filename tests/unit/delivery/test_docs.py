"""The page about delivery says what the code does."""

from __future__ import annotations

import math
import re
from pathlib import Path

from cdc.delivery.budget import LANE_SHARE
from cdc.delivery.policy import POLICIES, Policy, Response, Scope

PAGE = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text(encoding="utf-8")


def _span(seconds: float) -> str:
    if not seconds:
        return ""
    if math.isinf(seconds):
        return "until mended"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _response(policy: Policy) -> str:
    if policy.response is not Response.PAUSE:
        return policy.response.value
    return "pause the family" if policy.scope is Scope.FAMILY else "pause the feed"


def policy_rows() -> list[str]:
    return [
        f"| `{reason.name}` | {_response(p)} | {_span(p.first)} | {_span(p.longest)} | {p.attempts or ''} |"
        for reason, p in sorted(POLICIES.items(), key=lambda item: item[0].name)
    ]


def test_every_policy_is_listed_as_it_is() -> None:
    assert re.findall(r"^\| `[A-Z_]+` \|.*$", PAGE, re.MULTILINE) == policy_rows()


def test_the_lanes_shares_are_those_in_force() -> None:
    shares = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d+) % \|$", PAGE, re.MULTILINE))
    assert shares == {lane.value: f"{share:.0%}".removesuffix("%") for lane, share in LANE_SHARE.items()}


def test_every_module_named_exists() -> None:
    root = Path(__file__).parents[3]
    for cell in re.findall(r"^\| (`cdc/.*?) \|", PAGE, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        assert (root / first).is_file()
        assert all((root / first).with_name(other).is_file() for other in others)
