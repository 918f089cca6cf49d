"""The machine must notice what it is there for: each guarantee is taken away once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stateful.ground import Ground
from tests.stateful.mutants import MUTANTS
from tests.stateful.test_machine import run_machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
_EXAMPLES = 1000


@pytest.mark.parametrize("name", MUTANTS)
def test_it_is_found(ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MUTANTS[name](monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)) as caught:
        run_machine(ground, examples=_EXAMPLES, steps=40, shrink=False)
    assert all(isinstance(error, AssertionError) for error in _single(caught.value)), "the mutant itself doesn't work"


def _single(error: BaseException) -> Iterator[BaseException]:
    """Give an error, or those of a group one by one: Hypothesis wraps what doesn't fail alike twice."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _single(one)
    else:
        yield error
