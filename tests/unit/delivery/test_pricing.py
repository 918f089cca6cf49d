"""Where a bulk job pays, with Zoho's prices."""

from __future__ import annotations

import pytest

from cdc.delivery.pricing import Split, Tariff, pays_from, split


def upserts(records: int) -> int:
    return records // 100 * 10 + -(-(records % 100) // 10)


ZOHO = Tariff(records_credits=upserts, job_credits=500, job_rows=25_000)


def test_a_job_pays_from_five_thousand_and_one() -> None:
    assert pays_from(ZOHO) == 5_001


@pytest.mark.parametrize(
    "tariff",
    [
        Tariff(records_credits=upserts),
        Tariff(records_credits=upserts, job_credits=500, job_rows=5_000),
        Tariff(records_credits=lambda _: 0, job_credits=500, job_rows=25_000),
    ],
    ids=["no jobs", "too few rows", "free calls"],
)
def test_a_job_that_never_pays(tariff: Tariff) -> None:
    assert pays_from(tariff) is None


@pytest.mark.parametrize(
    ("records", "jobs", "singly", "credits"),
    [
        (0, (), 0, 0),
        (5_000, (), 5_000, 500),
        (5_001, (5_001,), 0, 500),
        (25_000, (25_000,), 0, 500),
        (30_000, (25_000,), 5_000, 1_000),
        (30_001, (25_000, 5_001), 0, 1_000),
        (100_000, (25_000,) * 4, 0, 2_000),
        (101_000, (25_000,) * 4, 1_000, 2_100),
    ],
)
def test_full_jobs_and_then_what_is_cheaper_for_the_rest(
    records: int, jobs: tuple[int, ...], singly: int, credits: int
) -> None:
    found = split(records, ZOHO, job_from=5_001)
    assert found == Split(jobs=jobs, singly=singly, credits=credits, credits_singly=upserts(records))


def test_without_jobs_everything_goes_by_ordinary_calls() -> None:
    assert split(100_000, ZOHO, job_from=None).credits == 10_000
