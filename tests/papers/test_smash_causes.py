"""Why SMASH's ratio is missed: the experiments are made again, and the reason quotes them."""

import csv
import re
import sys
from pathlib import Path

from simulator import published, reproduce

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "examples"))
import smash_causes  # noqa: E402

RECORDED = ROOT / "sim_results" / "smash" / "causes.csv"


def test_the_recorded_experiments_are_those_of_this_program() -> None:
    """If not, `python examples/smash_causes.py` writes them anew."""
    with RECORDED.open(newline="") as file:
        assert list(csv.DictReader(file)) == smash_causes.rows()


def test_the_reason_states_our_number_and_measured_experiments() -> None:
    (row,) = [row for row in published.read("smash/versions") if row.expected_miss]
    (judged,) = [j for j in reproduce.judge(row.exhibit) if j.row.quantity == row.quantity]
    measured = {each["changed"]: float(each["v1_over_v3"]) for each in smash_causes.rows()}
    assert f"{measured['nothing']:.2f}" == f"{judged.ours:.2f}"
    begin, _, rest = row.expected_miss.partition(": ")
    assert begin == f"ours is {judged.ours:.2f}"
    quoted = re.findall(r"([^;:]+): (\d+\.\d\d)(?=;)", rest)
    assert len(quoted) >= 4
    for changed, value in quoted:
        assert abs(float(value) - measured[changed.strip()]) <= 0.005, changed


def test_the_published_ratio_lies_among_what_the_unknowns_give() -> None:
    ratios = [float(each["v1_over_v3"]) for each in smash_causes.rows()]
    (row,) = [row for row in published.read("smash/versions") if row.expected_miss]
    assert min(ratios) < row.published < max(ratios)
