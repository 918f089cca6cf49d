"""What people are told of alerts. Never a name, an address or a value of a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdc.state.alerts import Alert, Severity
from cdc.watch.alerts.life import Kind, Step
from cdc.watch.alerts.rule import Rule, duration

_ORDER: Final = (Kind.ESCALATED, Kind.OPENED, Kind.REMINDED, Kind.RESOLVED)


@dataclass(frozen=True, slots=True)
class Links:
    """Where people read on.

    Attributes:
        runbook: the page; the section's anchor is put behind it.
        dashboard: address of ours, if it is known.
    """

    runbook: str = "docs/runbook.md"
    dashboard: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One alert in a message."""

    kind: Kind
    name: str
    severity: Severity
    text: str
    value: float | None
    opened_at: datetime
    command: str
    runbook: str


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out, the same through every channel.

    Attributes:
        id: the same when it is sent again because nobody wrote down that it was.
    """

    id: str
    pipeline: str
    at: datetime
    items: Sequence[Item]
    dashboard: str | None = None

    @property
    def subject(self) -> str:
        """One line."""
        first = self.items[0]
        tag = _tag(first.kind, first.severity)
        if len(self.items) == 1:
            return f"{tag} {first.name} on {self.pipeline}"
        return f"{tag} {first.name} and {len(self.items) - 1} more on {self.pipeline}"

    @property
    def text(self) -> str:
        """All of it."""
        parts = [item.text for item in self.items]
        if self.dashboard:
            parts.append(f"Dashboard: {self.dashboard}")
        return "\n\n".join(parts)

    @property
    def summary(self) -> str:
        """Kinds and names, for the record."""
        return ", ".join(f"{item.name} {item.kind.value}" for item in self.items)

    def payload(self, items: Sequence[Item]) -> dict[str, Any]:
        """Give some of the items as JSON values."""
        return {
            "pipeline": self.pipeline,
            "dashboard": self.dashboard,
            "alerts": [
                {
                    "name": item.name,
                    "severity": item.severity.value,
                    "text": item.text,
                    "value": item.value if item.value is None or abs(item.value) != float("inf") else None,
                    "opened_at": item.opened_at.isoformat(),
                    "command": item.command,
                    "runbook": item.runbook,
                }
                for item in items
            ],
        }


def compose(due: Sequence[Step], pipeline: str, links: Links, now: datetime) -> Message:
    """Put what is due into one message, the worst first."""
    items = [
        _item(step.rule, step.due, step.alert, pipeline, links, now)
        for step in due
        if step.due is not None and step.alert is not None
    ]
    items.sort(key=lambda item: (_ORDER.index(item.kind), -item.severity.rank))
    facts = [
        f"{step.rule.name} {step.due} {step.alert.opened_at.isoformat()} {step.state.notified_at}"
        for step in due
        if step.alert is not None
    ]
    digest = hashlib.sha256("\n".join([pipeline, *sorted(facts)]).encode()).hexdigest()
    return Message(f"msg_{digest[:24]}", pipeline, now, items, links.dashboard)


def trial_message(pipeline: str, links: Links, now: datetime) -> Message:
    """Make the message of `cdc alerts test`."""
    text = f"[TEST] This is what an alert of {pipeline} looks like; nothing is wrong. Do: cdc status."
    item = Item(Kind.OPENED, "CdcTest", Severity.INFO, text, None, now, "cdc status", links.runbook)
    return Message(f"msg_test{now.timestamp():.0f}", pipeline, now, [item], links.dashboard)


def _item(rule: Rule, kind: Kind, alert: Alert, pipeline: str, links: Links, now: datetime) -> Item:
    runbook = f"{links.runbook}#{rule.anchor}"
    text = f"{_tag(kind, alert.severity)} {_sentence(rule, kind, alert, pipeline, now)} Runbook: {runbook}"
    return Item(kind, rule.name, alert.severity, text, alert.value, alert.opened_at, rule.command, runbook)


def _sentence(rule: Rule, kind: Kind, alert: Alert, pipeline: str, now: datetime) -> str:
    if kind is Kind.RESOLVED:
        lasted = duration(((alert.resolved_at or now) - alert.opened_at).total_seconds())
        return f"{rule.name} on {pipeline} is over, after {lasted}."
    what = rule.say(alert.value)
    detail = f" ({alert.detail})" if alert.detail else ""
    since = duration((now - alert.opened_at).total_seconds())
    again = "Still: " if kind is Kind.REMINDED else ""
    what = again + (what if again else what[:1].upper() + what[1:])
    following = rule.next[:1].upper() + rule.next[1:]
    return f"{what}{detail} on {pipeline}, for {since}. {following}. Do: {rule.command}."


def _tag(kind: Kind, severity: Severity) -> str:
    return "[RESOLVED]" if kind is Kind.RESOLVED else f"[{severity.value.upper()}]"
