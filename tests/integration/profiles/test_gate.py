"""Who may be in the CRM. Every doubt about a child ends outside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.profiles.application import Application

core = pytest.mark.parametrize("app", ["core"], indirect=True)
era_2026 = pytest.mark.parametrize("app", ["2026"], indirect=True)


def may_leave(app: Application, **columns: Any) -> bool:
    return app.contact(app.person(**columns)) is not None


@pytest.mark.parametrize(
    ("age", "inside"),
    [
        ("18 years", True),
        ("13 years 2 days", True),
        ("12 years 364 days", False),
        ("7 years", False),
        ("-1 days", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("role", ["student", None])
def test_a_student_is_in_from_13_if_that_is_known(
    app: Application, role: str | None, age: str | None, inside: bool
) -> None:
    columns: dict[str, Any] = {"parental_consent_verified": True}
    assert may_leave(app, role=role, age=age, **columns) is inside


@pytest.mark.parametrize("role", ["parent", "advisor", "observer"])
def test_adults_need_no_date_of_birth_but_a_childs_counts(app: Application, role: str) -> None:
    assert may_leave(app, role=role, age=None)
    assert may_leave(app, role=role, age="40 years")
    assert not may_leave(app, role=role, age="9 years", parental_consent_verified=True)


@pytest.mark.parametrize(
    ("required", "verified", "inside"),
    [(True, False, False), (True, None, False), (True, True, True), (False, False, True), (None, None, True)],
)
@pytest.mark.parametrize("role", ["student", "parent"])
def test_consent_that_was_asked_for_must_have_come(
    app: Application, role: str, required: bool | None, verified: bool | None, inside: bool
) -> None:
    user = app.person(role=role)
    app.update("users", user, requires_parental_consent=required, parental_consent_verified=verified)
    assert (app.contact(user) is not None) is inside


def test_the_flag_of_a_child_that_turned_13_still_holds_until_somebody_agrees(app: Application) -> None:
    user = app.person(age="12 years")
    app.connection.execute("alter table public.users disable trigger parental_consent")
    app.connection.execute("update public.users set date_of_birth = now() - interval '14 years' where id = %s", [user])
    assert app.contact(user) is None
    app.update("users", user, parental_consent_verified=True)
    assert app.contact(user) is not None


def test_nobody_is_13_early_because_of_a_leap_day(app: Application) -> None:
    row = app.connection.execute("select age(date '2025-02-28', date '2012-02-29') < interval '13 years'").fetchone()
    assert row == (True,)


@pytest.mark.parametrize(("status", "inside"), [("none", True), (None, True), ("pending", False), ("completed", False)])
@pytest.mark.parametrize("role", ["student", "parent"])
def test_who_asked_for_erasure_is_withdrawn_at_once(
    app: Application, role: str, status: str | None, inside: bool
) -> None:
    user = app.person(role=role)
    assert app.contact(user) is not None
    app.update("users", user, deletion_status=status)
    assert (app.contact(user) is not None) is inside


@pytest.mark.parametrize("address", ["x@pending.optio.local", "X@INVITE.optio.local"])
def test_an_invitation_is_not_a_person(app: Application, address: str) -> None:
    assert not may_leave(app, role="parent", age=None, email=address)


def test_a_corrected_date_of_birth_withdraws(app: Application) -> None:
    user = app.person()
    enrolment = app.enrol(user, completed_at="2026-01-02")
    assert app.completions(enrolment)
    app.connection.execute("update public.users set date_of_birth = now() - interval '11 years' where id = %s", [user])
    assert app.contact(user) is None
    assert app.completions(enrolment) == []


@era_2026
def test_dependents_are_out_at_any_age(app: Application) -> None:
    parent = app.person(role="parent", age=None)
    for age in ("8 years", "15 years"):
        assert not may_leave(
            app, age=age, is_dependent=True, managed_by_parent_id=parent, parental_consent_verified=True
        )
    assert may_leave(app, age="15 years", managed_by_parent_id=parent, is_dependent=False)


@era_2026
@pytest.mark.parametrize(
    ("columns", "inside"),
    [
        ({"org_role": "student"}, False),
        ({"org_role": "parent"}, True),
        ({"org_role": "advisor"}, True),
        ({"org_role": "org_admin"}, True),
        ({"org_role": "campus_coordinator"}, True),
        ({"org_role": "observer"}, True),
        ({"org_role": "advisor", "org_roles": '["student"]'}, False),
        ({"org_role": "janitor"}, False),
        ({"role": "superadmin"}, True),
    ],
)
def test_of_unknown_age_only_an_effective_adult_role_is_in(
    app: Application, columns: dict[str, Any], inside: bool
) -> None:
    assert may_leave(app, age=None, **columns) is inside


@core
def test_an_admin_is_an_adult_in_core(app: Application) -> None:
    assert may_leave(app, role="admin", age=None)
