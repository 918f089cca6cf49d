"""Charts: well-formed, in their frame, and nothing in them that the content security policy forbids."""

from __future__ import annotations

from datetime import timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from cdc.web.dashboard.charts import HEIGHT, WIDTH, Bar, Point, area, bars, scale_of, sparkline
from tests.support.status import NOW

STEP = timedelta(minutes=10)


def parsed(chart: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(chart)  # noqa: S314 - it is our own


def test_a_bar_stands_where_its_time_is_and_is_as_high_as_its_number() -> None:
    data = [Bar(NOW - timedelta(hours=12), 10, 0), Bar(NOW - STEP, 5, 5)]
    chart = parsed(bars(data, NOW, STEP, title="Delivered", description="20"))
    first, second, bad = chart.findall("rect")
    assert float(first.attrib["x"]) == pytest.approx(WIDTH / 2)
    assert float(second.attrib["x"]) == pytest.approx(WIDTH - WIDTH / 144, abs=0.1)
    assert float(first.attrib["height"]) == pytest.approx(2 * float(second.attrib["height"]), abs=0.2)
    assert bad.attrib["class"] == "bad"
    assert float(bad.attrib["y"]) + float(bad.attrib["height"]) == pytest.approx(float(second.attrib["y"]), abs=0.2)


def test_one_failure_beside_a_thousand_deliveries_can_still_be_seen() -> None:
    chart = parsed(bars([Bar(NOW - STEP, 100_000, 1)], NOW, STEP, title="t", description="d"))
    assert [float(r.attrib["height"]) >= 1 for r in chart.findall("rect")] == [True, True]


def test_what_is_older_than_a_day_is_left_out() -> None:
    chart = parsed(bars([Bar(NOW - timedelta(hours=25), 1, 1)], NOW, STEP, title="t", description="d"))
    assert chart.findall("rect") == []


def test_who_cannot_see_it_is_told_what_it_is_and_what_it_says() -> None:
    chart = parsed(area([Point(NOW, 3)], NOW, limit=None, title="WAL <held>", description='at most "3"'))
    title, description = chart.find("title"), chart.find("desc")
    assert title is not None
    assert description is not None
    assert (title.text, description.text) == ("WAL <held>", 'at most "3"')
    assert chart.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert chart.attrib["role"] == "img"


def test_the_limit_is_drawn_unless_everything_would_lie_flat() -> None:
    assert scale_of([10], 1_000) < 1_000
    assert scale_of([900], 1_000) > 1_000
    assert scale_of([], 10) == 0
    near, far = (area([Point(NOW, value)], NOW, limit=1_000, title="t", description="d") for value in (900, 10))
    assert 'class="limit"' in near
    assert 'class="limit"' not in far


def test_nothing_to_draw_is_an_empty_frame() -> None:
    for chart in (bars([], NOW, STEP, title="t", description="d"), area([], NOW, limit=5, title="t", description="d")):
        assert "NaN" not in chart
        assert parsed(chart).findall("rect") == []


@given(st.lists(st.tuples(st.integers(-1_000, 3_000), st.floats(0, 1e12)), max_size=20), st.floats(0, 1e12) | st.none())
def test_nothing_leaves_the_frame(points: list[tuple[int, float]], limit: float | None) -> None:
    data = [Point(NOW - timedelta(minutes=minutes), value) for minutes, value in sorted(points, reverse=True)]
    chart = area(data, NOW, limit=limit, title="t", description="d")
    spots = [
        spot.split()
        for path in parsed(chart).findall("path[@class='line']")
        for spot in path.attrib["d"].lstrip("M").split("L")
    ]
    for x, y in spots:
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


def test_nothing_in_them_needs_a_style() -> None:
    charts = (
        bars([Bar(NOW - STEP, 1, 1)], NOW, STEP, title="t", description="d"),
        area([Point(NOW, 1)], NOW, limit=1, title="t", description="d", stepped=True),
        sparkline([1, 2, 0], title="t"),
    )
    for chart in charts:
        for element in parsed(chart).iter():
            assert "style" not in element.attrib
            assert not any(name.startswith("on") for name in element.attrib)
