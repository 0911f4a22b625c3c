"""Every published method and system is one that this project computes, or says why not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from workloads import networks
from workloads.methods import Method, parse_method, presets


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_a_method_or_says_why_not(name: str) -> None:
    preset = presets.find(name)
    assert preset.title
    assert preset.published
    if not preset.text:
        assert preset.unchecked
        return
    method = parse_method(name)
    assert isinstance(method, Method)
    step = networks.bert_base(batch=1, tokens=64).training_step()
    assert 0 < method.average_flop_ratio(step) < 6


def test_every_preset_is_checked_or_says_why_not() -> None:
    from simulator import published

    rows = published.read("methods/checkable")
    checked = {row.quantity.partition(":")[0] for row in rows}
    unchecked = {name for name, preset in presets.presets().items() if preset.unchecked}
    assert checked | unchecked == set(presets.names())
    assert not checked & unchecked
    assert len(presets.names()) == 108


def test_every_published_system_is_checked_or_says_why_not() -> None:
    """108 methods, 8 systems, 5 benchmarks; the table is the recorded one."""
    from simulator.experiments.methods import coverage

    rows = coverage()
    assert len(rows) == len({row["name"] for row in rows}) == 108 + 8 + 5
    assert all(bool(row["checks"]) != bool(row["unchecked"]) for row in rows)
    recorded = Path(__file__).parents[2] / "sim_results" / "methods" / "coverage.csv"
    assert list(csv.DictReader(recorded.read_text("utf-8").splitlines())) == rows


def test_macs_of_a_decoder_by_formula_are_those_of_its_network() -> None:
    from simulator.experiments.methods import decoder_macs

    step = networks.gpt3_xl(batch=1, tokens=256).training_step()
    assert 3 * 256 * decoder_macs(24, 2048, 256) == step.macs
