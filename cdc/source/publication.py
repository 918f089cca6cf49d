"""Does the publication carry what the feeds watch? Postgres 18 skips what it doesn't carry without a word.

Postgres looks publications up as of the WAL that it decodes, so a stretch written without a table stays without it,
whatever is mended afterwards. Such a stretch is a gap, and a sweep closes it. Source: PostgreSQL documentation,
"pg_publication", "pg_publication_rel" and "ALTER TABLE ... REPLICA IDENTITY".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from cdc.routing.router import Route
from cdc.source.identity import WatchedTable, read_table


@dataclass(frozen=True, slots=True)
class Published:
    """A table in a publication. `columns` is None where all of them are published."""

    columns: frozenset[str] | None
    is_filtered: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as it is.

    Attributes:
        is_complete_kind: it carries every kind of change, and changes of partitions as their table's.
        tables: by qualified name.
    """

    is_complete_kind: bool
    tables: Mapping[str, Published]


async def read_publication(conn: AsyncConnection[Any], name: str) -> Publication | None:
    """Look at a publication; None if there is none of that name."""
    row = await (
        await conn.execute(
            """
            select pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot
            from pg_publication where pubname = %s
            """,
            [name],
        )
    ).fetchone()
    if row is None:
        return None
    rows = await (
        await conn.execute(
            """
            select n.nspname || '.' || c.relname, r.prattrs is not null,
                   array(select a.attname::text from pg_attribute a
                         where a.attrelid = c.oid and a.attnum = any(r.prattrs)),
                   r.prqual is not null
            from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
            join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
            where p.pubname = %s
            """,
            [name],
        )
    ).fetchall()
    tables = {
        table: Published(frozenset(columns) if listed else None, filtered) for table, listed, columns, filtered in rows
    }
    return Publication(bool(row[0]), tables)


async def read_fingerprint(conn: AsyncConnection[Any], name: str) -> str | None:
    """Give a text that differs once the publication was changed, or dropped and made again; None without one.

    It is made of row versions in the catalogue, so it also changes where nothing was lost: after an upgrade, or when
    `cdc setup` adds a table. That costs a sweep.
    """
    row = await (
        await conn.execute(
            """
            select md5(concat(p.oid, ':', p.xmin, ';', (
                select string_agg(concat(r.oid, ':', r.xmin), ';' order by r.oid)
                from pg_publication_rel r where r.prpubid = p.oid)))
            from pg_publication p where p.pubname = %s
            """,
            [name],
        )
    ).fetchone()
    return None if row is None else str(row[0])


async def find_breaches(conn: AsyncConnection[Any], name: str, routes: Mapping[str, Route]) -> list[str]:
    """Say what of the watched tables isn't streamed as it must be; empty when all is well.

    Args:
        conn: to the source.
        name: of the publication.
        routes: by qualified table name.
    """
    publication = await read_publication(conn, name)
    if publication is None:
        return [f"publication {name} doesn't exist"]
    missing = await (
        await conn.execute("select t from unnest(%s::text[]) t where to_regclass(t) is null", [list(routes)])
    ).fetchall()
    gone = {row[0] for row in missing}
    tables = [await read_table(conn, route) for table, route in routes.items() if table not in gone]
    return [*(f"table {table} doesn't exist" for table in sorted(gone)), *breaches(publication, tables)]


def breaches(publication: Publication, tables: list[WatchedTable]) -> list[str]:
    """Compare what is published with what is watched."""
    found = [] if publication.is_complete_kind else ["some kinds of change, or changes of partitions, aren't published"]
    for table in tables:
        name, wanted = table.route.table, frozenset(table.route.columns)
        published = publication.tables.get(name)
        if published is None:
            found.append(f"{name} isn't published")
            continue
        missing = sorted(wanted - published.columns) if published.columns is not None else []
        if missing:
            found.append(f"{name} is published without {', '.join(missing)}")
        if published.is_filtered:
            found.append(f"{name} is published with a row filter")
        if table.identity == "n" or not (table.identity == "f" or wanted <= table.identity_columns):
            found.append(f"the replica identity of {name} lacks {', '.join(sorted(wanted))}")
    return found
