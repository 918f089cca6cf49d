from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.policy import POLICIES, Response, is_used_up, pause_seconds, wait_seconds
from sinks.reasons import Fault, Reason


def test_every_reason_has_a_policy() -> None:
    assert set(POLICIES) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason), ids=lambda r: r.name)
def test_a_policy_gives_the_numbers_that_its_response_needs(reason: Reason) -> None:
    policy = POLICIES[reason]
    if policy.response is Response.PARK:
        assert policy.longest == 0
    else:
        assert 0 < policy.first <= policy.longest
    assert (policy.attempts > 0) == (policy.response is Response.RETRY)


@pytest.mark.parametrize("reason", [r for r in Reason if r.fault in {Fault.AUTH, Fault.QUOTA}], ids=lambda r: r.name)
def test_what_no_record_can_help_never_costs_a_record_an_attempt(reason: Reason) -> None:
    assert POLICIES[reason].response is Response.PAUSE


@given(st.sampled_from([r for r in Reason if POLICIES[r].longest]), st.integers(0, 10_000), st.floats(0, 1))
def test_pauses_stay_within_half_and_all_of_the_longest(reason: Reason, failures: int, jitter: float) -> None:
    policy = POLICIES[reason]
    assert policy.first / 2 <= pause_seconds(policy, failures, jitter) <= policy.longest


@given(st.integers(0, 30), st.floats(0, 1))
def test_pauses_never_shrink_with_further_failures(failures: int, jitter: float) -> None:
    policy = POLICIES[Reason.UNAVAILABLE]
    assert pause_seconds(policy, failures, jitter) <= pause_seconds(policy, failures + 1, jitter)


def test_what_the_service_asks_for_is_not_undercut() -> None:
    assert pause_seconds(POLICIES[Reason.CONCURRENCY_LIMIT], 0, 0.0, retry_after=42) == 42


def test_an_absurd_request_of_the_service_is_capped() -> None:
    policy = POLICIES[Reason.CONCURRENCY_LIMIT]
    assert pause_seconds(policy, 0, 0.0, retry_after=1e9) == policy.longest + 3600


def test_retries_end() -> None:
    policy = POLICIES[Reason.RECORD_LOCKED]
    assert not is_used_up(policy, policy.attempts - 1)
    assert is_used_up(policy, policy.attempts)
    assert not is_used_up(POLICIES[Reason.UNAVAILABLE], 10**6)


@pytest.mark.parametrize(("waited", "expected"), [(0, 1), (4, 1), (40, 10), (10**6, 300)])
def test_waiting_for_another_record_takes_a_quarter_of_the_wait_so_far(waited: float, expected: float) -> None:
    assert wait_seconds(POLICIES[Reason.PARENT_NOT_DELIVERED], waited) == expected
