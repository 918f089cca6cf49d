"""Which way many records are sent: by ordinary calls, or in bulk jobs. Pure.

A job has one price whatever its size, so it pays from some number of records on. For Zoho that is 5,001: a job costs
500 credits, an upsert one for each ten records (https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What sending costs.

    Attributes:
        records_credits: price of so many records by ordinary calls; never less for more.
        job_credits: price of one bulk job; None if the sink has none.
        job_rows: most records in a job.
    """

    records_credits: Callable[[int], int]
    job_credits: int | None = None
    job_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How records are divided.

    Attributes:
        jobs: records in each bulk job.
        singly: records that go by ordinary calls.
        credits: price of all of it.
        credits_singly: what ordinary calls alone would cost.
    """

    jobs: tuple[int, ...]
    singly: int
    credits: int
    credits_singly: int


def pays_from(tariff: Tariff) -> int | None:
    """Say from how many records on a job is cheaper; None if it never is."""
    if tariff.job_credits is None or tariff.records_credits(tariff.job_rows) <= tariff.job_credits:
        return None
    low, high = 1, tariff.job_rows  # the answer lies between them, since the price only grows
    while low < high:
        middle = (low + high) // 2
        if tariff.records_credits(middle) > tariff.job_credits:
            high = middle
        else:
            low = middle + 1
    return low


def split(records: int, tariff: Tariff, *, job_from: int | None) -> Split:
    """Divide records: full jobs first, then one more job or ordinary calls, whichever is cheaper.

    Args:
        records: how many there are.
        tariff: what sending costs.
        job_from: records from which a job is made; as `pays_from` says, unless somebody wants it otherwise. None for no
            jobs at all.
    """
    alone = tariff.records_credits(records)
    if job_from is None or tariff.job_credits is None:
        return Split(jobs=(), singly=records, credits=alone, credits_singly=alone)
    full, rest = divmod(records, tariff.job_rows) if tariff.job_rows >= job_from else (0, records)
    jobs = [tariff.job_rows] * full
    if job_from <= rest <= tariff.job_rows:
        jobs.append(rest)
        rest = 0
    credits = len(jobs) * tariff.job_credits + tariff.records_credits(rest)
    return Split(jobs=tuple(jobs), singly=rest, credits=credits, credits_singly=alone)
