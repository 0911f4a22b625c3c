"""Every published row: ours agrees, or misses for the reason that the row gives."""

import csv
from functools import cache
from pathlib import Path

import pytest

from simulator import published, reproduce
from simulator.published import Row
from simulator.reproduce import Judged

RECORDED = Path(__file__).parents[2] / "sim_results"


@cache
def judged(exhibit: str) -> dict[str, Judged]:
    return {each.row.quantity: each for each in reproduce.judge(exhibit)}


def asserted_rows() -> list:
    rows = [row for exhibit in published.exhibits() for row in published.read(exhibit)]
    return [
        pytest.param(
            row,
            id=f"{row.exhibit}: {row.quantity}",
            marks=[pytest.mark.xfail(reason=row.expected_miss, raises=AssertionError)]
            if row.expected_miss
            else [],
        )
        for row in rows
        if row.tolerance is not None
    ]


@pytest.mark.parametrize("row", asserted_rows())
def test_ours_is_within_the_tolerance_of_the_published_number(row: Row) -> None:
    each = judged(row.exhibit)[row.quantity]
    assert each.agrees, f"{each.ours} instead of {row.relation} {row.published} {row.unit}"


@pytest.mark.parametrize("exhibit", published.exhibits())
def test_every_exhibit_is_computed_and_no_verdict_is_a_miss(exhibit: str) -> None:
    verdicts = {each.verdict for each in judged(exhibit).values()}
    assert "miss" not in verdicts


@pytest.mark.parametrize("exhibit", published.exhibits())
def test_the_recorded_results_are_those_of_this_program(exhibit: str) -> None:
    """If not, `sparsight reproduce` writes them anew."""
    recorded = (RECORDED / f"{exhibit}.ours.csv").read_text("utf-8").splitlines()
    rows = {row["quantity"]: row for row in csv.DictReader(recorded)}
    assert set(rows) == set(judged(exhibit))
    for quantity, each in judged(exhibit).items():
        ours = float(rows[quantity]["ours"] or "nan")  # empty where nothing computes it
        assert ours == pytest.approx(each.ours, rel=1e-9, nan_ok=True), quantity
        assert rows[quantity]["verdict"] == each.verdict, quantity
    copied = RECORDED / f"{exhibit}.paper.csv"
    assert copied.read_bytes() == published.path(exhibit).read_bytes()
