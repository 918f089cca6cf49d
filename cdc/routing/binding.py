"""A watched relation as the stream publishes it, and what it gathered for a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from cdc.routing.groups import Dirty
from cdc.routing.router import Route
from cdc.wire.journal import tag
from cdc.wire.messages import Relation
from cdc.wire.rows import Pack, PackRest, Unpack, compile_pack, compile_pack_rest, compile_unpack

HEAD_BYTES: Final = 8
"""What a change of a relation begins with: kind, relation (4), N, number of columns (2)."""


class Plain(NamedTuple):
    """An insert, or an update without its old row, of one relation: all that the hot loop needs of it.

    Attributes:
        pack: from the message and the offset of its first column.
        tag: what stands before its packed row in the journal.
        first: see `Binding`; so are the rest.
    """

    pack: PackRest
    tag: bytes
    first: dict[bytes, int]
    last: dict[bytes, int]
    handed_over: set[bytes]


@dataclass(slots=True, eq=False)
class Binding:
    """How to read a relation's changes, and their packed rows since the last group was taken.

    Attributes:
        number: of the relation in the journal.
        described: the relation as the stream last described it.
        first: commit LSN of a packed row's oldest change.
        last: of its newest.
        handed_over: packed rows that an earlier group marked dirty for the transaction that is still open. A
            transaction becomes visible as a whole, before its first group is stored, so one mark is enough for it.
    """

    number: int
    route: Route
    described: Relation
    pack: Pack
    unpack: Unpack
    plain: dict[bytes, Plain]
    old_tag: bytes
    update_tag: bytes
    delete_tag: bytes
    first: dict[bytes, int] = field(default_factory=dict)
    last: dict[bytes, int] = field(default_factory=dict)
    handed_over: set[bytes] = field(default_factory=set)

    @classmethod
    def make(cls, number: int, route: Route, relation: Relation) -> Binding:
        """Prepare for the changes of a relation that has all columns of the route."""
        columns, wanted = len(relation.columns), route.positions_in(relation)
        update_tag = tag(b"U", number)
        made = cls(
            number=number,
            route=route,
            described=relation,
            pack=compile_pack(columns, wanted),
            unpack=compile_unpack(len(route.columns)),
            plain={},
            old_tag=tag(b"O", number),
            update_tag=update_tag,
            delete_tag=tag(b"D", number),
        )
        behind_kind = relation.oid.to_bytes(4, "big") + b"N" + columns.to_bytes(2, "big")
        pack = compile_pack_rest(columns, wanted)
        for kind, kind_tag in ((b"I", tag(b"I", number)), (b"U", update_tag)):
            made.plain[kind + behind_kind] = Plain(pack, kind_tag, made.first, made.last, made.handed_over)
        return made

    def hand_over(self, open_lsn: int | None, room: int) -> None:
        """Forget what was gathered, once it is in a group.

        Args:
            open_lsn: commit LSN of the transaction that goes on in the next group, if one does.
            room: how many of its packed rows may be remembered; the others are marked again if they come again.
        """
        if open_lsn is not None:
            self.handed_over.update(islice((row for row, lsn in self.last.items() if lsn == open_lsn), max(0, room)))
        self.first.clear()
        self.last.clear()


def dirty_keys(bindings: Iterable[Binding]) -> dict[tuple[str, str], Dirty]:
    """Turn packed rows into keys of feeds; each is decoded once, however often it came.

    Raises:
        DecodeError: if a key isn't UTF-8.
    """
    dirty: dict[tuple[str, str], Dirty] = {}
    for binding in bindings:
        targets = binding.route.targets
        last_of = binding.last
        for packed, first in binding.first.items():
            values = binding.unpack(packed)
            last = last_of[packed]
            for target in targets:
                key = values[target.position]
                if key is None:
                    continue
                where = (target.feed, key)
                known = dirty.get(where)
                if known is None:
                    dirty[where] = Dirty(target.lane, first, last)
                else:
                    known.join(target.lane, first, last)
    return dirty
