"""Blocks of configurations: every total equals the one of `simulate`, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.accelerators import sat
from tests.strategies import sat_fields, training_steps
from workloads import InputError, Workload, gemm, networks
from workloads.methods import bdwp, dense, sdgp

METHODS = {"dense": dense(), "bdwp:2:8": bdwp(2, 8), "sdgp:2:4": sdgp(2, 4)}


def arrays(configs: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.array([config[name] for config in configs]) for name in configs[0]}


def assert_equal_to_simulate(configs: list[dict], work: Workload) -> None:
    found = sat.evaluate_many(arrays(configs), work)
    for place, values in enumerate(configs):
        config = sat.Config(**values)
        expected = sat.simulate(config, sat.schedule(config, work)).summary()
        assert {name: column[place] for name, column in found.items()} == {
            name: expected[name] for name in found
        }


@given(configs=st.lists(sat_fields, min_size=1, max_size=4), work=training_steps)
@settings(max_examples=100)
def test_a_block_equals_one_simulation_after_the_other(configs, work) -> None:
    assert_equal_to_simulate(configs, work)


@pytest.mark.parametrize("network", ["resnet50", "vit-b16"])
@pytest.mark.parametrize("method", METHODS)
def test_networks_equal_simulate_on_random_configurations(network, method) -> None:
    rng = np.random.default_rng(7)
    work = networks.find(network).training_step(METHODS[method])
    configs = [
        {
            "rows": int(rng.integers(4, 129)),
            "cols": int(rng.integers(4, 129)),
            "clock_hz": float(rng.uniform(1e8, 1e9)),
            "left_buffer_bytes": int(rng.integers(1 << 14, 1 << 23)),
            "vector_lanes": int(rng.integers(1, 129)),
            "stationarity": str(rng.choice(["auto", "os", "ws"])),
            "pregeneration": bool(rng.integers(2)),
        }
        for _ in range(25)
    ]
    assert_equal_to_simulate(configs, work)


def test_ratios_beyond_the_exact_range_of_floats_are_rounded_once() -> None:
    work = gemm(5_000_011, 1_500_007, 1_003)
    assert_equal_to_simulate([{"rows": 31}, {"rows": 7}], work)


def test_blocks_refuse_what_64_bits_cannot_count() -> None:
    with pytest.raises(InputError, match="may exceed"):
        sat.evaluate_many({"rows": np.array([8, 32])}, gemm(5_000_011, 3_000_017, 1_000_003))


def test_fields_left_out_keep_their_defaults() -> None:
    assert_equal_to_simulate([{"rows": 8}], gemm(64, 64, 64))
    found = sat.evaluate_many({}, gemm(64, 64, 64))
    assert found["cycles"].tolist() == [
        sat.simulate(sat.Config(), sat.schedule(sat.Config(), gemm(64, 64, 64))).cycles
    ]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("rows", [8, 5000, 16], "rows must be a whole number from 1 to 4096, not 5000"),
        ("value_bits", [8, 12, 16], "value_bits must be 8, 16 or 32, not 12"),
        ("clock_hz", [1e9, float("nan"), 2e9], "clock_hz must be a positive number, not nan"),
        ("stationarity", ["os", "is"], "stationarity must be one of auto, os, ws, not 'is'"),
        ("row", [1], "sat has no field 'row'; it has rows, cols"),
    ],
)
def test_a_wrong_value_anywhere_is_refused_as_by_the_config(field, values, message) -> None:
    with pytest.raises(InputError, match=message):
        sat.evaluate_many({field: np.array(values)}, gemm(8, 8, 8))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"must have one length, not \[1, 2\]"):
        sat.evaluate_many({"rows": np.array([1, 2]), "cols": np.array([1])}, gemm(8, 8, 8))
