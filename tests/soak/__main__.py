"""`python -m tests.soak --minutes 30 --seed 1 [--every 4] [--out soak.json] [--logs DIR]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.soak.run import Soak


def main() -> int:
    """Run, write the summary, print it. 1 if anything was lost or doubled, or did not come to rest."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two faults")
    parser.add_argument("--out", type=Path, default=None, help="where the summary goes, as JSON")
    parser.add_argument("--logs", type=Path, default=None, help="where the processes' logs go; a temporary folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        logs = chosen.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        print(f"soak of {chosen.minutes:g} minutes, seed {chosen.seed}", flush=True)
        summary = asyncio.run(Soak(chosen.minutes, chosen.seed, logs, chosen.every).run())
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(summary, indent=2) + "\n")
    show(summary)
    return 0 if summary["problem"] is None else 1


def show(summary: dict[str, Any]) -> None:
    """Print a summary as two tables."""
    console = Console()
    facts = Table("what", "figure", title="soak")
    for name, figure in summary.items():
        if name not in ("processes", "others"):
            facts.add_row(name.replace("_", " "), str(figure))
    console.print(facts)
    table = Table("process", "lives", "longest, min", "RSS, MB", "MB/h", "handles", "handles/h", "unasked ends")
    rows = {
        **summary["processes"],
        **{role: {"lives": 1, "longest": life, "unexpected_ends": []} for role, life in summary["others"].items()},
    }
    for role, said in rows.items():
        life = said["longest"]
        figures = [said["lives"], *(life[name] for name in _COLUMNS), said["unexpected_ends"]]
        table.add_row(role, *map(str, figures))
    console.print(table)


_COLUMNS = ("minutes", "rss_mb", "rss_mb_per_hour", "handles", "handles_per_hour")

if __name__ == "__main__":
    sys.exit(main())
