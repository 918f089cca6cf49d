"""Hypothesis strategies for what a replication stream may hold."""

from __future__ import annotations

from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.wire.messages import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
    Truncate,
    Type,
    Update,
)

lsns = st.integers(0, 2**64 - 1).map(Lsn)
oids = st.integers(0, 2**32 - 1)
times = st.integers(-(2**63), 2**63 - 1)
byte_flags = st.integers(0, 255)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map(str.encode)
values = st.one_of(st.none(), st.just(UNCHANGED), texts, st.binary(max_size=12))
tuples = st.lists(values, max_size=8).map(tuple)
xids = st.none() | oids
columns = st.builds(Column, st.booleans(), names, oids, st.integers(-(2**31), 2**31 - 1))

messages = st.one_of(
    st.builds(Begin, lsns, times, oids),
    st.builds(Commit, byte_flags, lsns, lsns, times),
    st.builds(Origin, lsns, names),
    st.builds(Relation, oids, names, names, st.sampled_from("dnfi"), st.lists(columns, max_size=5).map(tuple), xids),
    st.builds(Type, oids, names, names, xids),
    st.builds(Insert, oids, tuples, xids),
    st.builds(Update, oids, tuples, xid=xids),
    st.builds(Update, oids, tuples, tuples, st.sampled_from("KO"), xids),
    st.builds(Delete, oids, tuples, st.sampled_from("KO"), xids),
    st.builds(Truncate, byte_flags, st.lists(oids, max_size=4).map(tuple), xids),
    st.builds(Message, byte_flags, lsns, names, st.binary(max_size=20), xids),
    st.builds(StreamStart, oids, st.booleans()),
    st.just(StreamStop()),
    st.builds(StreamCommit, oids, byte_flags, lsns, lsns, times),
    st.builds(StreamAbort, oids, oids),
)
"""Every message kind of the protocol versions 1 and 2; those with an xid stand in a streamed block."""
