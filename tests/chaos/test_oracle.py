"""The oracle of these tests must notice what it is there for."""

from __future__ import annotations

import pytest

from sinks.zoho.notes import reference
from tests.chaos.conftest import MakeSite
from tests.support.oracle import Chronicle, verify
from tests.support.somebody import AWARD, PERSON, make_somebody, somebody_else

pytestmark = pytest.mark.chaos


async def test_it_notices_every_kind_of_damage(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle = make_somebody(site.database)
    await site.settle()
    await verify(site, chronicle)
    [contact], [task], [note] = [await site.crm.records(m) for m in ("Contacts", "Tasks", "Notes")]

    async with somebody_else(site.crm) as hand:
        copy = {"Note_Title": note["Note_Title"], "Note_Content": note["Note_Content"]}
        parent = {"Parent_Id": {"id": contact["id"], "module": {"api_name": "Contacts"}}}
        await hand("POST", "Notes", {**copy, **parent})
        await hand(
            "PUT", "Contacts", {"id": contact["id"], "Level": "Sage", "Display_Name": "An older one 00000000 v1"}
        )
        await hand("POST", "Contacts", {"Last_Name": "Stranger", "External_ID": AWARD})
        await hand("POST", "Tasks", {"Subject": "Invented", "Event_ID": "invented", "Who_Id": {"id": contact["id"]}})
        await hand("DELETE", f"Tasks/{task['id']}")
    site.database.execute("delete from cdc.journal")
    chronicle.kept_home.add(AWARD)

    with pytest.raises(AssertionError) as caught:
        await verify(site, chronicle)

    for complaint in (
        f"contact {AWARD}: may not be there",
        f"contact {AWARD}: was there, and should have stayed at home",
        f"contact {PERSON}: Level is 'Sage'",
        f"contact {PERSON}: version 1 after 2",
        "task invented: never happened",
        f"task {task['Event_ID']}: missing",
        f"note {_only(chronicle, AWARD)}: 2 of them",
        f"note {reference(_only(chronicle, AWARD))}: there twice",
        f"ledger: quest_completions has {task['id']}",
        "journal: 0 row changes of",
    ):
        assert complaint in str(caught.value)


def _only(chronicle: Chronicle, row: str) -> str:
    return next(event for event in chronicle.shown if event.startswith(row))
