"""`cdc reconcile` as an operator meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.processes import Cdc, Crm, wait_until
from tests.support.postgres import Database


def edit(crm: Crm, crm_id: str, **fields: Any) -> None:
    """Change a contact as somebody at the CRM does."""
    names = {
        "client_id": "ZOHO_CLIENT_ID",
        "client_secret": "ZOHO_CLIENT_SECRET",
        "refresh_token": "ZOHO_REFRESH_TOKEN",
    }
    form = {name: crm.environment[variable] for name, variable in names.items()} | {"grant_type": "refresh_token"}
    token = httpx.post(f"{crm.url}/oauth/v2/token", data=form, timeout=10).raise_for_status().json()["access_token"]
    httpx.put(
        f"{crm.url}/crm/v8/Contacts",
        json={"data": [{"id": crm_id, **fields}]},
        headers={"Authorization": f"Zoho-oauthtoken {token}"},
        timeout=10,
    ).raise_for_status()


def test_a_difference_is_found_planned_put_right_and_gone(
    configured: Cdc, source: Database, crm: Crm, tmp_path: Path
) -> None:
    out = tmp_path / "reports"
    with configured.running("run") as pipeline:
        pipeline.says("delivery_started")
        wait_until(
            lambda: crm.records("Contacts") and source.execute("select count(*) from cdc.outbox") == [(0,)],
            within=60, what="everybody is delivered",
        )  # fmt: skip
        clean = configured("reconcile")
        assert clean.code == 0, clean.text
        assert "– OK, 0 of" in clean.out
        assert "badges_earned: its module can't be asked by COQL" in clean.out

        [(crm_id, name)] = source.execute(
            'select g.crm_id, c."First_Name" from cdc.ledger g join cdc.contacts c on g.record_id = c.user_id::text'
            " where g.feed = 'contacts' and c.\"First_Name\" > '' order by 1 limit 1"
        )
        edit(crm, crm_id, First_Name="Somebody Else")
        found = configured("reconcile", "--out", str(out))
        assert found.code == 3, found.text
        assert "edited in CRM 1 (+1)" in found.out
        assert "Fields: First_Name 1" in found.out
        assert "--apply plan.json" in found.out
        [folder] = out.iterdir()
        names = {path.name for path in folder.iterdir()}
        assert names == {"report.md", "report.html", "differences.csv", "plan.json", "summary.json"}
        everything = "".join(path.read_text() for path in folder.iterdir()) + found.text
        assert name not in everything
        assert "Somebody Else" not in everything

        applied = configured("reconcile", "--apply", str(folder / "plan.json"), "--json")
        assert (applied.code, applied.json["marked"], applied.json["remaining"]) == (0, 1, []), applied.text
        [held] = [record for record in crm.records("Contacts") if record["id"] == crm_id]
        assert held["First_Name"] == name

        edit(crm, crm_id, First_Name="Somebody Else")
        fixed = configured("reconcile", "--fix", "--json")
        assert (fixed.code, fixed.json["verdict"], fixed.json["fixed"]) == (0, "fixed", 1), fixed.text
        again = configured("reconcile", "--apply", str(folder / "plan.json"))
        assert again.code == 0, again.text
        assert "0 of 1 records sent anew, 1 left alone" in again.out
        noted = source.execute("select action, count from cdc.audit order by id")
        assert noted == [("reconcile.apply", 1), ("reconcile.fix", 1)]
        assert pipeline.stop().code == 0
