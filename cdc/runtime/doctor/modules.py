"""The CRM's fields, and a contact that is made and deleted again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from cdc.errors import ProfileError
from cdc.routing.feeds import Feed
from cdc.runtime.doctor.examination import Examination
from cdc.runtime.doctor.finding import Finding, Findings, from_sink_error, ok, problem, skipped
from cdc.runtime.doctor.judgement import crm as judge
from cdc.runtime.environment import sink_specs
from cdc.runtime.fit import read_columns
from sinks.base import Action, Column, Delivered, FieldValue, Operation, Sink
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.connect import MODULES, build_sinks
from sinks.zoho.fields import CrmField, read_fields

_CONTACTS: Final = "zoho.contacts"
_MARK: Final = "cdc-doctor-"


async def look_fields(exam: Examination) -> Findings:
    """Whether each mapped field is there, with the right type, length and picklist."""
    found: list[Finding] = []
    sinks = build_sinks(exam.client, sink_specs(exam.profile))
    for feed in exam.profile.feeds.values():
        try:
            declared = judge.fields(feed, MODULES[feed.sink], await _fields(exam, feed))
            misfits = await _misfits(exam, feed, sinks[feed.name])
        except SinkError as error:
            if error.reason is not Reason.SCOPE_MISSING:
                raise
            return [judge.missing_scope("read fields (ZohoCRM.settings.fields.READ)", exam.profile)]
        said = " ".join(finding.what for finding in declared)
        found += declared
        found += [finding for finding in misfits if finding.what.split(": ")[0].rpartition(" ")[2] not in said]
    return found or ok(f"{sum(len(feed.fields) for feed in exam.profile.feeds.values())} custom fields are as declared")


async def _fields(exam: Examination, feed: Feed) -> Mapping[str, CrmField]:
    module = MODULES[feed.sink]
    if module not in exam.fields:
        exam.fields[module] = await read_fields(exam.client, module)
    return exam.fields[module]


async def _misfits(exam: Examination, feed: Feed, sink: Sink) -> list[Finding]:
    """Hold the view's columns against the module, if there is a view yet."""
    if not exam.has_source:
        return []
    try:
        columns = await read_columns(exam.source, feed)
    except ProfileError:
        return []
    # What is wrong with the external id is found by the check for it.
    return judge.misfits(feed, [m for m in await sink.fit(columns) if m.column != feed.external_id])


async def look_external_ids(exam: Examination) -> Findings:
    """Whether the fields that hold our identities are unique."""
    feeds = [feed for feed in exam.profile.feeds.values() if feed.external_id is not None]
    found = [judge.external_id(feed, MODULES[feed.sink], await _fields(exam, feed)) for feed in feeds]
    return [finding for finding in found if finding is not None] or ok(f"{len(feeds)} external id fields are unique")


async def look_writing(exam: Examination) -> Findings:
    """Make a contact with a mark of its own, and delete it again."""
    feed = next((f for f in exam.profile.feeds.values() if f.sink == _CONTACTS), None)
    if feed is None:
        return skipped(f"no feed goes to {_CONTACTS}")
    fields = await _fields(exam, feed)
    values: dict[str, FieldValue] = dict.fromkeys(feed.mandatory, "cdc doctor test, may be deleted")
    needed = {name for name, field in fields.items() if field.is_mandatory and not field.is_read_only}
    sink = build_sinks(exam.client, {feed.name: sink_specs(exam.profile)[feed.name]})[feed.name]
    await sink.fit([Column(name=name, type="text") for name in sorted({*values, *needed})])
    record = f"{_MARK}{secrets.token_hex(8)}"
    made, trouble = await _deliver(sink, Operation(record_id=record, action=Action.CREATE, fields=values))
    if trouble is not None or made is None:
        return [trouble or _unknown(record)]
    gone, trouble = await _deliver(sink, Operation(record_id=record, action=Action.WITHDRAW, crm_id=made.crm_id))
    if trouble is not None or gone is None:
        what = f"the test contact {made.crm_id} was made and not deleted: {trouble.what if trouble else 'no answer'}"
        why = "people who leave the view couldn't be withdrawn from the CRM"
        fix = trouble.fix if trouble else "delete it by hand"
        return [problem(what, why=why, fix=f"{fix}\nand delete the contact whose {feed.external_id} is {record}")]
    return ok("a test contact was made and deleted again")


async def _deliver(sink: Sink, operation: Operation) -> tuple[Delivered | None, Finding | None]:
    why = "records of this feed are refused in the same way"
    try:
        [outcome] = await sink.deliver([operation])
    except SinkError as error:
        return None, from_sink_error(error, why=why)
    if isinstance(outcome, Delivered):
        return outcome, None
    return None, from_sink_error(SinkError(outcome.reason, outcome.detail), why=why)


def _unknown(record: str) -> Finding:
    why = "nothing is known of it"
    return problem("the CRM gave no outcome", why=why, fix=f"look for a contact with the id {record} and delete it")
