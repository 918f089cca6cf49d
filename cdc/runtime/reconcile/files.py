"""Writes a comparison's reports into a dated folder that only its owner may read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from cdc.errors import ConfigError
from cdc.repair.reconcile.markdown import as_markdown
from cdc.repair.reconcile.page import as_html
from cdc.repair.reconcile.report import Report, as_json
from cdc.repair.reconcile.table import as_csv
from cdc.runtime.masking import mask

PLAN: Final = "plan.json"


def write_reports(parent: Path, report: Report, plan: str | None, *, reveal: bool) -> Path:
    """Write all of them; gives the folder.

    Args:
        parent: where dated folders go.
        report: what was found.
        plan: text of the plan file, if there is a plan.
        reveal: let differences.csv hold people's values.

    Raises:
        ConfigError: if the folder can't be written to.
    """
    files = {
        "report.md": as_markdown(report),
        "report.html": as_html(report),
        "differences.csv": as_csv(report, _plain if reveal else mask),
        "summary.json": json.dumps(as_json(report), indent=2) + "\n",
    }
    if plan is not None:
        files[PLAN] = plan
    folder = parent / f"{report.run.started_at:%Y-%m-%dT%H-%M-%SZ}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{folder} can't be written to: {error.strerror}", fix="name another folder") from None
    return folder


def _plain(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
