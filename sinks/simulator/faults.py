"""Faults on demand: rules that say which calls go wrong, and how."""

from __future__ import annotations

import asyncio
import random
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sinks.simulator.answers import Answer, Item, Json, error
from sinks.simulator.ask import Ask
from sinks.simulator.kinds import Kind

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Action(StrEnum):
    """What a rule does to a call."""

    REFUSE = "refuse"  # refuse single records with a code; the others are carried out
    DELAY = "delay"  # wait, then carry out
    SLOW = "slow"  # the same, for every call
    HANG = "hang"  # never answer and carry nothing out
    LOSE = "lose"  # cut the connection and carry nothing out
    APPLY_THEN_LOSE = "apply_then_lose"  # carry out, then cut the connection
    APPLY_THEN_HANG = "apply_then_hang"  # carry out, then never answer
    STATUS = "status"  # answer with a status and a body of the rule's own
    HTML_502 = "html_502"  # 502 with a page, as a proxy sends it
    CREDITS_GONE = "credits_gone"  # 429 with nothing left
    WRONG_SCOPE = "wrong_scope"  # 401 OAUTH_SCOPE_MISMATCH
    REVOKE_TOKEN = "revoke_token"  # noqa: S105  # the refresh token is revoked just before the call
    INVALIDATE_ACCESS_TOKENS = "invalidate_access_tokens"  # every access token dies just before the call
    SHORT_ANSWER = "short_answer"  # the last item of data[] is left out
    REORDER_ANSWER = "reorder_answer"  # data[] comes in reverse
    HOLD_JOB = "hold_job"  # a bulk job stays INPROGRESS until the faults are cleared
    FAIL_JOB = "fail_job"  # half of a bulk job's rows are written, then it is FAILED and has no result
    CUT_JOB = "cut_job"  # half of a bulk job's rows are written, the others are UNPROCESSED


class FaultRule(BaseModel):
    """One rule. Without `times` and `probability` it strikes every call that it matches.

    Attributes:
        action: what happens.
        kind: only calls of this kind, or of one of these.
        module: only calls on this module.
        method: only calls by this HTTP method.
        path: only paths that this shell pattern matches, such as `/crm/v8/*/upsert`.
        skip: matching calls that pass before the rule strikes.
        times: strikes before the rule is spent; None for no end.
        probability: chance to strike, for each call; for `refuse`, for each record.
        seed: of the chance, so that a run can be repeated.
        seconds: of `delay` and `slow`.
        status: of `status`.
        body: of `status`: a JSON value, or text sent as it is.
        headers: of `status`.
        code: of `refuse`: Zoho's code.
        message: of `refuse`.
        details: of `refuse`, beside what is filled in.
        records: of `refuse`: positions in the call; None for all.
        where: of `refuse`: only records that hold all these values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action
    kind: Kind | tuple[Kind, ...] | None = None
    module: str | None = None
    method: str | None = None
    path: str | None = None
    skip: Annotated[int, Field(ge=0)] = 0
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int = 0
    seconds: Annotated[float, Field(ge=0)] = 1.0
    status: Annotated[int, Field(ge=200, le=599)] = 500
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    code: str = "INVALID_DATA"
    message: str = "invalid data"
    details: dict[str, Any] = Field(default_factory=dict)
    records: tuple[int, ...] | None = None
    where: dict[str, Any] | None = None

    def matches(self, ask: Ask) -> bool:
        """Whether the rule is about such a call."""
        kinds = (self.kind,) if isinstance(self.kind, Kind) else self.kind
        return (
            (kinds is None or ask.kind in kinds)
            and self.module in (None, ask.module)
            and self.method in (None, ask.method)
            and (self.path is None or fnmatchcase(ask.path, self.path))
        )

    def item(self) -> Item:
        """The item a refused record gets."""
        return error(self.code, self.message, self.details)

    def answer(self) -> Answer | None:
        """The answer the rule gives in place of the simulator's, if it gives one."""
        match self.action:
            case Action.STATUS:
                if isinstance(self.body, str):
                    headers = {"content-type": "text/html", **self.headers}
                    return Answer(status=self.status, body=self.body.encode(), headers=headers)
                body = self.body if self.body is not None else _DEFAULT_BODIES.get(self.status, _INTERNAL)
                return Answer(status=self.status, body=body, headers=dict(self.headers))
            case Action.HTML_502:
                return Answer(status=502, body=HTML, media_type="text/html")
            case Action.CREDITS_GONE:
                return Answer(status=429, body=_DEFAULT_BODIES[429], headers={"X-API-CREDITS-REMAINING": "0"})
            case Action.WRONG_SCOPE:
                return Answer(status=401, body=error("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"))
            case _:
                return None


