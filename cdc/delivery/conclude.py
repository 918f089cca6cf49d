"""Turns plans and answers into what is to be recorded. Pure: no I/O, no clock, no chance of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from cdc.delivery.calls import Answers
from cdc.delivery.planner import Plan, Planned
from cdc.delivery.policy import POLICIES, Policy, Response, is_used_up, pause_seconds, wait_seconds
from cdc.routing.feeds import Feed, Lane
from cdc.routing.windows import seconds_until_window_ends
from cdc.state.claims import Claim
from cdc.state.ledger import LedgerChange, Sent
from cdc.state.settle import Fate, Verdict
from cdc.state.synclog import LogLine, Status
from sinks.base import Action, Delivered, Effect, Operation, Outcome, Refused
from sinks.reasons import Reason


@dataclass(frozen=True, slots=True)
class Held:
    """What the breaker holds of a key: one kind of operation, in the words of `cdc.state.held`."""

    action: Action
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One claimed key with everything that is known about it after the calls.

    Attributes:
        plan: None if the batch ended before the key was planned.
        missing: needed parents that are on their way; those that will never come are left out.
        held: what the breaker holds of it.
        unsent: record ids whose create wasn't allowed to go, since the parent left meanwhile.
    """

    claim: Claim
    plan: Plan | None = None
    missing: frozenset[str] = frozenset()
    held: Held | None = None
    unsent: frozenset[str] = frozenset()

    def sends(self, operation: Operation) -> bool:
        """Tell whether nothing holds an operation of this key back."""
        held = self.held is not None and operation.action is self.held.action
        return not held and operation.record_id not in self.unsent


