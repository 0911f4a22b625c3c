"""Sub-batches of the serving artefact's points: the other setting fits its throughput less."""

import pytest

from simulator import published
from simulator.experiments.neupims import tokens_per_s
from simulator.published import Row

OTHER = {"on": "off", "off": "on"}


@pytest.mark.slow
@pytest.mark.parametrize("row", published.read("neupims/throughput"), ids=lambda row: row.quantity)
def test_the_note_says_what_the_other_setting_gives_and_it_fits_less(row: Row) -> None:
    setting = row.inputs["sub_batch"]
    ours, other = (tokens_per_s(row.inputs, each) for each in (setting, OTHER[setting]))
    assert f"{other:,.0f}" in row.note.partition("would give")[2]
    assert abs(ours - row.published) < abs(other - row.published)
