"""The table of checks holds together."""

from __future__ import annotations

import re

import pytest

from cdc.errors import ConfigError
from cdc.runtime.doctor.finding import Finding, Level
from cdc.runtime.doctor.running import choose
from cdc.runtime.doctor.table import CHECKS

IDS = [check.id for check in CHECKS]


def test_each_check_has_an_id_of_its_own_and_says_what_it_looks_at() -> None:
    assert len(set(IDS)) == len(IDS)
    for check in CHECKS:
        assert re.fullmatch(r"(runtime|source|state|crm)\.[a-z-]+", check.id)
        assert check.looks_at
        assert check.look.__doc__


def test_what_a_check_needs_stands_before_it() -> None:
    for place, check in enumerate(CHECKS):
        assert set(check.needs) <= set(IDS[:place]), check.id


def test_a_name_brings_what_it_needs_along_and_nothing_else() -> None:
    chosen = {check.id for check in choose(["source.slot-room"])}
    assert {"source.address", "source.reachable", "runtime.profile", "source.wal-level", "source.slot"} <= chosen
    assert not any(name.startswith(("crm.", "state.")) for name in chosen)


def test_what_writes_is_left_out_unless_it_is_asked_for() -> None:
    assert [check.id for check in CHECKS if check.on_request] == ["crm.write-test"]
    assert "crm.write-test" not in {check.id for check in choose([])}
    assert {check.id for check in choose([], on_request=True)} == set(IDS)


@pytest.mark.parametrize(("name", "near"), [("source.slott", "source.slot"), ("slot", "source.slot"), ("xyzzy", None)])
def test_an_unknown_name_is_refused_with_the_nearest(name: str, near: str | None) -> None:
    with pytest.raises(ConfigError, match=f"there is no check {name}") as caught:
        choose([name])
    assert caught.value.exit_code == 2
    assert caught.value.fix
    assert ("did you mean" in caught.value.message) is (near is not None)
    if near is not None:
        assert near in caught.value.message


@pytest.mark.parametrize("level", [Level.WARNING, Level.PROBLEM])
def test_no_finding_without_a_fix(level: Level) -> None:
    with pytest.raises(ValueError, match="a finding without a fix"):
        Finding(level=level, what="something")
