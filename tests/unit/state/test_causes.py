"""The registry of gap causes, and its page."""

from __future__ import annotations

import re
from pathlib import Path

from cdc.state.causes import GapCause

PAGE = Path(__file__).parents[3] / "docs" / "slot.md"


def test_each_cause_has_its_section_and_the_page_no_others() -> None:
    sections = re.findall(r"^### `(\w+)`\n\n(.*?)(?=\n#)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == [cause.name for cause in GapCause]
    for name, text in sections:
        cause = GapCause[name]
        assert ("Waits for a\nperson" in text or "Waits for a person" in text) is not cause.is_automatic, name


def test_each_cause_says_what_happened_and_what_helps() -> None:
    for cause in GapCause:
        assert cause.meaning.endswith("."), cause
        assert cause.hint.endswith("."), cause
    assert len({cause.meaning for cause in GapCause}) == len(GapCause)
