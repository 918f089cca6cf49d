"""One person with one of everything, and somebody else who works in the same CRM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.oracle import Chronicle
from tests.support.pipeline import Crm
from tests.support.postgres import Database

PERSON, ENROLMENT, AWARD = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
Write = Callable[..., Awaitable[None]]


def make_somebody(database: Database) -> Chronicle:
    """A contact, a task and a note: one person with a completed quest and a badge."""
    execute = database.execute
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
async def somebody_else(crm: Crm) -> AsyncIterator[Write]:
    """Write to the CRM with a token of one's own, as a person or another program does."""
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
