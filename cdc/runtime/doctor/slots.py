"""Our slot and its surroundings on the server."""

from __future__ import annotations

from typing import Final

from cdc.errors import CdcError
from cdc.runtime.doctor.examination import Examination, rows, scalar
from cdc.runtime.doctor.finding import Findings, from_error, ok, skipped
from cdc.runtime.doctor.judgement import source as judge
from cdc.source.preflight import Subject, check_free_slot, check_replication_right, check_wal_level
from cdc.watch.holders import OtherSlot, read_holders
from cdc.watch.slot import SlotHealth, read_slot_health

_NO_SLOT: Final = "CDC_TRANSPORT=realtime needs no slot"


def needs_slot(exam: Examination) -> bool:
    """True unless the source is heard through Realtime."""
    return exam.settings.cdc_transport != "realtime"


async def subject(exam: Examination) -> Subject:
    """Give what preflight's checks look at."""
    role = str(await scalar(exam.source, "select current_user::text"))
    return Subject(exam.source, exam.profile, exam.settings.cdc_slot, role)


async def look_wal_level(exam: Examination) -> Findings:
    """Whether the server writes what decoding needs."""
    if not needs_slot(exam):
        return skipped(_NO_SLOT)
    try:
        await check_wal_level(await subject(exam))
    except CdcError as error:
        return [from_error(error, why="without it there is nothing to decode, and no slot can be made")]
    return ok("wal_level is logical")


async def look_role(exam: Examination) -> Findings:
    """Whether the role may read a slot."""
    if not needs_slot(exam):
        return skipped(_NO_SLOT)
    try:
        await check_replication_right(await subject(exam))
    except CdcError as error:
        return [from_error(error, why="only such a role may make a slot and read it")]
    return ok("the role has REPLICATION")


async def look_room_for_slots(exam: Examination) -> Findings:
    """Slots and WAL senders that are taken."""
    if not needs_slot(exam):
        return skipped(_NO_SLOT)
    name = exam.settings.cdc_slot
    slots = await rows(exam.source, "select slot_name::text, active, wal_status from pg_replication_slots order by 1")
    idle = [OtherSlot(slot, False, status, None) for slot, active, status in slots if not active]
    allowed = int(await scalar(exam.source, "show max_replication_slots"))
    judged = judge.free_slots(len(slots), allowed, idle, ours=name in [slot for slot, _, _ in slots])
    senders = int(await scalar(exam.source, "select count(*) from pg_stat_replication"))
    ours = bool(await scalar(exam.source, "select active from pg_replication_slots where slot_name = %s", name))
    sending = judge.free_senders(senders, int(await scalar(exam.source, "show max_wal_senders")), ours=ours)
    found = [f for f in (*judged, *sending) if f.needs_a_person]
    return found or ok(f"{judged[0].what}, {sending[0].what}")


async def look_slot(exam: Examination) -> Findings:
    """Whether our slot is there, ours, and whole."""
    try:
        await check_free_slot(await subject(exam))
    except CdcError as error:
        return [from_error(error, why="a slot of another plugin or database can't be read by us")]
    return judge.slot(await _health(exam), has_position=await exam.stored_position() is not None)


async def look_slot_room(exam: Examination) -> Findings:
    """How much more WAL may be written before our slot is lost."""
    health = await _health(exam)
    return judge.room(health) if health.exists else skipped("there is no slot yet")


async def look_other_slots(exam: Examination) -> Findings:
    """Other slots that hold WAL."""
    found = await read_holders(exam.source, exam.settings.cdc_slot)
    return judge.other_slots(found.slots)


async def look_transactions(exam: Examination) -> Findings:
    """Transactions that have been open for long."""
    found = await read_holders(exam.source, exam.settings.cdc_slot)
    return judge.holders(found, exam.patience)


async def _health(exam: Examination) -> SlotHealth:
    """Look at the slot with its samples, or without where there is no state yet."""
    slot = exam.settings.cdc_slot
    has_state = await exam.stored_position() is not None
    return await read_slot_health(exam.source, await exam.open_state() if has_state else None, slot)
