"""The pipeline beside a busy application, undisturbed: what the other tests take for granted."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.workload import Workload

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_a_busy_application_is_followed_to_the_letter(make_site: MakeSite, transport: str, seed: int) -> None:
    site = await make_site(transport)
    workload = Workload(site.database, seed)
    running = await site.start("run")
    await running.until_said("capture_started")

    await workload.run(150)
    await running.until_said("delivery_started")
    await running.stop()
    report = await site.settle()

    assert report["parked"] == 0
    await verify(site, workload.chronicle)
