"""docs/reliability.md says what the fault tests do: every case has one, or a reason why it has none."""

from __future__ import annotations

import pytest

from tests.support.faults import PAGE, Fault, current_page, missing_tests, read_faults

_FAULTS = read_faults()


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == current_page(), "run `make docs` and commit what it writes"


def test_no_case_is_forgotten_or_listed_twice() -> None:
    assert [fault.number for fault in _FAULTS] == list(range(1, len(_FAULTS) + 1))
    assert len(_FAULTS) >= 47


@pytest.mark.parametrize("fault", _FAULTS, ids=lambda fault: str(fault.number))
def test_every_test_that_is_named_is_there(fault: Fault) -> None:
    assert missing_tests(fault) == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    made_up = Fault(
        number=1, case="", how="", result="", tests=("tests/chaos/test_kills.py::test_nothing", "a.py::test_b")
    )
    assert missing_tests(made_up) == list(made_up.tests)


@pytest.mark.parametrize("more", [{"tests": ()}, {"tests": ("a::test_b",), "left_out": "no time"}])
def test_a_case_has_tests_or_a_reason_and_not_both(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="tests, or a reason"):
        Fault.model_validate({"number": 1, "case": "", "how": "", "result": "", **more})