_INTERNAL: Json = error("INTERNAL_ERROR", "Internal server error occurred.")
_DEFAULT_BODIES: dict[int, Json] = {
    429: error("TOO_MANY_REQUESTS", "You have made too many requests. Please try again after some time."),
    503: error("SERVICE_UNAVAILABLE", "the service is unavailable"),
}


class Strike:
    """What the rules that struck do to one call, put together."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.delay = 0.0
        self.answer: Answer | None = None
        self.refused: dict[int, Item] = {}

    def refuse(self, place: int, _: Json) -> Item | None:
        """The item to refuse a record with, by its position."""
        return self.refused.get(place)

    def has(self, *actions: Action) -> bool:
        """Whether one of these actions struck."""
        return any(action in self.actions for action in actions)

    def add(self, rule: FaultRule) -> None:
        """Take a rule that struck into account."""
        self.actions.append(rule.action)
        if rule.action in (Action.DELAY, Action.SLOW):
            self.delay += rule.seconds
        self.answer = self.answer or rule.answer()


class _Armed:
    """A rule with what has come of it so far."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.seen = 0
        self.struck = 0
        self._chance = random.Random(rule.seed)  # noqa: S311  # a repeatable chance, no secret

    @property
    def spent(self) -> bool:
        return self.rule.times is not None and self.rule.action is not Action.SLOW and self.struck >= self.rule.times

    def happens(self) -> bool:
        return self.rule.probability is None or self._chance.random() < self.rule.probability

    def apply(self, ask: Ask, strike: Strike) -> None:
        if self.spent or not self.rule.matches(ask):
            return
        refused = self._positions(ask) if self.rule.action is Action.REFUSE else None
        if refused == []:
            return
        self.seen += 1
        if self.seen <= self.rule.skip or (refused is None and not self.happens()):
            return
        self.struck += 1
        strike.add(self.rule)
        for place in refused or ():
            strike.refused.setdefault(place, self.rule.item())

    def _positions(self, ask: Ask) -> list[int]:
        """Positions of the records to refuse."""
        chosen = range(ask.records) if self.rule.records is None else self.rule.records
        return [place for place in chosen if place < ask.records and self._fits(ask, place) and self.happens()]

    def _fits(self, ask: Ask, place: int) -> bool:
        if self.rule.where is None:
            return True
        record = ask.record(place)
        return all(name in record and record[name] == value for name, value in self.rule.where.items())

    def as_json(self) -> Json:
        return {**self.rule.model_dump(mode="json", exclude_defaults=True), "struck": self.struck, "spent": self.spent}


class Faults:
    """The rules in force, in the order they were set."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._cleared = asyncio.Event()

    def add(self, *rules: FaultRule) -> None:
        """Put rules in force, beside those that are."""
        self._armed.extend(map(_Armed, rules))

    def clear(self) -> None:
        """Take every rule out of force."""
        self._armed.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    @property
    def cleared(self) -> asyncio.Event:
        """Set when the rules that are in force now are taken out of it."""
        return self._cleared

    def strike(self, ask: Ask) -> Strike:
        """What happens to a call; the rules that strike are counted."""
        strike = Strike()
        for armed in self._armed:
            armed.apply(ask, strike)
        return strike

    def as_json(self) -> list[Json]:
        """The rules and how often each struck."""
        return [armed.as_json() for armed in self._armed]
