"""A new version with another mapping takes over from one that was killed in the middle of its work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cdc.resources import sql_dir
from tests.chaos.conftest import MakeSite
from tests.support.oracle import verify
from tests.support.waiting import until
from tests.support.workload import Workload

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@pytest.mark.long
async def test_a_changed_view_takes_over_from_a_pipeline_in_the_middle_of_its_work(
    make_site: MakeSite, tmp_path: Path, seed: int
) -> None:
    """What was in flight is sent anew by the new view, once; nothing of the old mapping is left."""
    site = await make_site()
    workload = Workload(site.database, seed)
    await site.crm.break_with({"action": "apply_then_hang", "kind": ["upsert", "insert"], "skip": 3})
    running = await site.start("run")
    await running.until_said("delivery_started")
    await workload.run(60)
    in_doubt = "select count(*) from cdc.ledger where state = 'sending'"
    await until(lambda: site.database.execute(in_doubt) > [(0,)], 40, what="something on its way")
    await running.kill()
    await site.crm.mend()
    site.let_pauses_end()

    folder = tmp_path / "core"
    shutil.copytree(sql_dir() / "profiles" / "core", folder)
    views = (folder / "views.sql").read_text()
    changed = re.sub(r'(coalesce\(.*\)) +as "Last_Name"', r'upper(\1) as "Last_Name"', views, count=1)
    assert changed != views
    (folder / "views.sql").write_text(changed)
    site.settings["CDC_PROFILE"] = str(folder)
    await site.command("setup")
    await site.command("sweep")
    await site.settle()

    names = [contact["Last_Name"] for contact in await site.crm.records("Contacts")]
    assert names == [name.upper() for name in names]
    await verify(site, workload.chronicle)
