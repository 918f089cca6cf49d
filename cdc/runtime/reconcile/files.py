"""Writes a comparison's reports into a dated folder that only its owner may read."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cdc.errors import ConfigError
from cdc.repair.reconcile.markdown import as_markdown
from cdc.repair.reconcile.page import as_html
from cdc.repair.reconcile.report import Report, as_json
from cdc.repair.reconcile.table import as_csv
from cdc.runtime.masking import mask

PLAN: Final = "plan.json"
KEPT: Final = timedelta(days=90)
_FOLDER: Final = "%Y-%m-%dT%H-%M-%SZ"
_FILES: Final = ("report.md", "report.html", "differences.csv", "summary.json", PLAN)


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
    folder = parent / report.run.started_at.strftime(_FOLDER)
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


def remove_old(parent: Path, now: datetime) -> None:
    """Remove dated folders that are past their time; what else lies there is left alone."""
    for folder in parent.iterdir() if parent.is_dir() else ():
        try:
            made = datetime.strptime(folder.name, _FOLDER).replace(tzinfo=UTC)
        except ValueError:
            continue
        if now - made > KEPT and folder.is_dir() and not folder.is_symlink():
            for name in _FILES:
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # somebody has put a file of their own there
                folder.rmdir()
