"""The CRM: what its answers and our account of it mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cdc.routing.feeds import CrmField as FieldSpec
from cdc.routing.feeds import Feed, Profile
from cdc.runtime.doctor.finding import Finding, Findings, ok, problem, warning
from cdc.runtime.doctor.judgement.words import listed
from sinks.base import Misfit
from sinks.reasons import Reason
from sinks.zoho.config import center_of
from sinks.zoho.connect import BULK_SINKS, MODULES
from sinks.zoho.fields import CrmField, find_field
from sinks.zoho.limits import EDITIONS, daily_credits
from sinks.zoho.organisation import Organisation

_HIGH, _SPENT = 0.8, 0.95
_KIN: Final = (
    frozenset({"text", "textarea", "email", "phone", "website", "picklist"}),
    frozenset({"integer", "bigint", "double", "currency", "percent"}),
)
"""Types of fields that take the same values, as far as the declaration can tell; the view's columns tell more."""
_CREATE: Final = "cdc setup --create-fields"


def scopes(profile: Profile) -> list[str]:
    """List the scopes that a profile's feeds need, for the box of the API console."""
    needed: dict[str, None] = {}
    for feed in profile.feeds.values():
        module = MODULES[feed.sink].lower()
        operations = ("READ", "CREATE", "UPDATE", *(("DELETE",) if feed.gone == "delete" else ()))
        needed |= dict.fromkeys(f"ZohoCRM.modules.{module}.{operation}" for operation in operations)
    needed |= dict.fromkeys(
        ("ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ", "ZohoCRM.settings.modules.READ", "ZohoCRM.org.READ")
    )
    if any(feed.sink in BULK_SINKS for feed in profile.feeds.values()):
        needed |= dict.fromkeys(("ZohoCRM.bulk.CREATE", "ZohoCRM.bulk.READ", "ZohoFiles.files.ALL"))
    return list(needed)


def missing_scope(what: str, profile: Profile) -> Finding:
    """Say that a scope is missing."""
    return problem(
        f"the token may not {what}",
        why="each call that needs this scope is refused, and the feed pauses",
        fix="cdc login zoho  # or make a refresh token (docs/zoho.md) with these scopes, and set ZOHO_REFRESH_TOKEN:\n"
        + ",".join(scopes(profile)),
    )


def data_centre(api_domain: str | None, configured: str) -> Findings:
    """Judge where the token's API is."""
    theirs = None if api_domain is None else center_of(api_domain)
    if theirs is None or theirs == configured:
        return ok(f"{configured}" + ("" if theirs is None else ", as the token says"))
    return [
        problem(
            f"the token is for data centre {theirs}, and ZOHO_DATA_CENTER is {configured}",
            why="an account lives in one data centre, and its tokens work nowhere else",
            fix=f"export ZOHO_DATA_CENTER={theirs}",
        )
    ]


def licence(found: Organisation, edition: str, users: int) -> Findings:
    """Judge whether the settings have the organisation's limits.

    Args:
        found: the organisation.
        edition: as ZOHO_EDITION.
        users: as ZOHO_USERS.
    """
    ours = daily_credits(edition, users)
    real_edition, real_users = found.edition or edition, found.users or users
    if real_edition not in EDITIONS:
        return ok(f"{found.name}: the limits of edition {real_edition} aren't known; we reckon with {ours} credits")
    theirs = daily_credits(real_edition, real_users)
    if (real_edition, real_users) == (edition, users):
        return ok(f"{found.name}: {edition} with {users} licences, {ours} credits a day")
    what = f"{found.name} is {real_edition} with {real_users} licences ({theirs} credits a day), the settings say "
    why = (
        "we would spend credits that aren't there, and everybody's calls would be refused"
        if ours > theirs
        else "backfills wait for credits that are there"
    )
    fix = f"export ZOHO_EDITION={real_edition}\nexport ZOHO_USERS={real_users}"
    said = what + f"{edition} with {users} ({ours})"
    return [(problem if ours > theirs else warning)(said, why=why, fix=fix)]


