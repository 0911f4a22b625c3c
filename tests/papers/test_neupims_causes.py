"""Why NeuPIMs claims are missed: the experiments are made again, and the reasons quote them."""

import csv
import re
import sys
from pathlib import Path

import pytest

from simulator import published

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "examples"))
import neupims_causes  # noqa: E402

MISSED = [row for row in published.read("neupims/claims") if row.expected_miss]
STEPPED = "published simulator"


def recorded() -> list[dict[str, str]]:
    with (ROOT / "sim_results" / "neupims" / "causes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_recorded_experiments_are_those_of_this_program() -> None:
    """If not, `python examples/neupims_causes.py` writes them anew."""
    on_the_text = neupims_causes.rows(neupims_causes.causes_on_the_text())
    assert [row for row in recorded() if not row["changed"].startswith(STEPPED)] == on_the_text


@pytest.mark.slow
def test_so_are_those_of_the_published_simulator_at_64_requests() -> None:
    again = neupims_causes.rows(tuple(neupims_causes.causes_of_the_simulator((64,))))
    assert len(again) == 12
    assert [row for row in recorded() if ", 64 requests" in row["changed"]] == again


@pytest.mark.parametrize("row", MISSED, ids=lambda row: row.quantity)
def test_a_reason_states_our_number_and_measured_experiments(row) -> None:
    ours = neupims_causes.claims()[row.quantity]
    assert row.expected_miss.startswith(f"ours is {ours:.2f}: ")
    experiments = {
        each["changed"]: float(each["then"])
        for each in recorded()
        if each["quantity"] == row.quantity
    }
    quoted = re.findall(r"([^;:]+): (\d+\.\d\d)(?=;|$)", row.expected_miss.partition(": ")[2])
    assert len(quoted) >= 2, "a reason needs experiments"
    for changed, value in quoted:
        assert value == f"{experiments[changed.strip()]:.2f}", changed
