"""What every action has in common: who may, from where, and that it is written down with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from cdc.state import audit
from cdc.web.access import Role, Visitor, check_csrf, require
from cdc.web.bodies import read_form
from cdc.web.dashboard.asked import Asked, text, whole
from cdc.web.dashboard.ground import Ground
from cdc.web.refusals import Refusal

TYPE_ABOVE: Final = 100
"""Of more records than this the number has to be typed."""


@dataclass(frozen=True, slots=True)
class Act:
    """An action that is asked for by somebody who may.

    Attributes:
        conn: in a transaction, which the record of it belongs to.
    """

    visitor: Visitor
    form: ImmutableMultiDict[str, str]
    conn: AsyncConnection[Any]

    @property
    def because(self) -> str:
        """The person's words."""
        return text(self.form, "because") or ""

    async def record(self, action: str, subject: str, count: int = 1) -> None:
        """Write down what is done."""
        await audit.record(
            self.conn, actor=self.visitor.actor, action=action, subject=subject, count=count, because=self.because
        )


async def operator_form(request: Request) -> tuple[Visitor, ImmutableMultiDict[str, str]]:
    """Let an operator's own form through.

    Raises:
        Refusal: otherwise.
    """
    visitor = await require(request, Role.OPERATOR)
    form = await read_form(request)
    check_csrf(request, form)
    return visitor, form


@asynccontextmanager
async def acting(request: Request, ground: Ground) -> AsyncIterator[Act]:
    """Open the transaction that an action is done in; it is undone if it can't be written down."""
    visitor, form = await operator_form(request)
    async with ground.connection() as conn, conn.transaction():
        yield Act(visitor, form, conn)


def check_typed(form: Asked, count: int) -> None:
    """Make sure that whoever acts on many has seen how many.

    Raises:
        Refusal: 409 if there are more than were shown, 422 if the number wasn't typed.
    """
    expected = whole(form, "expected")
    if expected is None or count > expected:
        raise Refusal(409, "not_confirmed", "there are more than you were shown; look again, then confirm")
    if expected > TYPE_ABOVE and whole(form, "typed") != expected:
        raise Refusal(422, "not_confirmed", f"type the number, {expected}, to confirm")


def described(**criteria: object) -> str:
    """Put what was chosen into words, for the record; as the command line does."""
    return ", ".join(f"{name} {value}" for name, value in criteria.items() if value not in (None, "")) or "everything"
