"""Completions and badges: identity, wording, and what is kept back."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.profiles.application import Application
from tests.integration.profiles.test_contact_fields import new_badge

core = pytest.mark.parametrize("app", ["core"], indirect=True)
era_2026 = pytest.mark.parametrize("app", ["2026"], indirect=True)


def only(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(events) == 1
    return events[0]


def test_a_completion(app: Application) -> None:
    user = app.person()
    enrolment = app.enrol(user, app.quest("Map your watershed"))
    app.complete_task(enrolment, xp=100)
    app.complete_task(enrolment, xp=150)
    other = app.enrol(user)
    app.complete_task(other, xp=999)  # another quest's
    assert app.completions(enrolment) == []
    app.update("user_quests", enrolment, completed_at="2026-01-09 20:00:00.000001-07")
    assert only(app.completions(enrolment)) == {
        "enrolment_id": str(enrolment),
        "event_id": f"{enrolment}:1768014000000001",
        "user_id": str(user),
        "Subject": "Completed: Map your watershed",
        "Status": "Completed",
        "Due_Date": "2026-01-10",
        "Description": "XP earned: 250",
        "Event_Type": "Quest Completion",
        "XP_Earned": 250,
    }


def test_completing_again_is_another_event_and_reopening_is_none(app: Application) -> None:
    enrolment = app.enrol(app.person(), completed_at="2026-01-02")
    first = only(app.completions(enrolment))["event_id"]
    app.update("user_quests", enrolment, last_picked_up_at="2026-01-03")
    assert only(app.completions(enrolment))["event_id"] == first
    app.update("user_quests", enrolment, completed_at=None, is_active=True)
    assert app.completions(enrolment) == []
    app.update("user_quests", enrolment, completed_at="2026-01-04")
    assert only(app.completions(enrolment))["event_id"] != first


def test_xp_is_found_by_either_reference_and_counted_once(app: Application) -> None:
    enrolment = app.enrol(app.person(), completed_at="2026-01-02")
    completion = app.complete_task(enrolment, xp=60)
    assert only(app.completions(enrolment))["XP_Earned"] == 60
    app.update("quest_task_completions", completion, user_quest_task_id=None)
    assert only(app.completions(enrolment))["XP_Earned"] == 60


def test_a_quest_without_tasks_earns_nothing(app: Application) -> None:
    event = only(app.completions(app.enrol(app.person(), completed_at="2026-01-02")))
    assert (event["XP_Earned"], event["Description"]) == (0, "XP earned: 0")


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("Bren &amp; Dor", "Completed: Bren & Dor"),
        ("two\nlines", "Completed: two lines"),
        ("t" * 400, "Completed: " + "t" * 240),
        ("   ", "Completed a quest"),
    ],
)
def test_subject_is_one_line_that_fits(app: Application, title: str, subject: str) -> None:
    event = only(app.completions(app.enrol(app.person(), app.quest(title), completed_at="2026-01-02")))
    assert event["Subject"] == subject
    assert len(event["Subject"]) <= 255


def test_a_title_that_a_student_wrote_stays_here(app: Application) -> None:
    def subject(author: uuid.UUID | None) -> str:
        quest = app.quest("My diary", created_by=author)
        value: str = only(app.completions(app.enrol(app.person(), quest, completed_at="2026-01-02")))["Subject"]
        return value

    assert subject(app.person()) == "Completed a quest"
    assert subject(uuid.uuid4()) == "Completed a quest"  # somebody who is no longer there
    assert subject(app.person(role="advisor", age=None)) == "Completed: My diary"
    assert subject(None) == "Completed: My diary"


@era_2026
def test_a_pupils_title_stays_in_the_school(app: Application) -> None:
    pupil = app.person(org_role="student")
    event = only(app.completions(app.enrol(pupil, app.quest("Course work"), completed_at="2026-01-02")))
    assert event["Subject"] == "Completed a quest"
    assert "Course work" not in str(event)


@era_2026
def test_a_credited_class_is_no_event(app: Application) -> None:
    quest = app.quest(quest_type="class", class_review_status="credit_awarded")
    assert app.completions(app.enrol(app.person(), quest)) == []


def test_only_people_in_the_gate_have_events(app: Application) -> None:
    for outside in (app.person(age="9 years"), app.person(age=None), app.person(deletion_status="pending")):
        assert app.completions(app.enrol(outside, completed_at="2026-01-02")) == []


@core
def test_a_badge_is_an_event_once_it_is_awarded(app: Application) -> None:
    user, badge = app.person(), new_badge(app)
    award = app.insert("user_badges", user_id=user, badge_id=badge, badge_type="custom", progress_percentage=60)
    assert app.rows("badges_earned", "award_id", award) == []
    app.update("user_badges", award, completed_at="2026-01-09 20:00-07", progress_percentage=100)
    assert only(app.rows("badges_earned", "award_id", award)) == {
        "award_id": str(award),
        "event_id": f"{award}:1768014000000000",
        "user_id": str(user),
        "Note_Title": "Badge earned: Night Owl",
        "Note_Content": "Earned on 2026-01-10.",
    }


@core
def test_a_badge_of_nobody_or_of_a_child_is_no_event(app: Application) -> None:
    badge = new_badge(app)
    for user in (None, app.person(age="9 years")):
        award = app.insert("user_badges", user_id=user, badge_id=badge, badge_type="custom", completed_at="2026-01-02")
        assert app.rows("badges_earned", "award_id", award) == []


@core
def test_a_long_badge_name_fits_a_notes_title(app: Application) -> None:
    badge = new_badge(app)
    app.update("badges", badge, name="n" * 255)
    award = app.insert(
        "user_badges", user_id=app.person(), badge_id=badge, badge_type="custom", completed_at="2026-01-02"
    )
    title = only(app.rows("badges_earned", "award_id", award))["Note_Title"]
    assert len(title) == 120
