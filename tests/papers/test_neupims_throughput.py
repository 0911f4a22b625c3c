"""Sub-batches of the serving artefact's points: the other setting fits its throughput less."""

import csv
from functools import cache
from pathlib import Path

import pytest

from simulator import published
from simulator.experiments.neupims import tokens_per_s
from simulator.published import Row

OTHER = {"on": "off", "off": "on"}
RECORDED = Path(__file__).parents[2] / "sim_results" / "neupims" / "throughput.ours.csv"


@cache
def recorded() -> dict[str, float]:
    """Return our throughputs as recorded, which `test_reproduce` computes again."""
    with RECORDED.open(newline="") as file:
        return {row["quantity"]: float(row["ours"]) for row in csv.DictReader(file)}


@pytest.mark.slow
@pytest.mark.parametrize("row", published.read("neupims/throughput"), ids=lambda row: row.quantity)
def test_the_note_says_what_the_other_setting_gives_and_it_fits_less(row: Row) -> None:
    other = tokens_per_s(row.inputs, OTHER[row.inputs["sub_batch"]])
    ours = recorded()[row.quantity]
    assert f"{other:,.0f}" in row.note.partition("would give")[2]
    assert abs(ours - row.published) < abs(other - row.published)
