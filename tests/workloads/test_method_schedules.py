"""Densities of layers, and how patterns change over a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.small_steps import block, layer
from workloads import NM, networks
from workloads.methods import allocation, parse_method
from workloads.methods.accounting import kept_weights
from workloads.methods.schedules import CUBIC_STEPS, cubic_sparsity


def test_a_window_is_dense_outside() -> None:
    method = parse_method("bdwp:2:4[0.25-0.75]")
    assert [method.flop_ratio(layer(), t) for t in (0.0, 0.3, 0.8)] == [1.0, 2 / 3, 1.0]
    assert method.average_flop_ratio(layer()) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_layers_together_keep_the_density_asked_for() -> None:
    sizes = allocation.sizes_of_layers(networks.resnet50(batch=1).training_step())
    total = sum(map(math.prod, sizes.values()))
    for allocate in (allocation.uniform, allocation.erk, allocation.magnitude_of_gaussians):
        for density in (0.05, 0.2, 0.9):
            found = allocate(sizes, density)
            kept_share = sum(math.prod(sizes[x]) * d for x, d in found.items()) / total
            assert kept_share == pytest.approx(density, rel=1e-6), allocate.__name__
            assert max(found.values()) <= 1


def test_erk_is_in_proportion_to_the_sum_of_sizes() -> None:
    sizes = {"a": (64, 32, 3, 3), "b": (256, 128, 3, 3)}
    found = allocation.erk(sizes, 0.05)
    ratio = (sum(sizes["a"]) / math.prod(sizes["a"])) / (sum(sizes["b"]) / math.prod(sizes["b"]))
    assert found["a"] / found["b"] == pytest.approx(ratio)


def test_one_threshold_keeps_the_largest_weights_of_all_layers() -> None:
    rng = np.random.default_rng(0)
    weights = {"wide": rng.normal(size=(64, 64)), "narrow": 0.1 * rng.normal(size=(64, 64))}
    found = allocation.magnitude(weights, 0.25)
    ranked = np.sort(np.abs(np.concatenate([w.ravel() for w in weights.values()])))
    threshold = ranked[-len(ranked) // 4]
    assert found["wide"] == (np.abs(weights["wide"]) >= threshold).mean()
    assert found["narrow"] < found["wide"]


@given(st.floats(0.05, 0.95), st.floats(0, 0.4), st.floats(0.5, 1))
def test_stages_of_a_cubic_have_its_integral(final: float, start: float, end: float) -> None:
    """Against a sum over 2000 times of Zhu and Gupta's equation 1."""
    method = parse_method(f"cubic:{final}:{start}:{end}")
    times = (np.arange(2000) + 0.5) / 2000
    wanted = np.mean([cubic_sparsity(t, final=final, start=start, end=end) for t in times])
    step = layer()
    mean = sum((s.end - s.start) * kept_weights(method(step, s.start)) for s in method.stages)
    assert 1 - mean / kept_weights(step) == pytest.approx(wanted, abs=1e-3)
    assert len(method.stages) <= CUBIC_STEPS + 2


def test_structure_decay_halves_in_equal_frames() -> None:
    method = parse_method("structure-decay:1:16")
    patterns = [stage.steps[0].pattern for stage in method.stages]
    assert patterns == [NM(n, 16) for n in (15, 8, 4, 2, 1)]
    assert [stage.end - stage.start for stage in method.stages] == pytest.approx([0.2] * 5)


def test_a_decaying_mask_saves_nothing_before_it_is_zero() -> None:
    method = parse_method("mask-decay:2:4:0.75")
    assert method.flop_ratio(layer(), 0.7) == 1
    assert method.flop_ratio(layer(), 0.8) == pytest.approx((2 + 0.5) / 3)


@pytest.mark.parametrize(("word", "between"), [("rigl", 1), ("set", 0)])
def test_regrowing_by_gradient_needs_a_dense_one(word: str, between: int) -> None:
    method = parse_method(f"{word}:0.1:10")
    step = layer()
    normal, refresh = method(step, refresh=False), method(step)
    assert normal.kept_macs == pytest.approx(0.1 * step.macs, rel=1e-3)
    extra = refresh.kept_macs - normal.kept_macs
    assert extra == pytest.approx(between * 0.9 * step.macs / 3, rel=1e-3)
    assert (len(normal.selections), len(refresh.selections)) == (0, 1)
    mixed = (refresh.kept_macs + 9 * normal.kept_macs) / 10 / step.macs
    assert method.flop_ratio(step) == pytest.approx(mixed, rel=1e-3)


def test_a_gate_gets_sparser() -> None:
    method = parse_method("gate:8:1")
    ratios = [method.flop_ratio(block(), s.start) for s in method.stages]
    assert len(ratios) == 4  # 8, 4, 2, 1 experts a token
    assert ratios == sorted(ratios, reverse=True)