@dataclass(slots=True)
class Conclusion:
    """What is to be recorded of one batch.

    Attributes:
        created: record ids that the sink didn't hold before; their dependents may go now.
        withdrawn: record ids that it holds no longer.
        moved: record ids that are other CRM records than before; their dependents hang on nothing.
        lost_parents: parents that our ledger has and the sink hasn't.
        effects: name of each operation's outcome, for the counters.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    row_hashes: dict[str, bytes] = field(default_factory=dict)
    log: list[LogLine] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    lost_parents: set[str] = field(default_factory=set)
    effects: list[str] = field(default_factory=list)
    pausing: Refused | None = None

    @property
    def bereaved(self) -> list[str]:
        """Record ids whose dependents lose the CRM record that they hang on."""
        return [*self.withdrawn, *self.moved]

    def ledger_change(self, feed: Feed, dependents: Sequence[Feed]) -> LedgerChange:
        """Give the ledger's part."""
        return LedgerChange(
            feed=feed.name,
            sent=self.sent,
            withdrawn=self.withdrawn,
            unsent=self.unsent,
            row_hashes=self.row_hashes,
            bereaved=self.bereaved,
            orphaning=[d.name for d in dependents],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What holds for the whole batch.

    Attributes:
        now: the database's time of the claim.
        jitter: from 0 to 1.
        lane_seconds: length of a lane's window.
        release_seconds: when keys that had no chance may be claimed again.
        reserved: log lines that are there already, by record id.
        judged: how the breaker counts an operation, by record id.
        loop_time: the event loop's, now that the calls are over.
    """

    feed: Feed
    now: datetime
    jitter: float
    lane_seconds: Mapping[Lane, float]
    release_seconds: float = 0.0
    reserved: Mapping[str, UUID] = field(default_factory=dict)
    judged: Mapping[str, str] = field(default_factory=dict)
    loop_time: float = 0.0


def conclude(context: Context, cases: Sequence[Case], answers: Answers) -> Conclusion:
    """Decide the fate of every key of a batch."""
    result = Conclusion()
    for case in cases:
        if case.plan is None:
            result.verdicts.append(_verdict(context, case, Plan(key=case.claim.key), [], open_=True, owes=False))
        else:
            _conclude_key(context, case, case.plan, answers, result)
    return result


def _conclude_key(context: Context, case: Case, plan: Plan, answers: Answers, result: Conclusion) -> None:
    result.row_hashes |= {r.record_id: r.row_hash for r in plan.refresh}
    setbacks = [_Setback(POLICIES[r.reason], r) for r in plan.refused]
    for refused in plan.refused:
        _log_refusal(context, case, None, refused, result)
    owes, open_ = plan.again, False
    for planned in plan.planned:
        operation = planned.operation
        outcome = _as_wanted(operation, answers.outcomes.get(operation.record_id))
        if isinstance(outcome, Delivered):
            owes |= _delivered(context, case, planned, outcome, result)
        elif outcome is not None:
            setbacks.append(_refused(context, case, planned, outcome, answers, result))
        elif case.sends(operation):
            open_ = True
            _not_answered(planned, answers, result)
    verdict = _verdict(context, case, plan, setbacks, open_=open_, owes=owes)
    rest = _rest(context, plan, answers)
    result.verdicts.append(replace(verdict, rest=rest, due_in=max(rest, verdict.due_in)))


def _rest(context: Context, plan: Plan, answers: Answers) -> float:
    """Let a key whose answer was lost alone until its call is surely over.

    The sink may carry it out late. A repeat that overtakes it would double a note, or lose its newer value to the
    older one.
    """
    ends = [answers.doubtful.get(planned.operation.record_id, 0.0) for planned in plan.planned]
    return max(0.0, max(ends, default=0.0) - context.loop_time)


def _as_wanted(operation: Operation, outcome: Outcome | None) -> Outcome | None:
    """Take a record that was gone before we withdrew it for withdrawn."""
    gone = isinstance(outcome, Refused) and outcome.reason is Reason.RECORD_GONE
    if gone and operation.action is Action.WITHDRAW:
        return Delivered(record_id=operation.record_id, crm_id=operation.crm_id, effect=Effect.WITHDRAWN)
    return outcome


@dataclass(frozen=True, slots=True)
class _Setback:
    """A refusal and how it is met."""

    policy: Policy
    refused: Refused


def _delivered(context: Context, case: Case, planned: Planned, outcome: Delivered, result: Conclusion) -> bool:
    """Note a success. Tells whether the record is owed more."""
    operation = planned.operation
    result.effects.append(outcome.effect.value)
    result.log.append(_line(context, case, planned, operation.record_id, Status.SUCCESS, crm_id=outcome.crm_id))
    if operation.action is Action.WITHDRAW:
        result.withdrawn.append(operation.record_id)
        return False
    made_anew = operation.action is Action.UPDATE and _is_another(operation, outcome)
    # An earlier attempt may have carried older values; an event has no others.
    stale = operation.action is Action.CREATE and outcome.effect is Effect.FOUND and context.feed.once is None
    hashes = dict(planned.field_hashes)
    if made_anew:
        hashes = {name: digest for name, digest in hashes.items() if name in operation.fields}
    elif stale:
        hashes = {}
    partial = hashes.keys() != planned.field_hashes.keys()
    if operation.action is Action.CREATE or made_anew:
        result.created.append(operation.record_id)
    if made_anew:
        result.moved.append(operation.record_id)
    result.sent.append(
        Sent(
            record_id=operation.record_id,
            key=planned.key,
            parent_id=planned.parent_id,
            crm_id=outcome.crm_id or operation.crm_id,
            field_hashes=hashes,
            row_hash=None if partial else planned.row_hash,
            lsn=case.claim.last_lsn,
        )
    )
    return partial


def _is_another(operation: Operation, outcome: Delivered) -> bool:
    """Tell whether an update met another CRM record than the one we knew, which holds only what was sent.

    Made just now; or under another id, when the answer of the call that made it was lost or somebody merged records.
    """
    other_id = None not in (operation.crm_id, outcome.crm_id) and operation.crm_id != outcome.crm_id
    return outcome.effect is Effect.CREATED or other_id


def _refused(
    context: Context, case: Case, planned: Planned, refused: Refused, answers: Answers, result: Conclusion
) -> _Setback:
    operation = planned.operation
    policy = POLICIES[refused.reason]
    if operation.record_id in answers.culprits:
        policy = POLICIES[Reason.INVALID_VALUE]  # it spoils every call that it is in: a data fault, whatever the code
    if refused.reason is Reason.RECORD_GONE and operation.action is Action.UPDATE:
        result.withdrawn.append(operation.record_id)
    elif operation.action is Action.CREATE:
        _not_answered(planned, answers, result)
        if refused.reason in _PARENT_LOST and planned.parent_id is not None:
            result.lost_parents.add(planned.parent_id)
    if policy.response is Response.PAUSE:
        result.pausing = result.pausing or refused
        result.effects.append("paused")
    else:
        parks = policy.response is Response.PARK or is_used_up(policy, case.claim.attempts + 1)
        result.effects.append("parked" if parks else "retrying")
        _log_refusal(context, case, planned, refused, result)
    return _Setback(policy, refused)


_PARENT_LOST = frozenset({Reason.PARENT_NOT_DELIVERED, Reason.RECORD_GONE})


def _not_answered(planned: Planned, answers: Answers, result: Conclusion) -> None:
    """Take back `sending` from a create that certainly wasn't carried out, neither now nor before."""
    operation = planned.operation
    if operation.record_id in answers.doubtful:
        result.effects.append("unknown")
    elif operation.action is Action.CREATE and not operation.uncertain:
        result.unsent.append(operation.record_id)


def _verdict(
    context: Context, case: Case, plan: Plan, setbacks: Sequence[_Setback], *, open_: bool, owes: bool
) -> Verdict:
    """Find the key's fate: the gravest of what happened to its records."""
    claim = case.claim

    def verdict(fate: Fate, due_in: float = 0.0, because: Refused | None = None, *, counted: bool = False) -> Verdict:
        return Verdict(
            key=claim.key,
            generation=claim.generation,
            fate=fate,
            due_in=due_in,
            attempts=claim.attempts + counted,
            reason=None if because is None else because.reason.name,
            detail=None if because is None else _words(because),
        )

    for setback in setbacks:
        if setback.policy.response is Response.PARK or is_used_up(setback.policy, claim.attempts + 1):
            return verdict(Fate.PARK, because=setback.refused, counted=True)
    if case.held is not None:
        held = Refused(record_id=claim.key, reason=Reason.HELD_BY_BREAKER, detail=case.held.words)
        return verdict(Fate.PARK, because=held)
    if open_ or any(s.policy.response is Response.PAUSE for s in setbacks):
        return verdict(Fate.RELEASE, context.release_seconds)
    for setback in setbacks:
        if setback.policy.response is Response.RETRY:
            pause = pause_seconds(setback.policy, claim.attempts, context.jitter)
            return verdict(Fate.POSTPONE, pause, setback.refused, counted=True)
    if case.missing or case.unsent or setbacks:
        policy = POLICIES[Reason.PARENT_NOT_DELIVERED]
        waited = (context.now - claim.dirty_at).total_seconds()
        refused = Refused(record_id=claim.key, reason=Reason.PARENT_NOT_DELIVERED)
        return verdict(Fate.POSTPONE, wait_seconds(policy, waited), refused)
    if owes:
        return verdict(Fate.RELEASE)
    if plan.defer_to is not None:
        return replace(verdict(Fate.DEFER, _until_its_time(context, claim, plan.defer_to)), lane=plan.defer_to)
    return verdict(Fate.DONE)


def _until_its_time(context: Context, claim: Claim, lane: Lane) -> float:
    """Wait for the lane's window; later changes don't put it off to the next one."""
    seconds = seconds_until_window_ends(context.now, context.lane_seconds[lane])
    if claim.deferred_until is None:
        return seconds
    return max(0.0, min(seconds, (claim.deferred_until - context.now).total_seconds()))


def _log_refusal(context: Context, case: Case, planned: Planned | None, refused: Refused, result: Conclusion) -> None:
    policy = POLICIES[refused.reason]
    attempts = case.claim.attempts + 1
    parks = policy.response is Response.PARK or is_used_up(policy, attempts)
    status = Status.FAILED if parks else Status.RETRYING
    line = _line(context, case, planned, refused.record_id, status, refused=refused, attempts=attempts)
    result.log.append(line)


def _line(
    context: Context,
    case: Case,
    planned: Planned | None,
    record_id: str,
    status: Status,
    *,
    crm_id: str | None = None,
    refused: Refused | None = None,
    attempts: int = 0,
) -> LogLine:
    feed = context.feed
    return LogLine(
        id=context.reserved.get(record_id),
        user_id=record_id if feed.needs is None else (planned.parent_id if planned else None),
        feed=feed.name,
        action="plan" if planned is None else planned.operation.action.value,
        status=status,
        record_id=record_id,
        crm_id=crm_id,
        reason=None if refused is None else refused.reason.name,
        message=None if refused is None else _words(refused),
        attempts=attempts or case.claim.attempts,
        lsn=case.claim.last_lsn,
        dirty_at=case.claim.dirty_at,
        judged=context.judged.get(record_id),
    )


def _words(refused: Refused) -> str:
    return " ".join(part for part in (refused.field, refused.detail) if part)
