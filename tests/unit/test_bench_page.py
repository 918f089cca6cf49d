"""A part that is measured anew takes its place on the page, and the others stay."""

from __future__ import annotations

from tests.bench.page import replace_part

ORDER = ["capture", "latency", "day"]
PAGE = "# Benchmarks\n\nHow.\n\n<!-- capture -->\n## Capture\n\nold\n\n### In bulk\n\n<!-- gone -->\n## Gone\n"


def test_a_part_is_replaced_and_what_nobody_measures_any_more_goes() -> None:
    page = replace_part(PAGE, "capture", ["## Capture", "", "new"], ORDER)

    assert page == "# Benchmarks\n\nHow.\n\n<!-- capture -->\n## Capture\n\nnew\n"


def test_parts_stand_in_their_order_whenever_they_were_measured() -> None:
    page = replace_part(replace_part(PAGE, "day", ["## Day"], ORDER), "latency", ["## Latency"], ORDER)

    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## Capture", "## Latency", "## Day"]
    assert "old\n\n### In bulk" in page
