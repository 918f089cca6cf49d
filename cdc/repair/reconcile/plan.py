"""A plan file: what would be put right, sealed, so that a person can look at it and have just that carried out.

It names records and fields and holds no values. The seal is made with this installation's key: a plan that was edited,
or made elsewhere, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from cdc.errors import ConfigError
from cdc.repair.reconcile.differences import FIXABLE, Difference, Kind

MOST_AGE: Final = timedelta(hours=24)
_AGAIN: Final = "run `cdc reconcile` again and look at the new plan"


class PlannedFix(BaseModel):
    """One record that is to be sent anew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed: str
    record_id: str
    key: str
    kind: Kind
    fields: tuple[str, ...] = ()


class Plan(BaseModel):
    """What would be put right.

    Attributes:
        slot: the pipeline.
        mapping: fingerprint of feeds and views.
        held_back: why it wasn't done by itself.
        credits: what it costs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    made_at: AwareDatetime
    slot: str
    mapping: str
    held_back: tuple[str, ...] = ()
    credits: int
    fixes: tuple[PlannedFix, ...]


def plan_of(fixes: Sequence[Difference], **head: Any) -> Plan:
    """Make a plan of the records that may be put right."""
    return Plan(
        fixes=tuple(
            PlannedFix(
                feed=one.feed,
                record_id=one.record_id,
                key=one.key,
                kind=one.kind,
                fields=tuple(field.name for field in one.fields),
            )
            for one in fixes
            if one.is_fixable and one.record_id is not None and one.key is not None
        ),
        **head,
    )


def sealed(plan: Plan, hash_key: bytes) -> str:
    """Write a plan as the text of its file."""
    body = plan.model_dump(mode="json")
    return json.dumps({**body, "hash": _seal(body, hash_key)}, indent=2) + "\n"


def read_plan(path: Path, hash_key: bytes, *, now: datetime, slot: str, mapping: str) -> Plan:
    """Read a plan that may be carried out now.

    Raises:
        ConfigError: if it isn't one, was changed, is too old, or is for other feeds and views.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", fix="name a plan.json") from None
    except ValueError:
        raise ConfigError(f"{path} isn't JSON", fix=_AGAIN) from None
    seal = body.pop("hash", None) if isinstance(body, dict) else None
    if not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), _seal(body, hash_key).encode()):
        raise ConfigError(f"{path} was changed since it was made, or made with another CDC_ENCRYPTION_KEY", fix=_AGAIN)
    try:
        plan = Plan.model_validate(body)
    except ValidationError:
        raise ConfigError(f"{path} isn't a plan of this version", fix=_AGAIN) from None
    age = now - plan.made_at
    if age > MOST_AGE or age < -timedelta(minutes=5):
        raise ConfigError(f"{path} was made {plan.made_at:%Y-%m-%d %H:%M} UTC; a plan holds for 24 hours", fix=_AGAIN)
    if plan.slot != slot:
        raise ConfigError(f"{path} is for the pipeline {plan.slot!r}, and this one is {slot!r}", fix=_AGAIN)
    if plan.mapping != mapping:
        raise ConfigError(f"{path} was made before feeds or views changed", fix=_AGAIN)
    if not {fix.kind for fix in plan.fixes} <= FIXABLE:
        raise ConfigError(f"{path} holds what is never put right by itself", fix=_AGAIN)
    return plan


def _seal(body: Mapping[str, Any], hash_key: bytes) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), key=hash_key, digest_size=32, person=b"cdc reconcile").hexdigest()


@dataclass(frozen=True, slots=True)
class Left:
    """A record of a plan that was left alone when it was looked at again, and why."""

    fix: PlannedFix
    why: str
