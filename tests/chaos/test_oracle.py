"""The oracle of these tests must notice what it is there for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from sinks.zoho.notes import reference
from tests.chaos.conftest import MakeSite
from tests.support.oracle import Chronicle, verify
from tests.support.pipeline import Crm, Site

pytestmark = pytest.mark.chaos

Write = Callable[..., Awaitable[None]]

PERSON, ENROLMENT, AWARD = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


async def test_it_notices_every_kind_of_damage(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle = _make_somebody(site)
    await site.settle()
    await verify(site, chronicle)
    [contact], [task], [note] = [await site.crm.records(m) for m in ("Contacts", "Tasks", "Notes")]

    async with _somebody_else(site.crm) as hand:
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


def _make_somebody(site: Site) -> Chronicle:
    execute = site.database.execute
    execute("insert into auth.users (id) values (%s)", [PERSON])
    execute(
        "insert into public.users (id, last_name, role, display_name) values (%s, 'One', 'parent', 'One 00000000 v2')",
        [PERSON],
    )
    [(quest,)] = execute("insert into public.quests (title) values ('Quest') returning id")
    [(badge,)] = execute(
        "insert into public.badges (name, identity_statement, description, pillar_primary)"
        " values ('Badge', 'I am', 'A badge', 'stem') returning id"
    )
    [(completion,)] = execute(
        "insert into public.user_quests (id, user_id, quest_id, completed_at) values (%s, %s, %s, now())"
        " returning cdc.event_id(id, completed_at)",
        [ENROLMENT, PERSON, quest],
    )
    [(award,)] = execute(
        "insert into public.user_badges (id, user_id, badge_id, badge_type, completed_at)"
        " values (%s, %s, %s, 'exploration', now()) returning cdc.event_id(id, completed_at)",
        [AWARD, PERSON, badge],
    )
    return Chronicle(shown={completion: PERSON, award: PERSON})


@asynccontextmanager
async def _somebody_else(crm: Crm) -> AsyncIterator[Write]:
    """Somebody who writes to the CRM with a token of their own."""
    access = crm.access
    form = {
        "grant_type": "refresh_token",
        "refresh_token": access.refresh_token,
        "client_id": access.client_id,
        "client_secret": access.client_secret,
    }
    async with httpx.AsyncClient(base_url=access.url) as http:
        token = (await http.post("/oauth/v2/token", data=form)).json()["access_token"]

        async def write(method: str, path: str, record: dict[str, Any] | None = None) -> None:
            body = None if record is None else {"data": [record], "trigger": []}
            headers = {"Authorization": f"Zoho-oauthtoken {token}"}
            answer = await http.request(method, f"/crm/v8/{path}", json=body, headers=headers)
            assert answer.status_code < 300, answer.text

        yield write