def fields(feed: Feed, module: str, there: Mapping[str, CrmField]) -> list[Finding]:
    """Judge whether the module has the fields that a feed declares, as it declares them.

    Args:
        feed: with its fields.
        module: API name of the module, for the words.
        there: the module's fields.
    """
    found: list[Finding] = []
    missing = []
    for name, spec in feed.fields.items():
        field = find_field(name, there) or find_field(spec.label, there)
        if field is None:
            missing.append(name)
        elif (difference := _difference(spec, field)) is not None:
            what, how = difference
            place = f"{module}, field {field.label!r}"
            fix = f"in the CRM, Setup > Modules and Fields > {place}: {how}"
            found.append(problem(f"{place} {what}", why="records with such values are refused", fix=fix))
    if missing:
        what = f"{module} lacks {listed(missing)}"
        why = "the CRM ignores a field that it doesn't know without a word, so nothing is sent to it"
        found.insert(0, problem(what, why=why, fix=_CREATE))
    return found


def _difference(spec: FieldSpec, field: CrmField) -> tuple[str, str] | None:
    """Say what is wrong with a field, and how it should be; None if nothing is."""
    if not any({field.data_type, spec.type} <= kin for kin in _KIN) and field.data_type != spec.type:
        return f"is of type {field.data_type}, not {spec.type}", f"delete it; `{_CREATE}` makes it as {spec.type}"
    if spec.length is not None and field.max_length is not None and field.max_length < spec.length:
        return f"holds {field.max_length} characters, not {spec.length}", f"set its length to {spec.length}"
    absent = [value for value in spec.values if value not in field.values]
    if absent and field.data_type == "picklist":
        return f"lacks the picklist values {listed(absent)}", f"add them: {', '.join(absent)}"
    return None


def misfits(feed: Feed, found: Sequence[Misfit]) -> list[Finding]:
    """Judge view columns that don't fit the module."""
    return [
        problem(
            f"{feed.view}, column {one.column}: {one.reason.meaning} {one.detail}",
            why="`cdc run` refuses to start with a view that doesn't fit",
            fix=_CREATE if one.reason is Reason.FIELD_NOT_IN_CRM else one.reason.hint,
        )
        for one in found
    ]


def external_id(feed: Feed, module: str, there: Mapping[str, CrmField]) -> Finding | None:
    """Judge the field that holds our identity of a record; None if it is as it must be."""
    name = feed.external_id or ""
    field = find_field(name, there)
    why = "it is what keeps a record from being made twice"
    if field is None:
        return problem(f"{module} has no field {name}", why=why, fix=_CREATE)
    if field.is_unique and field.data_type == "text" and not field.is_read_only:
        return None
    what = f"{module}, field {field.label!r} must be unique, writable, single-line text"
    fix = f"in the CRM, Setup > Modules and Fields > {module} > {field.label}: tick 'Do not allow duplicate values'"
    return problem(what, why=why, fix=fix)


def credits(used: int, limit: int, remaining: int | None, refused: Mapping[str, int]) -> Findings:
    """Judge what is left of the day's credits, and refusals of the last hour.

    Args:
        used: by us in the last 24 hours.
        limit: in 24 hours.
        remaining: the CRM's own figure, which it gives only once half of them are used.
        refused: records that were turned away in the last hour, by reason.
    """
    left = limit - used if remaining is None else min(remaining, limit - used)
    words = f"{used} of {limit} credits used in 24 h, {max(0, left)} left"
    others = "" if remaining is None else limit - used - remaining
    found: list[Finding] = []
    if left <= (1 - _HIGH) * limit:
        more = f"; {others} of them were spent by others" if isinstance(others, int) and others > limit // 10 else ""
        level = problem if left <= (1 - _SPENT) * limit else warning
        why = "without credits delivery waits until older calls are more than 24 hours ago"
        fix = "cdc backfill pause  # leaves what is left to people's own changes; or raise the edition"
        found.append(level(words + more, why=why, fix=fix))
    if refused.get(Reason.CONCURRENCY_LIMIT.name):
        what = f"{refused[Reason.CONCURRENCY_LIMIT.name]} records were refused in the last hour: too many calls at once"
        why = "Zoho counts the calls of all programs of the organisation together"
        found.append(warning(what, why=why, fix="export ZOHO_CONCURRENCY=2"))
    return found or ok(words)
