"""Column arrays of every engine as Verilog: values equal numpy, cycles equal the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtl.bitweight.columns import ColumnArray
from rtl.bitweight.tiles import Tile
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import Operands, columns
from tests.cosim.bitweight import config, random_tiles, run
from workloads import InputError

ARRAYS = {
    "opt2": {"columns": 3, "elements": 2, "engine": "opt2", "simd": 2},
    "opt2, one bank": {"columns": 2, "elements": 3, "engine": "opt2", "banks": 1, "fifo": 3},
    "opt3": {"columns": 2, "elements": 3, "engine": "opt3", "banks": 3},
    "opt4c": {"columns": 3, "elements": 2},
    "opt4c, one bank": {"columns": 3, "elements": 1, "banks": 1, "fifo": 3},
    "opt4c, many banks": {"columns": 3, "elements": 5, "banks": 8, "simd": 3, "fifo": 5},
    "opt4c_seg, interleaved": {
        "columns": 3,
        "elements": 2,
        "banks": 3,
        "interleaved": True,
        "segmented": True,
    },
    "opt4e": {"columns": 2, "elements": 2, "lanes": 4, "banks": 3},
    "opt4e_seg, interleaved": {
        "columns": 3,
        "elements": 2,
        "lanes": 4,
        "banks": 2,
        "simd": 2,
        "interleaved": True,
        "segmented": True,
    },
    "opt4e, INT4": {"columns": 2, "elements": 3, "lanes": 4, "width": 4, "segmented": True},
    "opt4c, INT16": {"columns": 2, "elements": 2, "width": 16, "simd": 2},
}
"""Shapes of B's banks, FIFOs and read-out that differ; one Verilog module each."""

TILES = 12


@pytest.mark.parametrize("name", ARRAYS)
def test_tiles_of_any_shape_are_exact_in_values_and_cycles(
    name: str, icarus, tmp_path: Path
) -> None:
    """K = 1, idle columns and elements, remainders, all-extreme and all-zero operands."""
    dut = ColumnArray(depth=3 if ARRAYS[name].get("lanes") else 7, **ARRAYS[name])
    tiles = random_tiles(dut, TILES, seed=len(name))
    wrong = []
    for tile, answer in zip(tiles, run(dut, name, tiles, tmp_path), strict=True):
        shape = *tile.a.shape, tile.b.shape[1]
        if not np.array_equal(answer.values, tile.a @ tile.b):
            wrong.append(f"values of {shape} differ")
        simulated = steps(dut, tile.a).tile_ends
        if answer.end != simulated:
            wrong.append(f"last step of {shape} in cycle {answer.end}, not {simulated}")
    assert not wrong, "\n".join(wrong)


def steps(dut: ColumnArray, a: np.ndarray) -> columns.Steps:
    if dut.engine == "opt2":
        return columns.constant(config(dut), *a.shape)
    return columns.exact(config(dut), a)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "opt5"}, "engine must be one of opt2, opt3, opt4, not 'opt5'"),
        ({"lanes": 3}, "lanes must be 1, 2 or 4, not 3"),
        ({"engine": "opt2", "lanes": 4}, "only opt4 can be segmented or have several lanes, not"),
        ({"engine": "opt3", "segmented": True}, "only opt4 can be segmented or have several lanes"),
        ({"fifo": 2}, "fifo must lie in 3 to 64, not 2"),
        ({"depth": 0}, "depth must lie in 1 to 65536 groups, not 0"),
        ({"width": 7}, "width must be an even number of bits from 4 to 16, not 7"),
    ],
)
def test_wrong_parameters_say_what_would_be_right(changes: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        ColumnArray(**{"columns": 2, "elements": 2, **changes})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("engine", ["opt2", "opt3", "opt4"])
def test_a_whole_product_takes_the_cycles_that_the_simulator_reports(
    engine: str, icarus, tmp_path: Path
) -> None:
    """5 x 26 x 7 on 2 columns of 3 elements: tiles follow each other while the next is written."""
    dut = ColumnArray(columns=2, elements=3, engine=engine, banks=2, interleaved=True)
    rng = np.random.default_rng(7)
    a, b = rng.integers(-128, 128, (5, 26)), rng.integers(-128, 128, (26, 7))
    places = [(i, j) for j in range(0, 7, 3) for i in range(0, 5, 2)]
    tiles = [Tile(a[i : i + 2], b[:, j : j + 3]) for i, j in places]
    answers = run(dut, f"product {engine}", tiles, tmp_path)
    product = np.zeros((5, 7), np.int64)
    for (i, j), answer in zip(places, answers, strict=True):
        product[i : i + 2, j : j + 3] = answer.values
    np.testing.assert_array_equal(product, a @ b)
    arrangement = config(dut)
    report = bitweight.simulate(
        arrangement, bitweight.schedule(arrangement, Operands(left=a, right=b))
    )
    assert answers[-1].final - (answers[0].start + 1) == report.columns["compute_cycles"][0]
