"""Faults in the column array that its checks must see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtl.bitweight.columns import ColumnArray
from simulator.accelerators.bitweight import columns
from tests.cosim.bitweight import config, random_tiles, run
from tests.cosim.mutants import Mutant, mutated

MUTANTS = [
    Mutant(
        "the prefetcher forgets what is under way",
        "rtl.bitweight.lane",
        "count + under_way < self.fifo",
        "count < self.fifo",
    ),
    Mutant(
        "the lowest digit comes first",
        "rtl.bitweight.lane",
        "self._digits(m, value)[::-1]",
        "self._digits(m, value)",
    ),
    Mutant(
        "a pass opens before the sums are read",
        "rtl.bitweight.columns",
        "done & (held == self.drain - 1) &",
        "done &",
    ),
    Mutant(
        "a bank serves two columns at once",
        "rtl.bitweight.columns",
        "& ~blocked)",
        ")",
    ),
    Mutant(
        "a group ends one step late",
        "rtl.bitweight.encoders",
        "self.last.eq(after == 0)",
        "self.last.eq(rest == 0)",
    ),
    Mutant(
        "a digit of three does not carry",
        "rtl.bitweight.encoders",
        "following.eq(high & (low | carry))",
        "following.eq(high & low & carry)",
    ),
    Mutant(
        "a carry that leaves the low part is lost",
        "rtl.bitweight.sparse",
        "total[low] ^ carry[low]",
        "total[low]",
    ),
    Mutant(
        "read-out corrects for one step less",
        "rtl.bitweight.columns",
        "age.eq(Mux(fresh, 1, age + 1))",
        "age.eq(Mux(fresh, 0, age + 1))",
    ),
    Mutant(
        "a weight is two and not four times the next",
        "rtl.bitweight.simd",
        "(old << 2)",
        "(old << 1)",
    ),
    Mutant(
        "idle columns do not rest",
        "rtl.bitweight.columns",
        "rests = self.last_column < c if c else Const(0, 1)",
        "rests = Const(0, 1)",
    ),
]


def check(mutant: str, directory: Path) -> None:
    """Compare tiles that bring out every fault with numpy and the simulator."""
    dut = ColumnArray(columns=3, elements=2, depth=6, banks=2, segmented=True)
    tiles = random_tiles(dut, 10, seed=3)
    for tile, answer in zip(tiles, run(dut, f"mutant {mutant}", tiles, directory), strict=True):
        assert np.array_equal(answer.values, tile.a @ tile.b), "values differ"
        assert answer.end == columns.exact(config(dut), tile.a).tile_ends, "cycles differ"


def test_the_check_passes_without_a_fault(icarus, tmp_path: Path) -> None:
    check("", tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_in_a_column_array_is_seen(mutant: Mutant, icarus, tmp_path: Path) -> None:
    with mutated(mutant), pytest.raises(AssertionError, match=r"differ|does not end"):
        check(mutant.name, tmp_path)
