"""Stationarity, interleaving and pre-generation against their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.interleave import last_turn, turns
from dataflow.pregeneration import on_the_fly_bytes, pregenerated_bytes
from dataflow.stationarity import (
    FREE,
    OUTPUT_STATIONARY,
    WEIGHT_STATIONARY,
    choose_stationarity,
)
from workloads import NM

cycles = st.integers(1, 10**12)


@given(items=st.integers(1, 1000), interleave=st.integers(1, 9))
def test_turns_work_off_every_item_once(items, interleave) -> None:
    sizes = [len(range(items)[start : start + interleave]) for start in range(0, items, interleave)]
    assert (turns(items, interleave), last_turn(items, interleave)) == (len(sizes), sizes[-1])


@given(os=cycles, ws=cycles)
def test_a_free_choice_takes_the_faster_one_and_a_forced_one_is_kept(os, ws) -> None:
    chosen = choose_stationarity(FREE, os, ws)
    assert (ws if chosen == WEIGHT_STATIONARY else os) == min(os, ws)
    assert choose_stationarity(OUTPUT_STATIONARY, os, ws) == OUTPUT_STATIONARY
    assert choose_stationarity(WEIGHT_STATIONARY, os, ws) == WEIGHT_STATIONARY


@pytest.mark.parametrize(
    ("pattern", "bytes_per_weight"), [(NM(2, 8), 2.375), (NM(2, 4), 4.5), (NM(1, 8), 1.1875)]
)
def test_pregenerated_traffic_is_four_compact_copies(pattern, bytes_per_weight) -> None:
    # N values of 16 bits and N indices of log2 M bits for M weights; written and read, twice.
    n, m = pattern.n, pattern.m
    assert 4 * n * (16 + (m - 1).bit_length()) / (8 * m) == bytes_per_weight
    assert pregenerated_bytes(8000, pattern, value_bits=16) == 8000 * bytes_per_weight
    assert on_the_fly_bytes(8000, value_bits=16) == 8000 * 4
