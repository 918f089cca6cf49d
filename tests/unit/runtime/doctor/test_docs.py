"""The pages about the doctor, trouble and security name only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdc.runtime.doctor.table import CHECKS
from cdc.settings import Settings
from sinks.reasons import Reason
from tests.support.reference import command_help, commands

ROOT = Path(__file__).parents[4]
PAGES = ("doctor.md", "troubleshooting.md", "security.md")
IDS = {check.id for check in CHECKS}


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def command_lines(page: str) -> set[str]:
    """Commands in code spans and in blocks; what stands behind a comment sign is left out."""
    spans = re.findall(r"`(cdc [^`]+)`", text(page))
    blocks = [line for line in text(page).splitlines() if line.removeprefix("$ ").startswith("cdc ")]
    return {line.removeprefix("$ ").partition("  #")[0].strip() for line in (*spans, *blocks)}


@pytest.mark.parametrize("page", PAGES)
def test_commands_options_and_checks_exist(page: str) -> None:
    known = {path for path, _ in commands()}
    for line in command_lines(page):
        words = line.split()[1:]
        path = next(tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in known)
        for option in (word for word in words if word.startswith("-")):
            helps = [command_help(one) for one in (path, (*path, "start")) if one in known]  # a group's own command
            assert any(option.split("=")[0] in told for told in helps), line
        if path == ("doctor",):
            assert {word for word in words[1:] if not word.startswith("-") and word != "CHECK…"} <= IDS, line


@pytest.mark.parametrize("page", PAGES)
def test_checks_settings_reasons_and_files_exist(page: str) -> None:
    for name in re.findall(r"`((?:runtime|source|state|crm)\.[a-z-]+)`", text(page)):
        assert name in IDS
    for name in re.findall(r"`((?:CDC|ZOHO|SUPABASE)_[A-Z_]+)(?:=[^`]*)?`", text(page)):
        assert name.lower() in Settings.model_fields, name
    for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", text(page)):
        assert name in Reason.__members__ or name.lower() in Settings.model_fields, name
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
        assert (ROOT / "docs" / target).exists(), target


def test_each_test_that_the_security_page_points_at_is_there() -> None:
    page = text("security.md")
    files = re.findall(r"`((?:unit|integration|acceptance)/[a-z_/]+\.py)`", page)
    assert len(files) > 15
    code = {file: (ROOT / "tests" / file).read_text(encoding="utf-8") for file in set(files)}
    for name in re.findall(r"`(test_[a-z_]+)`", page):
        assert any(f"def {name}(" in one for one in code.values()), name
