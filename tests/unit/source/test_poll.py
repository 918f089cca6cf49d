"""Which positions a peek may be acknowledged up to: between two WAL records, and flushed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.source.poll import RecordBoundaries

_PAGE = 8192


def test_a_flush_that_ends_inside_a_record_is_no_boundary() -> None:
    boundaries = RecordBoundaries()
    assert boundaries.note(Lsn(_PAGE + 400), Lsn(_PAGE)) == 0  # the record over the page's end may be a commit of ours
    assert boundaries.note(Lsn(_PAGE + 900), Lsn(_PAGE + 500)) == _PAGE + 400
    assert boundaries.note(Lsn(_PAGE + 900), Lsn(_PAGE + 900)) == _PAGE + 900


def test_an_idle_server_is_at_its_end_at_once() -> None:
    assert RecordBoundaries().note(Lsn(_PAGE + 400), Lsn(_PAGE + 400)) == _PAGE + 400


def test_the_header_of_a_page_is_no_record_that_is_not_flushed() -> None:
    assert RecordBoundaries().note(Lsn(_PAGE + 24), Lsn(_PAGE)) == _PAGE + 24


@given(
    st.lists(st.integers(1, 3000), min_size=1),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20_000)), min_size=1),
)
def test_what_is_given_is_a_boundary_that_is_flushed(lengths: list[int], looks: list[tuple[int, int]]) -> None:
    starts = [Lsn(_PAGE * 10)]
    for length in lengths:
        starts.append(Lsn(starts[-1] + length * 8))
    # Boundaries right behind a page header are the test's above; here the header has no room of its own.
    starts = [start for start in starts if start % _PAGE != 24] or [Lsn(_PAGE * 10)]
    boundaries, inserted, flushed, before = RecordBoundaries(), 0, starts[0], Lsn(0)
    for step, more in looks:
        inserted = min(inserted + step, len(starts) - 1)
        flushed = Lsn(min(flushed + more, starts[inserted]))
        given_now = boundaries.note(starts[inserted], flushed)
        assert given_now == 0 or given_now in starts
        assert before <= given_now <= flushed
        before = given_now
