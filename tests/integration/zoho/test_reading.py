"""Single records, read over real HTTP from the simulator."""

from __future__ import annotations

import pytest

from sinks.base import Action, Delivered, Held, Operation
from sinks.errors import SinkError
from sinks.reasons import Reason
from sinks.zoho.contacts import ContactsSink
from sinks.zoho.notes import NotesSink
from tests.integration.zoho.conftest import Crm
from tests.integration.zoho.test_notes import note

FIELDS = {"Last_Name": "Lovelace", "First_Name": "Ada", "Email": "ada@example.org", "Total_XP": 7, "Level": "Sage"}


async def a_contact(crm: Crm) -> str:
    sink = await crm.contacts()
    (made,) = await sink.deliver([Operation(record_id="ada", action=Action.CREATE, fields=FIELDS)])
    assert isinstance(made, Delivered)
    assert made.crm_id is not None
    return made.crm_id


def unfitted(crm: Crm) -> ContactsSink:
    """A sink as `cdc explain` has it: nothing was asked of the metadata."""
    return ContactsSink(crm.client, external_id="External ID")


async def test_by_the_crm_id_for_one_credit(crm: Crm) -> None:
    crm_id = await a_contact(crm)
    spent = crm.books.total
    sink = unfitted(crm)

    held = await sink.read("ada", crm_id, [*FIELDS, "Not_There"])

    assert held == Held(crm_id=crm_id, fields=FIELDS)
    assert crm.books.total == spent + 1
    assert all(sink.same(name, value, held.fields[name]) for name, value in FIELDS.items())


async def test_names_are_found_as_people_mean_them(crm: Crm) -> None:
    crm_id = await a_contact(crm)
    held = await unfitted(crm).read("ada", crm_id, ["last name", "TotalXP"])
    assert held is not None
    assert held.fields == {"last name": "Lovelace", "TotalXP": 7}


async def test_by_our_identity_where_the_id_is_not_known(crm: Crm) -> None:
    crm_id = await a_contact(crm)
    assert await unfitted(crm).read("ada", None, ["Level"]) == Held(crm_id=crm_id, fields={"Level": "Sage"})
    assert await unfitted(crm).read("nobody", None, ["Level"]) is None


async def test_what_is_gone_is_none(crm: Crm) -> None:
    crm_id = await a_contact(crm)
    sink = await crm.contacts()
    await sink.deliver([Operation(record_id="ada", action=Action.WITHDRAW, crm_id=crm_id)])

    assert await sink.read("ada", crm_id, list(FIELDS)) is None
    assert await sink.read("ada", "no id of theirs", list(FIELDS)) is None


async def test_a_note_is_ours_although_we_append_to_it(crm: Crm) -> None:
    contact = await a_contact(crm)
    sink: NotesSink = await crm.notes()
    (made,) = await sink.deliver([note("award", contact)])
    assert isinstance(made, Delivered)

    held = await sink.read("award", made.crm_id, ["Note_Title", "Note_Content"])

    assert held is not None
    assert sink.same("Note_Content", "Earned a badge", held.fields["Note_Content"])
    assert await sink.read("award", None, ["Note_Title"]) is None, "nothing tells a note without its id"


async def test_a_crm_that_is_away_raises(crm: Crm) -> None:
    crm_id = await a_contact(crm)
    crm.break_("status", status=503)
    with pytest.raises(SinkError) as caught:
        await unfitted(crm).read("ada", crm_id, list(FIELDS))
    assert caught.value.reason is Reason.UNAVAILABLE
