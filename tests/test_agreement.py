"""The table of what agrees: complete, honest about what is not asserted, the one in the README."""

import re
from pathlib import Path

import pandas as pd
import pytest

from simulator import agreement, published
from simulator.accelerators import neupims
from simulator.published import Row
from simulator.reproduce import Judged
from workloads import InputError

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "sim_results"


def judged(ours: float = 2.0, **changes) -> Judged:
    values = {
        "exhibit": "paper/table-1",
        "quantity": "speed|up",
        "published": 2.0,
        "unit": "ms",
        "relation": "=",
        "tolerance": 0.05,
        "source": "table 1",
        "tag": "seen",
        "note": "",
        "expected_miss": "",
    }
    return Judged(row=Row(**(values | changes)), ours=ours)


def test_the_readme_shows_the_recorded_results() -> None:
    """If not: `make agreement`."""
    readme = (ROOT / "README.md").read_text("utf-8")
    summary = agreement.summary(agreement.recorded(RESULTS))
    assert agreement.between_markers(readme, summary) == readme


def test_the_page_of_all_rows_shows_the_recorded_results() -> None:
    """If not: `make agreement`."""
    table = agreement.recorded(RESULTS)
    assert tuple(table) == published.exhibits()
    assert (RESULTS / agreement.PAGE).read_text("utf-8") == agreement.page(table)


def test_every_exhibit_is_described_and_stands_in_the_table_by_a_row_of_its_own() -> None:
    known = agreement.descriptions()
    assert set(known) == set(published.exhibits())
    for exhibit, described in known.items():
        assert described.headline in {row.quantity for row in published.read(exhibit)}, exhibit


def test_a_row_is_shown_with_its_bound_its_unit_and_the_number_of_its_reason() -> None:
    late = judged(3.0, relation="<=", expected_miss="too late")
    page = agreement.page({"paper/table-1": [judged(), late]})
    assert r"| paper/table-1 | speed\|up | 2 ms | 2 | 0 % | 5 % | seen | ok |" in page
    assert r"| <= 2 ms | 3 | +50.00 % | 5 % | seen | expected-miss (1) |" in page
    assert "1. too late" in page


def test_what_is_not_asserted_is_not_counted_as_agreeing() -> None:
    rows = [judged(), judged(9.0, tolerance=None, tag="measured"), judged(tolerance=None)]
    assert agreement.counts({"paper/table-1": rows}) == "1 ok, 1 peer, 1 shown"
    assert "| `paper/table-1` | 1 of 1 |" in agreement.summary({"paper/table-1": rows})
    assert "none asserted" in agreement.summary({"paper/table-1": rows[1:]})


def test_a_number_that_nothing_computes_is_a_dash() -> None:
    page = agreement.page({"paper/table-1": [judged(float("nan"), expected_miss="no data")]})
    assert "| 2 ms | - | - | 5 % | seen | expected-miss (1) |" in page


def test_a_text_without_both_markers_is_refused() -> None:
    with pytest.raises(InputError, match="goes between the lines"):
        agreement.between_markers(f"{agreement.BEGIN}\n", "table\n")


def test_the_operators_that_equal_the_published_clock_are_as_many_as_is_said() -> None:
    table = pd.read_csv(RESULTS / "neupims/operators.ours.csv")
    changelog = re.search(
        r"(\d+) of (\d+) rows of the published runs agree to\s+the clock",
        (ROOT / "CHANGELOG.md").read_text("utf-8"),
    )
    docstring = re.search(
        r"Of (\d+) layers, .* in ten reference runs (\d+)\s+agree to the clock",
        neupims.__doc__ or "",
    )
    assert changelog is not None
    assert docstring is not None
    equal = sum(table.ours == table.published)
    assert [int(n) for n in changelog.groups()] == [equal, len(table)]
    assert [int(n) for n in docstring.groups()] == [len(table), equal]
    others = table.quantity[table.ours != table.published]
    assert all("npu-only" in quantity for quantity in others)


def test_the_prose_of_the_readme_is_at_most_100_columns_wide() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []
