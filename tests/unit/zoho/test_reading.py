"""Whether the CRM holds our value, in the forms in which it gives it."""

from __future__ import annotations

import pytest

from sinks.base import FieldValue
from sinks.zoho.notes import NotesSink, reference
from sinks.zoho.reading import forms_of, same_value


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Ada", "Ada"),
        (7, 7),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ("", None),
        (False, None),
        (None, False),
        ("2026-11-26T09:30:00+00:00", "2026-11-26T10:30:00+01:00"),
        ("2026-11-26T09:30:00.987654+00:00", "2026-11-26T09:30:00Z"),
        ("2026-11-26", "2026-11-26"),
        (" Ada ", "Ada"),
        ("Zoe\u0301", "Zo\u00e9"),
        ("ada@example.org", "Ada@Example.org"),
        (7, 7.0),
        (0, 0),
    ],
)
def test_the_same(ours: FieldValue, theirs: object) -> None:
    assert same_value(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Ada", "ada"),
        ("Ada", None),
        (None, "Ada"),
        (7, 8),
        (7, None),
        (True, None),
        (False, True),
        ("7", 7),
        (0, None),
        (True, 1),
        ("2026-11-26T09:30:00+00:00", "2026-11-26T09:30:00+01:00"),
        ("2026-11-26", "2026-11-27"),
        ("Ada", {"id": "1", "name": "Ada"}),
    ],
)
def test_another(ours: FieldValue, theirs: object) -> None:
    assert not same_value(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Ada", "Ada"),
        (None, None),
        ("", None),
        (False, False),
        (7, 7),
        (7, 7.0),
        (True, True),
        ("2026-11-26T09:30:00+00:00", "2026-11-26T10:30:00+01:00"),
        ("2026-11-26", "2026-11-26"),
    ],
)
def test_what_of_ours_looks_like_this(ours: FieldValue, theirs: object) -> None:
    assert any(form == ours and type(form) is type(ours) for form in forms_of(theirs))


def test_nothing_of_ours_looks_like_a_link() -> None:
    assert forms_of({"id": "1", "name": "Ada"}) == ()


def test_the_reference_in_a_note_is_ours() -> None:
    sink = NotesSink(None)  # type: ignore[arg-type]  # nothing is called
    assert sink.same("Note_Content", "Well done", f"Well done\n\n{reference('event')}")
    assert not sink.same("Note_Content", "Well done", f"Done\n\n{reference('event')}")
    assert sink.same("Note_Title", "Badge", "Badge")
