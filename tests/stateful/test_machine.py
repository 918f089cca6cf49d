"""Whatever happens, in whatever order: nothing lost, nothing doubled, nothing older."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.ground import Ground
from tests.stateful.machine import PipelineMachine


def run_machine(ground: Ground, *, examples: int, steps: int, shrink: bool = True) -> None:
    """Run examples of the machine.

    Raises:
        AssertionError: what the shortest example found that fails; without `shrink`, the first one.
    """
    PipelineMachine.ground = ground
    phases = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(PipelineMachine, settings=chosen)


@pytest.mark.timeout(600)
def test_the_pipeline_keeps_its_promises(ground: Ground) -> None:
    run_machine(ground, examples=25, steps=40)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_the_pipeline_keeps_its_promises_for_long(ground: Ground) -> None:
    """As many examples as CDC_TEST_EXAMPLES says."""
    run_machine(ground, examples=int(os.environ.get("CDC_TEST_EXAMPLES", "2000")), steps=60)
