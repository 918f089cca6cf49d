"""Reading records: one, lists, deleted ones, notes of a record, search and count.

https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sinks.simulator.answers import Answer, Json, Refusal
from sinks.simulator.ask import Ask
from sinks.simulator.clock import iso, parse_iso
from sinks.simulator.criteria import matcher
from sinks.simulator.org import USER
from sinks.simulator.paging import invalid_param, wanted_fields
from sinks.simulator.rendering import render
from sinks.simulator.simulation import Simulation
from sinks.simulator.store import Record, Table
from sinks.simulator.validation import as_id

_SORTABLE = ("id", "Created_Time", "Modified_Time")
_SEARCH_ROWS = 2_000
_WORD_LENGTH = 2


def get(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}/{id}`. A record that isn't there is 204."""
    table = sim.records.tables[sim.org.module(ask.module_name).api_name]
    record_id = ask.params["id"]
    if as_id(record_id) is None:
        raise Refusal(400, "INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 1})
    record = table.records.get(record_id)
    if record is None:
        return Answer(status=204)
    since = _since(ask)
    if since is not None and int(table.modified[record_id]) <= since:
        return Answer(status=304)
    names = wanted_fields(ask.query, required=False)
    return Answer(body={"data": [render(sim.records.tables, table, record, names)]})


def listing(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}`."""
    table = sim.records.tables[sim.org.module(ask.module_name).api_name]
    names = wanted_fields(ask.query, required=True)
    since = _since(ask)
    ids = _order(table, ask)
    if since is not None:
        ids = [one for one in ids if int(table.modified[one]) > since]
    if wanted := ask.ids():
        ids = [one for one in ids if one in set(wanted)]
    if not ids:
        return Answer(status=204 if since is None else 304)
    return _page(sim, ask, table, ids, names)


def _page(sim: Simulation, ask: Ask, table: Table, ids: list[str], names: list[str] | None) -> Answer:
    query = ask.query
    bound = (
        ask.path,
        *(query.get(name, "") for name in ("fields", "sort_by", "sort_order", "ids", "cvid", "per_page")),
    )
    rows, info = sim.pager.cut(ids, query, bound)
    if not rows:
        return Answer(status=204)
    info |= {"sort_by": query.get("sort_by", "id"), "sort_order": query.get("sort_order", "desc")}
    data = [render(sim.records.tables, table, table.records[one], names) for one in rows]
    return Answer(body={"data": data, "info": info})


def _order(table: Table, ask: Ask) -> list[str]:
    """Ids of all records in the order asked for; newest first by default."""
    sort_by = ask.query.get("sort_by", "id")
    sort_order = ask.query.get("sort_order", "desc")
    if sort_by not in _SORTABLE:
        raise invalid_param("sort_by", supported_values=list(_SORTABLE))
    if sort_order not in ("asc", "desc"):
        raise invalid_param("sort_order", supported_values=["asc", "desc"])
    keys: dict[str, Callable[[str], tuple[float, int]]] = {
        "id": lambda one: (0, int(one)),
        "Created_Time": lambda one: (table.created[one], int(one)),
        "Modified_Time": lambda one: (table.modified[one], int(one)),
    }
    return sorted(table.records, key=keys[sort_by], reverse=sort_order == "desc")


def _since(ask: Ask) -> float | None:
    text = ask.headers.get("if-modified-since")
    if text is None:
        return None
    since = parse_iso(text)
    if since is None:
        raise Refusal(
            400, "INVALID_DATA", "invalid data", {"header": "If-Modified-Since", "expected_data_type": "datetime"}
        )
    return since


def deleted(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}/deleted`. Everything deleted here is in the recycle bin."""
    table = sim.records.tables[sim.org.module(ask.module_name).api_name]
    kind = ask.query.get("type", "all")
    if kind not in ("all", "recycle", "permanent"):
        raise invalid_param("type", supported_values=["all", "recycle", "permanent"])
    since = _since(ask)
    graves = (
        [] if kind == "permanent" else [one for one in reversed(table.deleted) if since is None or one.time > since]
    )
    if not graves:
        return Answer(status=204)
    rows, info = sim.pager.cut(graves, ask.query, (ask.path, kind, ask.query.get("per_page", "")))
    by = {"id": USER["id"], "name": USER["name"]}
    data = [
        {
            "id": grave.id,
            "type": "recycle",
            "display_name": grave.name,
            "deleted_time": iso(grave.time),
            "deleted_by": by,
            "created_by": by,
        }
        for grave in rows
    ]
    return Answer(body={"data": data, "info": info}) if data else Answer(status=204)


def notes_of(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}/{id}/Notes`, newest first."""
    parent = sim.records.tables[sim.org.module(ask.params["parent"]).api_name]
    names = wanted_fields(ask.query, required=True)
    if ask.params["id"] not in parent.records:
        raise Refusal(400, "INVALID_DATA", "the related id given seems to be invalid", {"resource_path_index": 1})
    notes = sim.records.tables["Notes"]
    ids = list(reversed(notes.find(notes.module.fields["Parent_Id"], {"id": ask.params["id"]})))
    return _page(sim, ask, notes, ids, names) if ids else Answer(status=204)


def search(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}/search`. What was written within the last moments isn't in the index yet."""
    table = sim.records.tables[sim.org.module(ask.module_name).api_name]
    names = wanted_fields(ask.query, required=False)
    ids = _found(sim, ask, table)[:_SEARCH_ROWS]
    return _page(sim, ask, table, ids, names) if ids else Answer(status=204)


def count(sim: Simulation, ask: Ask) -> Answer:
    """`GET /{module}/actions/count`, of all records or of those a search would find."""
    table = sim.records.tables[sim.org.module(ask.module_name).api_name]
    searching = {"criteria", "email", "phone", "word"} & set(ask.query)
    if searching and "cvid" in ask.query:
        names = [{"param_name": name} for name in ("cvid", *sorted(searching))]
        message = "Please use either Cvid or Search Params. Combination of both the params is not allowed"
        raise Refusal(400, "AMBIGUITY_DURING_PROCESSING", message, {"ambiguity_due_to": names})
    return Answer(body={"count": len(_found(sim, ask, table)) if searching else len(table.records)})


def _found(sim: Simulation, ask: Ask, table: Table) -> list[str]:
    """Ids that the search finds, newest first; criteria win over email, phone and word, in that order."""
    horizon = sim.clock.now() - sim.config.search_lag
    indexed = (record for one, record in table.records.items() if table.modified[one] <= horizon)
    query = ask.query
    if "criteria" in query:
        matches = matcher(table, query["criteria"])
    elif "email" in query:
        matches = _holds(table, ("email",), query["email"], whole=True)
    elif "phone" in query:
        matches = _holds(table, ("phone",), query["phone"], whole=True)
    elif "word" in query:
        if len(query["word"]) < _WORD_LENGTH:
            raise invalid_param("word", minimum_length=_WORD_LENGTH)
        matches = _holds(table, ("text", "textarea", "email", "phone", "website"), query["word"], whole=False)
    else:
        expected = [{"param_name": name} for name in ("criteria", "email", "phone", "word")]
        raise Refusal(
            400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"expected_params": expected}
        )
    return _newest_first(record for record in indexed if matches(record))


def _newest_first(records: Iterable[Record]) -> list[str]:
    return sorted((record["id"] for record in records), key=int, reverse=True)


def _holds(table: Table, kinds: Iterable[str], text: str, *, whole: bool) -> Callable[[Json], bool]:
    """Whether a field of these types holds the text: all of it, or at the start of a word."""
    names = [field.api_name for field in table.module.fields.values() if field.type in set(kinds)]
    sought = text.casefold()

    def matches(record: Json) -> bool:
        values = (str(record[name]).casefold() for name in names if record.get(name))
        if whole:
            return any(value == sought for value in values)
        return any(word.startswith(sought) for value in values for word in value.split())

    return matches
