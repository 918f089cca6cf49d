"""What a backfill says of itself on its way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cdc.cli.progress import Eta, job_line
from cdc.cli.wording import duration
from cdc.state.backlog import JobSummary
from cdc.state.bulk import JobStep

BEGUN = datetime(2026, 1, 2, tzinfo=UTC)
NOW = BEGUN + timedelta(minutes=5)
JOB = JobSummary(
    id=3, feed="contacts", state=JobStep.RUNNING, records=25_000, crm_job_id="42", starts=1, created=None,
    updated=None, refused=None, reason=None, detail="", held_by="w", begun_at=BEGUN, started_at=BEGUN, ended_at=None,
)  # fmt: skip


def test_a_job_under_way_is_told_with_its_age_and_its_id_in_the_crm() -> None:
    assert job_line(JOB, NOW) == "job 3  contacts  running, 25000 records, 5 min, id 42"


def test_a_job_that_ended_is_told_with_what_came_of_it() -> None:
    done = replace(JOB, state=JobStep.DONE, created=24_990, updated=3, refused=7, starts=2, ended_at=NOW)
    assert job_line(done, NOW + timedelta(days=1)) == (
        "job 3  contacts  done, 25000 records, 5 min, 24990 created, 3 updated, 7 refused, id 42, started 2 times"
    )


def test_a_failed_job_says_why() -> None:
    failed = replace(JOB, state=JobStep.FAILED, reason="SCOPE_MISSING", detail="HTTP 401", ended_at=NOW)
    assert job_line(failed, NOW).endswith("SCOPE_MISSING HTTP 401")


def test_the_rest_takes_as_long_as_what_is_done_did() -> None:
    times = iter([100.0, 100.0, 110.0])
    eta = Eta(lambda: next(times))
    assert eta.seconds(0, 90) is None
    assert eta.seconds(30, 60) == 20.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
