"""The pipeline is killed at the instants at which nobody can say whether the CRM has a record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.conftest import MakeSite
from tests.support.oracle import Chronicle, verify
from tests.support.pipeline import Child, Site
from tests.support.proxy import Line, proxy
from tests.support.somebody import make_somebody
from tests.support.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

_MODULES = ("Contacts", "Tasks", "Notes")
_FEEDS = {"Contacts": "contacts", "Tasks": "quest_completions", "Notes": "badges_earned"}


async def _struck(site: Site) -> bool:
    """Tell whether the first rule has struck."""
    return bool((await site.crm.faults())[0]["struck"])


async def _sending(site: Site, module: str) -> int:
    [(number,)] = site.database.execute(
        "select count(*) from cdc.ledger where state = 'sending' and feed = %s", [_FEEDS[module]]
    )
    return int(number)


async def _creates(site: Site, module: str) -> list[dict[str, Any]]:
    return [c for c in await site.crm.calls() if c["module"] == module and c["kind"] in ("insert", "upsert")]


@pytest.mark.long
@pytest.mark.parametrize(("action", "there"), [("apply_then_hang", 1), ("hang", 0)])
async def test_a_kill_with_each_kind_of_record_on_its_way(make_site: MakeSite, action: str, there: int) -> None:
    """With `apply_then_hang` Zoho has it and we never heard; with `hang` it says `sending`, and Zoho has nothing."""
    site = await make_site()
    chronicle = make_somebody(site.database)
    for number, module in enumerate(_MODULES):
        later = [{"action": "hang", "kind": "insert", "module": other} for other in _MODULES[number + 1 :]]
        await site.crm.break_with({"action": action, "kind": ["insert", "upsert"], "module": module}, *later)
        running = await site.start("run")
        await until(lambda: _struck(site), 40, what=f"a call for {module} is under way")
        assert await _sending(site, module) == 1
        await running.kill()
        assert len(await site.crm.records(module)) == there
        await site.crm.mend()
        site.let_pauses_end()

    await site.settle()

    await verify(site, chronicle)
    assert len(await _creates(site, "Contacts")) >= 2, "the call whose end nobody knows was not made up for"


async def _until_settling(site: Site) -> None:
    waiting = "select 1 from pg_locks where relation = 'cdc.zoho_sync_log'::regclass and not granted"
    await until(lambda: site.database.execute(waiting), 40, what="a batch is about to be settled")


@pytest.mark.long
async def test_a_kill_in_the_middle_of_settling(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle = make_somebody(site.database)
    for _ in _MODULES:
        with site.database.connect() as holder:
            holder.execute("begin; lock table cdc.zoho_sync_log in share row exclusive mode")
            running = await site.start("run")
            await _until_settling(site)
            await running.kill()
            holder.execute("commit")
        assert site.database.execute("select count(*) from cdc.zoho_sync_log") == [(0,)], "it was settled all the same"

    await site.settle()

    await verify(site, chronicle)


@pytest.mark.long
async def test_a_kill_when_it_was_settled_and_nobody_was_told(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle = make_somebody(site.database)
    logged: set[int] = set()
    deaf: set[int] = set()

    def committed(line: Line, data: bytes) -> bool:
        """From the commit of a batch on, its connection hears nothing more."""
        if b"insert into cdc.zoho_sync_log" in data:
            logged.add(id(line))
        elif id(line) in logged and b"COMMIT" in data.upper():
            deaf.add(id(line))
        return False

    async with proxy(site.database.dsn) as wire:
        wire.hold, wire.hold_answers = committed, lambda line, _: id(line) in deaf
        site.settings["CDC_STATE_DSN"] = wire.dsn
        running = await site.start("run")
        await _logged(site, running)
        assert deaf, "the commit was not seen"
        await running.kill()
        del site.settings["CDC_STATE_DSN"]

    await site.settle()

    await verify(site, chronicle)
    assert len(await _creates(site, "Contacts")) == 1, "what was settled was sent once more"


async def _logged(site: Site, running: Child) -> None:
    done = "select 1 from cdc.zoho_sync_log where status = 'success' and sync_type = 'contacts'"
    await until(lambda: site.database.execute(done), 40, what=f"a batch is settled\n{running.tail()}")


@pytest.mark.long
async def test_a_kill_between_the_claim_and_the_call(make_site: MakeSite) -> None:
    site = await make_site()
    chronicle: Chronicle = make_somebody(site.database)
    with site.database.connect() as holder:
        holder.execute("begin; lock table cdc.ledger in share row exclusive mode")  # `sending` can't be written down
        running = await site.start("run")
        waiting = "select 1 from pg_locks where relation = 'cdc.ledger'::regclass and not granted"
        await until(lambda: site.database.execute(waiting), 40, what="a batch is about to say `sending`")
        assert await _creates(site, "Contacts") == []
        await running.kill()
        holder.execute("commit")

    await site.settle()

    await verify(site, chronicle)
