"""Whatever the prices: never the dearer way, nobody left out, no job too large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc.delivery.pricing import Tariff, pays_from, split


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    size, price = draw(st.integers(1, 50)), draw(st.integers(0, 5))
    return Tariff(
        records_credits=lambda records: -(-records // size) * price,
        job_credits=draw(st.integers(0, 600)),
        job_rows=draw(st.integers(1, 400)),
    )


@given(tariffs(), st.integers(0, 2_000))
def test_no_other_division_into_jobs_is_cheaper(tariff: Tariff, records: int) -> None:
    found = split(records, tariff, job_from=pays_from(tariff))
    assert sum(found.jobs) + found.singly == records
    assert all(0 < rows <= tariff.job_rows for rows in found.jobs)
    price = tariff.job_credits or 0
    others = [
        jobs * price + tariff.records_credits(max(0, records - jobs * tariff.job_rows))
        for jobs in range(records // tariff.job_rows + 2)
    ]
    assert found.credits == len(found.jobs) * price + tariff.records_credits(found.singly)
    assert found.credits <= found.credits_singly
    # Rounding of the calls between two jobs may cost one call; more than that would be the dearer way.
    assert found.credits <= min(others) + tariff.records_credits(1)


@given(tariffs())
def test_a_job_pays_from_exactly_there(tariff: Tariff) -> None:
    price, found = tariff.job_credits or 0, pays_from(tariff)
    paying = [n for n in range(1, tariff.job_rows + 1) if tariff.records_credits(n) > price]
    assert found == (paying[0] if paying else None)


@given(tariffs(), st.integers(0, 2_000), st.integers(1, 500))
def test_a_wish_for_smaller_jobs_still_sends_everything_once(tariff: Tariff, records: int, job_from: int) -> None:
    found = split(records, tariff, job_from=job_from)
    assert sum(found.jobs) + found.singly == records
    assert all(job_from <= rows <= tariff.job_rows for rows in found.jobs)
