"""Every field of a contact, from its true source."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.profiles.application import Application

core = pytest.mark.parametrize("app", ["core"], indirect=True)
era_2026 = pytest.mark.parametrize("app", ["2026"], indirect=True)


def test_the_key_is_the_users_id_and_the_view_leaves_the_external_id_to_the_sink(app: Application) -> None:
    user = app.person()
    contact = app.contact(user)
    assert contact is not None
    assert contact["user_id"] == str(user)
    assert "External_ID" not in contact


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("O&#x27;Bren", "O'Bren"),
        ("O&#39;Bren", "O'Bren"),
        ("O&apos;Bren", "O'Bren"),
        ("Bren &amp; Dor", "Bren & Dor"),
        ("&lt;Bren&gt; &quot;B&quot;", '<Bren> "B"'),
        ("Br&#233;n", "Brén"),
        ("Br&#xE9;n", "Brén"),
        ("Br&#x1F600;n", "Br\U0001f600n"),
        ("&amp;lt;", "&lt;"),  # undone once, as it was done once
        ("&amp;#65;", "&#65;"),
        ("&#0; &#xD800; &#9999999;", "&#0; &#xD800; &#9999999;"),  # names no character
        ("Bren &c", "Bren &c"),
        ("AT&T; Bren", "AT&T; Bren"),
        ("  Bren \t\n  Dor ", "Bren Dor"),
        ("Bren&#10;Dor", "Bren Dor"),
        ("B" * 100, "B" * 80),
        ("é" * 79 + "  tail", "é" * 79),
    ],
)
def test_last_name_is_text_and_fits(app: Application, stored: str, shown: str) -> None:
    assert app.field(app.person(last_name=stored), "Last_Name") == shown


@pytest.mark.parametrize("empty", [None, "", "   ", "\t\n"])
def test_last_name_is_never_empty(app: Application, empty: str | None) -> None:
    assert app.field(app.person(last_name=empty, display_name="Aru &amp; co"), "Last_Name") == "Aru & co"
    assert app.field(app.person(last_name=empty, display_name=empty), "Last_Name") == "Unknown"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Aru", "Aru"),
        ("D&#x27;Aru", "D'Aru"),
        ("A" * 100, "A" * 40),
        (None, None),
        (" ", None),
        ("User", None),
        ("Userina", "Userina"),
    ],
)
def test_first_name(app: Application, stored: str | None, shown: str | None) -> None:
    assert app.field(app.person(first_name=stored), "First_Name") == shown


@pytest.mark.parametrize(
    ("stored", "shown"), [("Aru &lt;3", "Aru <3"), (None, None), ("", None), ("x" * 100, "x" * 100)]
)
def test_display_name(app: Application, stored: str | None, shown: str | None) -> None:
    assert app.field(app.person(display_name=stored), "Display_Name") == shown


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Aru.Bren@Example.ORG", "aru.bren@example.org"),
        (" aru@example.org ", "aru@example.org"),
        ("aru+tag@mail.example.org", "aru+tag@mail.example.org"),
        ("o'bren@example.org", "o'bren@example.org"),
        (None, None),
        ("", None),
        ("aru", None),
        ("aru@example", None),
        ("aru@@example.org", None),
        ("aru@example.org, bren@example.org", None),
        ("aru bren@example.org", None),
        ("aru@-example.org", None),
        ("a" * 90 + "@example.org", None),  # longer than the CRM's field
        ("pupil@optio-internal-placeholder.local", None),
        ("Pupil@Optio-Internal-Placeholder.LOCAL", None),
        ("canvas-1f2e@lti.optioeducation.com", None),
    ],
)
def test_email(app: Application, stored: str | None, shown: str | None) -> None:
    assert app.field(app.person(email=stored), "Email") == shown


@core
@pytest.mark.parametrize(
    ("role", "label"),
    [
        ("student", "Student"),
        ("parent", "Parent"),
        ("advisor", "Advisor"),
        ("admin", "Admin"),
        ("observer", "Observer"),
        (None, None),
    ],
)
def test_user_type_core(app: Application, role: str | None, label: str | None) -> None:
    assert app.field(app.person(role=role), "User_Type") == label


@era_2026
@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"role": "student"}, "Student"),
        ({"role": "superadmin"}, "Admin"),
        ({"org_role": "student"}, "Student"),
        ({"org_role": "parent"}, "Parent"),
        ({"org_role": "advisor"}, "Advisor"),
        ({"org_role": "org_admin"}, "Admin"),
        ({"org_role": "campus_coordinator"}, "Admin"),
        ({"org_role": "observer"}, "Observer"),
        ({"org_role": "student", "org_roles": '["advisor", "parent"]'}, "Advisor"),
        ({"org_role": "parent", "org_roles": "[]"}, "Parent"),
        ({"org_role": "janitor"}, None),
    ],
)
def test_user_type_2026(app: Application, columns: dict[str, Any], label: str | None) -> None:
    assert app.field(app.person(**columns), "User_Type") == label


@pytest.mark.parametrize(
    ("moment", "date", "time"),
    [
        ("2026-01-09 23:59:59.999+00", "2026-01-09", "2026-01-09T23:59:59+00:00"),
        ("2026-01-09 20:00:00-07", "2026-01-10", "2026-01-10T03:00:00+00:00"),
        ("infinity", None, None),
        (None, None, None),
    ],
)
def test_dates_are_utc_and_times_without_a_fraction(
    app: Application, moment: str | None, date: str | None, time: str | None
) -> None:
    user = app.person(created_at=moment, last_active=moment)
    assert app.field(user, "Signup_Date") == date
    assert app.field(user, "Last_Active_At") == time


PILLARS = {
    "XP_Art": ["art", "arts_creativity", "creativity", "Arts & Creativity"],
    "XP_STEM": ["stem", "stem_logic", "critical_thinking", "STEM & Logic"],
    "XP_Communication": ["communication", "language_communication", "Language & Communication"],
    "XP_Civics": ["civics", "society_culture", "cultural_literacy", "Society & Culture"],
    "XP_Wellness": ["wellness", "life_wellness", "practical_skills", "Life & Wellness"],
}


@pytest.mark.parametrize(
    ("name", "pillar"), [(name, pillar) for name, pillars in PILLARS.items() for pillar in pillars]
)
def test_each_old_pillar_counts_towards_its_present_one_only(app: Application, name: str, pillar: str) -> None:
    user = app.person()
    app.insert("user_skill_xp", user_id=user, pillar=pillar, xp_amount=70)
    contact = app.contact(user)
    assert contact is not None
    assert {n: contact[n] for n in PILLARS} == {n: 70 if n == name else 0 for n in PILLARS}


def test_xp_is_summed_over_vocabularies_and_not_taken_from_users(app: Application) -> None:
    user = app.person(total_xp=9999, level=7)
    for pillar, amount in [("stem", 100), ("STEM & Logic", 0), ("stem_logic", 150), ("art", 40), ("unheard_of", 5)]:
        app.insert("user_skill_xp", user_id=user, pillar=pillar, xp_amount=amount)
    contact = app.contact(user)
    assert contact is not None
    assert (contact["XP_STEM"], contact["XP_Art"], contact["Total_XP"]) == (250, 40, 295)
    assert contact["Level"] == "Builder"


@pytest.mark.parametrize(
    ("xp", "level"),
    [
        (0, "Explorer"),
        (249, "Explorer"),
        (250, "Builder"),
        (749, "Builder"),
        (750, "Creator"),
        (1499, "Creator"),
        (1500, "Scholar"),
        (2999, "Scholar"),
        (3000, "Sage"),
    ],
)
def test_level_comes_from_total_xp(app: Application, xp: int, level: str) -> None:
    user = app.person()
    app.insert("user_skill_xp", user_id=user, pillar="stem", xp_amount=xp)
    assert app.field(user, "Level") == level


def test_numbers_keep_to_nine_digits(app: Application) -> None:
    user = app.person()
    for pillar in ("stem", "stem_logic"):
        app.insert("user_skill_xp", user_id=user, pillar=pillar, xp_amount=1_000_000_000)
    assert app.field(user, "XP_STEM") == 999_999_999
    assert app.field(user, "Total_XP") == 999_999_999


def test_quests_are_counted_by_enrolment(app: Application) -> None:
    user, quest = app.person(), app.quest()
    app.enrol(user, quest, completed_at="2026-01-02", is_active=False)
    app.enrol(user, quest, completed_at="2026-02-02", is_active=False)  # a second attempt
    app.enrol(user, quest)
    app.enrol(user, is_active=False)  # set down
    app.enrol(user, is_active=None)
    app.enrol(app.person())  # somebody else's
    assert app.field(user, "Completed_Quests") == 2
    assert app.field(user, "Active_Quests") == 1


@era_2026
@pytest.mark.parametrize(
    ("kind", "review", "completed", "active"),
    [
        ("class", "credit_awarded", 1, 0),
        ("class", "submitted_for_review", 0, 1),
        ("class", None, 0, 1),
        ("course", "credit_awarded", 0, 1),
        (None, None, 0, 1),
    ],
)
def test_a_class_is_completed_on_its_own_row(
    app: Application, kind: str | None, review: str | None, completed: int, active: int
) -> None:
    user = app.person()
    app.enrol(user, app.quest(quest_type=kind, class_review_status=review))
    assert app.field(user, "Completed_Quests") == completed
    assert app.field(user, "Active_Quests") == active


def test_tasks_completed(app: Application) -> None:
    user = app.person()
    enrolment = app.enrol(user)
    for _ in range(3):
        app.complete_task(enrolment)
    assert app.field(user, "Tasks_Completed") == 3


@pytest.mark.parametrize(
    ("days_ago", "streak"),
    [
        ([], 0),
        ([0], 1),
        ([1], 1),  # yesterday's streak can still be kept today
        ([2], 0),
        ([0, 0, 1, 2], 3),
        ([1, 2, 3, 5, 6], 3),
        ([0, 2, 3], 1),
    ],
)
def test_streak_is_days_in_a_row_until_today(app: Application, days_ago: list[int], streak: int) -> None:
    user = app.person(streak_days=42)
    enrolment = app.enrol(user)
    for days in days_ago:
        row = app.connection.execute("select date_trunc('day', now(), 'UTC') - make_interval(days => %s)", [days])
        app.complete_task(enrolment, at=row.fetchone()[0])  # type: ignore[index]
    assert app.field(user, "Current_Streak") == streak


@core
def test_a_badge_counts_once_it_is_awarded(app: Application) -> None:
    user = app.person(achievements_count=9)
    badge = new_badge(app)
    app.insert("user_badges", user_id=user, badge_id=badge, badge_type="custom")  # chosen: earned_at is set already
    assert app.field(user, "Badges_Earned") == 0
    app.insert("user_badges", user_id=user, badge_id=badge, badge_type="custom", completed_at="2026-01-02")
    assert app.field(user, "Badges_Earned") == 1


@era_2026
def test_there_are_no_badges_in_2026(app: Application) -> None:
    contact = app.contact(app.person())
    assert contact is not None
    assert "Badges_Earned" not in contact


def test_portfolio_link(app: Application) -> None:
    user = app.person()
    assert app.field(user, "Portfolio_URL") == f"https://www.optioeducation.com/diploma/{user}"


@pytest.mark.parametrize(
    ("profile_status", "linked"),
    [("approved", True), ("pending", False), ("other", False)],
)
def test_a_link_shows_on_both_contacts_once_approved(app: Application, profile_status: str, linked: bool) -> None:
    words = {
        "core": {"approved": "active", "pending": "pending_approval", "other": "pending_invitation"},
        "2026": {"approved": "approved", "pending": "pending_approval", "other": "rejected"},
    }
    parent, child = app.person(role="parent", age=None), app.person()
    status = words[app.profile][profile_status]
    app.insert("parent_student_links", parent_user_id=parent, student_user_id=child, status=status)
    assert app.field(parent, "Parent_Linked") is linked
    assert app.field(child, "Parent_Linked") is linked
    assert app.field(app.person(), "Parent_Linked") is False


@era_2026
def test_a_teenager_whose_account_a_parent_manages_is_linked(app: Application) -> None:
    parent = app.person(role="parent", age=None)
    assert app.field(app.person(managed_by_parent_id=parent), "Parent_Linked") is True
    assert app.field(parent, "Parent_Linked") is False


def integrate(app: Application, user: uuid.UUID, platform: str, **columns: Any) -> None:
    extra = {"organization_id": app.organisation} if app.profile == "2026" else {}
    app.insert(
        "lms_integrations", user_id=user, lms_platform=platform, lms_user_id=str(uuid.uuid4()), **extra, **columns
    )


@pytest.mark.parametrize(
    ("platform", "label"),
    [
        (None, "None"),
        ("canvas", "Canvas"),
        ("google_classroom", "Google Classroom"),
        ("schoology", "Schoology"),
        ("moodle", "Moodle"),
        ("spark", {"core": "None", "2026": "None"}),
    ],
)
def test_lms_platform(app: Application, platform: str | None, label: str | dict[str, str]) -> None:
    user = app.person()
    if platform:
        integrate(app, user, platform)
    assert app.field(user, "LMS_Platform") == (label if isinstance(label, str) else label[app.profile])


def test_the_working_and_newest_lms_counts(app: Application) -> None:
    user = app.person()
    integrate(app, user, "moodle", sync_status="error", created_at="2026-03-01")
    integrate(app, user, "canvas", sync_status="active", created_at="2026-01-01")
    integrate(app, user, "schoology", sync_status="active", created_at="2026-02-01")
    assert app.field(user, "LMS_Platform") == "Schoology"


def new_badge(app: Application) -> uuid.UUID:
    return app.insert(
        "badges", name="Night Owl", identity_statement="I watch.", description="Words.", pillar_primary="stem"
    )
