"""Why bit-weight rows miss: every experiment is made again, and the reasons quote them."""

import csv
import re
import sys
from pathlib import Path

import pytest

from simulator import published, reproduce

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "sim_results" / "bitweight"

sys.path.insert(0, str(ROOT / "examples"))
import bitweight_causes  # noqa: E402

PAPER = [name for name in published.exhibits() if name.startswith("bitweight/")]
MISSED = [row for name in PAPER for row in published.read(name) if row.expected_miss]


def test_the_recorded_experiments_are_those_of_this_program() -> None:
    """If not, `python examples/bitweight_causes.py` writes them anew."""
    with (RECORDED / "causes.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == bitweight_causes.table()


@pytest.mark.parametrize("row", MISSED, ids=lambda row: f"{row.exhibit}: {row.quantity}")
def test_a_reason_states_our_number_and_measured_experiments(row) -> None:
    """If numbers have moved, `python examples/bitweight_causes.py --reasons` writes them anew."""
    exhibit = row.exhibit.partition("/")[2]
    (judged,) = [j for j in reproduce.judge(row.exhibit) if j.row.quantity == row.quantity]
    experiments = bitweight_causes.measured(exhibit, row.quantity)
    assert bitweight_causes.updated(row.expected_miss, judged.ours, experiments) == (
        row.expected_miss
    )
    assert row.expected_miss.startswith(f"ours is {judged.ours:.2f}")
    if exhibit != "release":
        quoted = [c for c in experiments if re.search(rf"{re.escape(c)}: \d", row.expected_miss)]
        assert len(quoted) >= 2, "a reason needs experiments"


@pytest.mark.parametrize("name", ["systolic WS", "systolic OS", "3D cube"])
def test_area_and_clock_alone_multiply_to_the_ratio(name: str) -> None:
    quantity = f"{name}, OPT1 over the Booth MAC"
    alone = bitweight_causes.measured("area-efficiency", quantity)
    (judged,) = [
        j for j in reproduce.judge("bitweight/area-efficiency") if j.row.quantity == quantity
    ]
    product = alone["both at one clock: area alone"] * alone["both of one area: clock alone"]
    assert product == pytest.approx(judged.ours)


def test_a_number_that_has_moved_is_replaced_and_nothing_else() -> None:
    reason = "ours is 1.00; no glitches: 0.50, the release gives 1.48"
    assert bitweight_causes.updated(reason, 2.0, {"no glitches": 0.75}) == (
        "ours is 2.00; no glitches: 0.75, the release gives 1.48"
    )
