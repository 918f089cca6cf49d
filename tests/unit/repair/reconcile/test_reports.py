"""What the reports say, and what they never let through."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.repair.reconcile.differences import Kind
from cdc.repair.reconcile.markdown import as_markdown
from cdc.repair.reconcile.page import as_html
from cdc.repair.reconcile.plan import Left, Plan, plan_of, read_plan, sealed
from cdc.repair.reconcile.report import as_json, change, commands, counts_line, verdict
from cdc.repair.reconcile.table import as_csv
from cdc.runtime.masking import mask
from cdc.runtime.reconcile.files import write_reports
from tests.unit.repair.reconcile.cases import EDITED, KEY, NOW, ORPHAN, RUN, report


def test_the_verdict_is_one_sentence() -> None:
    assert verdict(report(EDITED, ORPHAN)) == (
        "Reconcile 2026-11-22 03:00 UTC – differs, 2 of 1,000 records differed (0.20%). "
        "7 credits (5 scan, 2 counts), 41 s."
    )
    fixed = report(EDITED, run=replace(RUN, kind="fix", verdict="fixed", differing=1, fixed=1))
    assert "OK, 1 of 1,000 records differed (0.10%), 1 sent anew, 0 of them differ still." in verdict(fixed)


def test_counts_are_told_beside_the_last_run() -> None:
    assert counts_line(report(EDITED)) == "missing 0 (−4) · edited in CRM 1 (+1)"
    assert [change(3, None), change(3, 3), change(4, 3)] == ["", "(0)", "(+1)"]


def test_a_person_is_told_what_to_do() -> None:
    flapping = replace(EDITED, why="flapping: three nights running")
    fix = plan_of([EDITED], made_at=NOW, slot="s", mapping="m", credits=1).fixes[0]
    said = "\n".join(commands(report(ORPHAN, flapping, planned=3, remaining=[Left(fix, "parked: HELD_BY_BREAKER")])))
    for words in ("--apply plan.json", "orphan (1): look at it", "flapping: find", "cdc held list"):
        assert words in said


def test_a_table_is_masked_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report(EDITED, ORPHAN), mask))))
    assert [row["class"] for row in rows] == ["edited_in_crm", "orphan"]
    assert (rows[0]["source_value"], rows[0]["crm_value"], rows[0]["ledger_value"]) == (
        "3 characters", "18 characters", "equal to source",
    )  # fmt: skip
    revealed = list(csv.DictReader(io.StringIO(as_csv(report(EDITED), str))))
    assert revealed[0]["crm_value"] == "'=cmd|' /C calc'!A0"
    for start in "=+-@\t\r":
        evil = replace(ORPHAN, record_id=f"{start}1+1")
        [row] = list(csv.DictReader(io.StringIO(as_csv(report(evil), str), newline="")))
        assert row["external_id"].startswith("'")


def test_a_page_needs_nothing_else_and_escapes_what_people_typed() -> None:
    page = as_html(report(EDITED, ORPHAN))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import", page), "nothing is fetched"
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "<svg" in page
    assert "Ada" not in page


def test_markdown_keeps_its_tables_whatever_an_id_holds() -> None:
    text = as_markdown(report(EDITED, ORPHAN))
    assert r"\<script\>\|\*x\*" in text
    rows = [line for line in text.splitlines() if line.startswith("| people | orphan")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 7


def test_a_summary_holds_numbers_and_no_record() -> None:
    text = json.dumps(as_json(report(EDITED, ORPHAN)))
    assert json.loads(text)["counts"]["orphan"] == 1
    assert "script" not in text
    assert "Ada" not in text


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = write_reports(tmp_path / "new", report(EDITED), "{}\n", reveal=False)
    assert folder.name == "2026-11-22T03-00-00Z"
    assert folder.stat().st_mode & 0o777 == 0o700
    names = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert names == dict.fromkeys(("report.md", "report.html", "differences.csv", "summary.json", "plan.json"), 0o600)
    assert not any("Ada" in path.read_text() for path in folder.iterdir())
    revealed = write_reports(tmp_path / "other", report(EDITED), None, reveal=True)
    assert "Ada" in (revealed / "differences.csv").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written to"):
        write_reports(tmp_path / "file", report(EDITED), None, reveal=False)


def test_a_plan_holds_what_may_be_put_right_and_reads_back(tmp_path: Path) -> None:
    left_alone = replace(EDITED, record_id="b", key="b", why="parked: X")
    plan = plan_of([EDITED, ORPHAN, left_alone], made_at=NOW, slot="s", mapping="m", credits=1)
    assert [(fix.record_id, fix.kind, fix.fields) for fix in plan.fixes] == [("a", Kind.EDITED, ("Name",))]
    path = tmp_path / "plan.json"
    path.write_text(sealed(plan, KEY))
    assert read_plan(path, KEY, now=NOW, slot="s", mapping="m") == plan
    with pytest.raises(ConfigError, match="another CDC_ENCRYPTION_KEY"):
        read_plan(path, b"x" * 32, now=NOW, slot="s", mapping="m")
    with pytest.raises(ConfigError, match="for the pipeline 's'"):
        read_plan(path, KEY, now=NOW, slot="t", mapping="m")
    with pytest.raises(ConfigError, match="can't be read"):
        read_plan(tmp_path / "none", KEY, now=NOW, slot="s", mapping="m")


def test_a_plan_that_would_merge_or_delete_is_none(tmp_path: Path) -> None:
    body = plan_of([EDITED], made_at=NOW, slot="s", mapping="m", credits=1).model_dump(mode="json")
    body["fixes"][0]["kind"] = "orphan"
    path = tmp_path / "plan.json"
    path.write_text(sealed(Plan.model_validate(body), KEY))
    with pytest.raises(ConfigError, match="never put right by itself"):
        read_plan(path, KEY, now=NOW, slot="s", mapping="m")
