"""What the feeds watch and read: tables, identities, publication, views."""

from __future__ import annotations

import psycopg
from psycopg import sql

from cdc.errors import CdcError, ProfileError
from cdc.routing.feeds import Feed
from cdc.routing.router import build_routes
from cdc.runtime.doctor.examination import Examination, scalar
from cdc.runtime.doctor.finding import Finding, Findings, from_error, ok, problem, skipped, warning
from cdc.runtime.doctor.judgement import source as judge
from cdc.runtime.doctor.judgement.words import listed
from cdc.runtime.doctor.slots import needs_slot, subject
from cdc.source.identity import WatchedTable, plan_identity, read_table
from cdc.source.preflight import check_row_security, check_schema_right
from cdc.source.publication import Publication, breaches, read_publication
from cdc.source.realtime_setup import check_realtime, plan_realtime
from cdc.source.tables import table_problems
from cdc.source.views import plan_views
from cdc.state.truth import Truth, view_identifier


async def look_tables(exam: Examination) -> Findings:
    """Whether the watched tables are there, with their key columns, and may be read."""
    s = await subject(exam)
    found = await table_problems(exam.source, exam.profile, s.role)
    why = "changes of it are not heard, or its rows can't be read"
    fix = "correct the table's name or key in feeds.toml, or make it in the database"
    return [from_error(e, why=why, fix=fix) for e in found] or ok(f"{len(build_routes(exam.profile))} tables")


async def look_row_security(exam: Examination) -> Findings:
    """Whether row-level security hides rows from the views."""
    try:
        await check_row_security(await subject(exam))
    except CdcError as error:
        return [from_error(error, why="a view that shows nobody looks like success, and withdraws people")]
    return ok("no row is hidden from the role")


async def look_schema_right(exam: Examination) -> Findings:
    """Whether the role may make what set-up makes."""
    try:
        await check_schema_right(await subject(exam))
    except CdcError as error:
        return [from_error(error, why="set-up makes the views there")]
    return ok("the role may make the schema cdc and its views")


async def look_identity(exam: Examination) -> Findings:
    """Whether a DELETE carries the keys of each route."""
    found: list[Finding] = []
    poor: list[str] = []
    for route in build_routes(exam.profile).values():
        try:
            table = await read_table(exam.source, route)
        except ProfileError as error:
            found.append(from_error(error, why="its updates and deletes can't be followed"))
            continue
        if plan_identity(table):
            poor.append(f"{route.table} ({', '.join(route.columns)})")
    if poor:
        what = f"replica identities lack keys: {listed(poor)}"
        found.append(problem(what, why="an update or delete doesn't say whose row it was", fix="cdc setup"))
    return found or ok("updates and deletes carry all keys")


async def look_publication(exam: Examination) -> Findings:
    """Whether the publication carries exactly what the feeds watch."""
    if not needs_slot(exam):
        return skipped("CDC_TRANSPORT=realtime has its own publication")
    name = exam.settings.cdc_publication
    publication = await read_publication(exam.source, name)
    if publication is None:
        return judge.publication(name, [f"publication {name} doesn't exist"], ())
    tables = [await read_table(exam.source, route) for route in build_routes(exam.profile).values()]
    # What is wrong with identities is found by the check for them.
    missing = [words for words in breaches(publication, tables) if "replica identity" not in words]
    return judge.publication(name, missing, _surplus(publication, tables))


def _surplus(publication: Publication, tables: list[WatchedTable]) -> list[str]:
    wanted = {t.route.table: None if t.published_columns is None else set(t.published_columns) for t in tables}
    found = [table for table in publication.tables if table not in wanted]
    for table, columns in wanted.items():
        published = publication.tables.get(table)
        if columns is None or published is None:
            continue
        if published.columns is None:
            found.append(f"all columns of {table}")
        else:
            found += [f"{table}.{column}" for column in sorted(published.columns - columns)]
    return found


async def look_views(exam: Examination) -> Findings:
    """Whether the views are there, readable, and made from the profile's text."""
    found = [finding for feed in exam.profile.feeds.values() if (finding := await _look_view(exam, feed)) is not None]
    if not found and await plan_views(exam.source, exam.profile) is not None:
        what = f"the views were made from another text than {exam.profile.folder / 'views.sql'}"
        found.append(warning(what, why="what is sent is what the old text says", fix="cdc setup"))
    return found or ok(f"{listed([feed.view for feed in exam.profile.feeds.values()])} can be read")


async def _look_view(exam: Examination, feed: Feed) -> Finding | None:
    view = view_identifier(feed)
    try:
        await Truth.open(exam.source, feed)
        await exam.source.execute(sql.SQL("select from {} limit 1").format(view))
    except ProfileError as error:
        return problem(error.message, why="the feed delivers nothing", fix="cdc setup")
    except psycopg.errors.InsufficientPrivilege:
        role = sql.Identifier(str(await scalar(exam.source, "select current_user::text")))
        schema = sql.Identifier(feed.view.partition(".")[0] if "." in feed.view else "public")
        grants = sql.SQL("GRANT USAGE ON SCHEMA {} TO {};\nGRANT SELECT ON {} TO {};").format(schema, role, view, role)
        what = f"view {feed.view} may not be read"
        return problem(what, why="the feed delivers nothing", fix=grants.as_string(None))
    except psycopg.Error as error:
        what = f"view {feed.view} fails when it is read: {type(error).__name__}, SQLSTATE {error.sqlstate}"
        fix = f"correct {exam.profile.folder / 'views.sql'}, then: cdc setup"
        return problem(what, why="the feed delivers nothing", fix=fix)
    return None


async def look_realtime(exam: Examination) -> Findings:
    """What Supabase Realtime needs."""
    if needs_slot(exam):
        return skipped("only for CDC_TRANSPORT=realtime")
    routes = build_routes(exam.profile)
    why = "changes that Realtime doesn't send are found by the next sweep only"
    try:
        notes = await check_realtime(exam.source, routes, exam.settings.cdc_slot)
    except CdcError as error:
        return [from_error(error, why=why)]
    missing = await plan_realtime(exam.source, routes)
    if missing:
        return [problem(f"Realtime isn't set up: it takes a statement to {missing[0].why}", why=why, fix="cdc setup")]
    return ok("; ".join(notes) or "its publication carries the watched tables")
