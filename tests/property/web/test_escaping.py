"""Whatever stands in keys, details, reasons, names and words, the pages show it as text and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.routing.feeds import Lane
from cdc.state.audit import Entry
from cdc.state.failures import Failure
from cdc.state.held import Cause, HeldGroup, HeldKey, Kind
from cdc.state.openalerts import OpenAlert
from cdc.state.operations import Filter, Operation
from cdc.watch.condition import Condition, State
from cdc.web.access import Role, Visitor
from cdc.web.dashboard import formats, tables
from cdc.web.dashboard.failures import Why
from cdc.web.dashboard.figures import figures
from cdc.web.dashboard.ground import link
from cdc.web.dashboard.panels import PANELS, Filled
from cdc.web.dashboard.path import Mark, stages
from cdc.web.rendering import templates
from tests.support.status import NOW, pause, status

hostile = st.text(st.sampled_from("<>&\"'/=;- abc\u202e\u2028{}%`\\"), max_size=30) | st.sampled_from(
    [
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' or 1=1; drop table cdc.outbox; --",
        "{{ 7 * 7 }}", "{% raw %}", "javascript:alert(1)", "</textarea></select></table><h1>", "<!--", "&lt;b&gt;",
        "' onmouseover='alert(1)", "<svg/onload=alert(1)>",
    ]
)  # fmt: skip


class Skeleton(HTMLParser):
    """A page's elements with the names of their attributes, addresses and all; no text and no values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in {"href", "action", "src"}]
        self.texts += [value or "" for name, value in attrs if name in {"value", "title", "aria-label"}]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(template: str, text: str, **values: Any) -> Skeleton:
    common = {
        "visitor": Visitor(text or "nobody", Role.OPERATOR), "may_act": True, "csrf": "c", "told": text, "path": "/",
        "fmt": formats, "Mark": Mark, "link": link,
    }  # fmt: skip
    return Skeleton(templates().get_template(f"dashboard/{template}").render({**common, **values}))


def failures_page(text: str) -> Skeleton:
    row = Failure(
        feed=text, key=text, lane=Lane.LIVE, reason=text, detail=text, attempts=1, parked_at=NOW, dirty_at=NOW,
        first_lsn=None, last_lsn=None,
    )  # fmt: skip
    asked: Mapping[str, str] = {"reason": "r", "feed": "f", "since": "s", "key": text or "k"}
    return rendered(
        "failures.html", text, rows=[row], next="n", total=1, held=0, summary=[Why(text, text, 1)], asked=asked,
        criteria={**asked, "feed": text or "f"}, reasons=[text], feeds=[text], sinces=[text], is_filtered=True,
        back=text,
    )  # fmt: skip


def held_page(text: str) -> Skeleton:
    group = HeldGroup(
        feed=text,
        kind=Kind.REWRITE,
        keys=1,
        since=NOW,
        as_of=1,
        causes=[Cause(text, 1)],
        fields={text: 1},
        sample=[text],
    )
    keys = [HeldKey(text, text, NOW, NOW)]
    return rendered("held.html", text, groups=[group], keys=keys, chosen=True)


def home_page(text: str) -> Skeleton:
    held = HeldGroup(feed=text, kind=Kind.REWRITE, keys=1, since=NOW, as_of=1)
    operation = Operation(NOW, text, text, "failed", text, text, text, text, 1, 5)
    entry = Entry(id=1, at=NOW, actor=text, action=text, subject=text, count=1, because=text)
    now = status(pauses=[pause("BY_HAND", text, detail=text)])
    now = replace(now, workers=[replace(now.workers[0], host=text)], pipeline=text)
    values: Mapping[str, Mapping[str, Any]] = {
        "path": {"stages": stages(now)},
        "alerts": {"alerts": [tables.told(OpenAlert(text, text, 1.0, text, NOW, text, NOW))]},
        "held": {"groups": [held]},
        "workers": {"workers": now.workers, "token": None, "doorbell": None},
        "activity": {"operations": [operation], "wanted": Filter(feed=None, status=None, record_id=text or "r")},
        "audit": {"entries": [entry]},
    }
    return rendered(
        "home.html", text, status=now, condition=Condition(State.DEGRADED, text, text, text, text, NOW),
        mark="attention", figures=figures(now), feeds=[text], lengths=[text], runbook="docs/runbook.md",
        is_linked=False,
        panels=[Filled(panel, values[panel.name]) for panel in PANELS if panel.name in values],
    )  # fmt: skip


@settings(max_examples=60)
@given(hostile.filter(bool))
def test_a_page_has_the_same_elements_whatever_is_in_it(text: str) -> None:
    for page in (failures_page, held_page, home_page):
        plain, made = page("word"), page(text)
        assert made.elements == plain.elements
        assert all(address.startswith(("/", "#", "data:,")) for address in made.addresses if address)
        assert not any(address.startswith("//") for address in made.addresses)


@given(hostile.filter(lambda text: len(text) > 3))
def test_what_is_shown_is_what_was_there(text: str) -> None:
    assert any(text in shown for shown in failures_page(text).texts)
    assert any(text in shown for shown in held_page(text).texts)
