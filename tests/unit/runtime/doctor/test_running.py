"""Whatever becomes of one check, the others go on."""

from __future__ import annotations

import asyncio

import psycopg

from cdc.errors import StateError
from cdc.runtime.doctor.check import Check, Look
from cdc.runtime.doctor.examination import Examination
from cdc.runtime.doctor.finding import Finding, Findings, Level, ok, problem, skipped, warning
from cdc.runtime.doctor.running import examine
from cdc.settings import Settings
from sinks.errors import SinkError
from sinks.reasons import Reason

ROW_VALUE = "ada@example.org"


def check(name: str, look: Look, *needs: str, seconds: float = 5.0) -> Check:
    return Check(id=name, looks_at="a thing", look=look, needs=needs, seconds=seconds)


async def run(*checks: Check) -> list[Finding]:
    return [finding async for finding in examine(checks, Examination(Settings()))]


async def fine(_: Examination) -> Findings:
    return ok("fine")


async def broken(_: Examination) -> Findings:
    return [problem("broken", why="it matters", fix="mend it")]


async def odd(_: Examination) -> Findings:
    return [warning("odd", why="it matters", fix="look")]


async def absent(_: Examination) -> Findings:
    return skipped("there is none: nobody wanted one")


async def test_a_chain_ends_at_its_first_broken_link_and_others_go_on() -> None:
    found = await run(
        check("a", broken), check("b", fine, "a"), check("c", fine, "b"), check("d", fine), check("e", fine, "d", "a")
    )
    assert [(f.check, f.level) for f in found] == [
        ("a", Level.PROBLEM), ("b", Level.SKIPPED), ("c", Level.SKIPPED), ("d", Level.OK), ("e", Level.SKIPPED),
    ]  # fmt: skip
    assert {f.what for f in found if f.level is Level.SKIPPED} == {"not looked at: a failed"}


async def test_a_warning_breaks_no_chain_and_what_does_not_apply_does() -> None:
    found = await run(check("a", odd), check("b", fine, "a"), check("c", absent), check("d", fine, "c"))
    assert [f.level for f in found] == [Level.WARNING, Level.OK, Level.SKIPPED, Level.SKIPPED]
    assert found[-1].what == "not looked at: there is none"


async def test_a_check_that_takes_too_long_is_cut_off() -> None:
    async def endless(_: Examination) -> Findings:
        await asyncio.Event().wait()
        return ok("never")

    found = await run(check("a", endless, seconds=0.02), check("b", fine))
    assert [f.level for f in found] == [Level.PROBLEM, Level.OK]
    assert found[0].what == "no answer within 0.02 s"
    assert found[0].fix


async def test_errors_become_findings_without_a_word_of_the_server() -> None:
    async def ours(_: Examination) -> Findings:
        raise StateError("the schema is missing", fix="run `cdc setup`")

    async def theirs(_: Examination) -> Findings:
        raise SinkError(Reason.UNAVAILABLE, "ConnectError")

    async def the_server_s(_: Examination) -> Findings:
        raise psycopg.errors.CheckViolation(f"({ROW_VALUE}) violates")

    async def the_machine_s(_: Examination) -> Findings:
        raise OSError(ROW_VALUE)

    found = await run(*[check(look.__name__, look) for look in (ours, theirs, the_server_s, the_machine_s)])
    assert [f.level for f in found] == [Level.PROBLEM] * 4
    assert all(f.why and f.fix for f in found)
    assert found[0].fix == "run `cdc setup`"
    assert found[1].what.startswith("UNAVAILABLE")
    assert "CheckViolation" in found[2].what
    assert ROW_VALUE not in str(found)
