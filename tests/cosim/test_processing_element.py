"""One PE and a small array, cycle by cycle, in Amaranth's simulator and emitted for Icarus."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.float import Float32Add
from rtl.sat.parameters import Parameters
from rtl.sat.stce import Stce
from rtl.sat.uspe import Uspe
from tests.cosim.units import Unit

P = Parameters(
    rows=2, cols=2, n=2, m=4, lanes=4, interleave=2, mul_latency=1, add_latency=3, data_type="int8"
)
SLOTS = P.slots
LATENCY = P.mul_latency + P.add_latency


@pytest.fixture(params=["amaranth", "icarus"])
def level(request) -> str:
    if request.param == "icarus":
        request.getfixturevalue("icarus")
    return request.param


def control(**bits: int) -> int:
    word = 0
    for name, value in bits.items():
        word |= value << P.control[name].offset
    return word


def window(values) -> int:
    return sum((int(value) & 0xFF) << (8 * place) for place, value in enumerate(values))


def link(value: int, index: int) -> int:
    return (int(value) & 0xFF) | int(index) << 8


def pe(level: str, directory) -> Unit:
    return Unit(make=lambda: Uspe(P), top="uspe", key=str(P), level=level, directory=directory)


def idle_cycles(count: int) -> list[dict[str, int]]:
    return [{"west": 0, "west_control": 0, "north": 0} for _ in range(count)]


def test_output_stationary_sums_of_two_tiles_take_turns(level: str, tmp_path) -> None:
    steps, rng = 4, np.random.default_rng(11)
    left = rng.integers(-128, 128, (steps, 2, P.m))
    right = rng.integers(-128, 128, (steps, 2))
    index = rng.integers(0, P.m, (steps, 2))
    stimulus = idle_cycles(steps * SLOTS + LATENCY + 2)
    for step in range(steps):
        for turn in range(2):
            last = step == steps - 1
            stimulus[step * SLOTS + turn] = {
                "west": window(left[step, turn]),
                "north": link(right[step, turn], index[step, turn]),
                "west_control": control(
                    first=int(step == 0), last=int(last), final=int(last and turn == 1), used=1
                ),
            }
    loaded = (steps - 1) * SLOTS + 1 + LATENCY - 1
    stimulus[loaded + 1]["drain"] = 1
    seen = pe(level, tmp_path).drive(stimulus, ["loaded", "sum_south", "south"])
    assert [cycle for cycle, ports in enumerate(seen) if ports["loaded"]] == [loaded]
    sums = [
        int(sum(left[s, turn, index[s, turn]] * right[s, turn] for s in range(steps)))
        for turn in range(2)
    ]
    # turn 0 is at the south first; after one shift, turn 1
    assert [seen[loaded + 1 + turn]["sum_south"] for turn in range(2)] == [x % 2**32 for x in sums]
    # what came from the north moves on a cycle later
    assert [ports["south"] for ports in seen[1:]] == [x["north"] for x in stimulus[:-1]]


def test_weight_stationary_rows_add_to_the_sum_from_the_north(level: str, tmp_path) -> None:
    rng = np.random.default_rng(12)
    values, index = rng.integers(-128, 128, 2), rng.integers(0, P.m, 2)
    rows = rng.integers(-128, 128, (2, P.m))
    above = [1000, -77]
    load = [{"weight_stationary": 1, "kept_less_one": 1, "shift": 1}, {}]
    for cycle, j in enumerate((1, 0)):  # the deepest register is loaded first
        load[cycle]["north"] = link(values[j], index[j])
    stimulus = [*load, *idle_cycles(2 * SLOTS + LATENCY + 2)]
    stimulus[2]["shift"] = 0
    for j in range(2):
        for row in range(2):
            slot = 2 + j * SLOTS + row
            stimulus[slot]["west"] = window(rows[row])
            stimulus[slot]["west_control"] = control(
                first=int(j == 0), last=int(j == 1), select=j, swap=int(slot == 2)
            )
            if j == 0:
                stimulus[slot + P.mul_latency]["sum_north"] = above[row] % 2**32
    seen = pe(level, tmp_path).drive(stimulus, ["sum_valid", "sum_south"])
    out = [2 + SLOTS + row + LATENCY for row in range(2)]
    assert [cycle for cycle, ports in enumerate(seen) if ports["sum_valid"]] == out
    want = [above[row] + int(sum(rows[row, index] * values)) for row in range(2)]
    assert [seen[cycle]["sum_south"] for cycle in out] == [value % 2**32 for value in want]


def test_an_array_drains_its_south_most_row_first(level: str, tmp_path) -> None:
    rng = np.random.default_rng(13)
    left, right = rng.integers(-128, 128, P.rows), rng.integers(-128, 128, P.cols)
    idle = {f"west_control__{r}": 0 for r in range(P.rows)}
    stimulus: list[dict[str, int]] = [dict(idle) for _ in range(16)]
    for r in range(P.rows):  # one step of one tile, skewed
        stimulus[r][f"west__{r}"] = window([left[r]])
        stimulus[r][f"west_control__{r}"] = control(first=1, last=1, final=1)
    for c in range(P.cols):
        stimulus[c][f"north__{c}"] = link(right[c], 0)
    watch = [f"{name}__{c}" for name in ("result", "result_valid") for c in range(P.cols)]
    unit = Unit(make=lambda: Stce(P), top="stce", key=str(P), level=level, directory=tmp_path)
    seen = unit.drive(stimulus, watch)
    for c in range(P.cols):
        first = P.rows - 1 + c + LATENCY
        valid = [cycle for cycle, ports in enumerate(seen) if ports[f"result_valid__{c}"]]
        assert valid == [first, first + 1]
        got = [seen[cycle][f"result__{c}"] for cycle in valid]
        assert got == [int(left[r] * right[c]) % 2**32 for r in (1, 0)]


@pytest.mark.parametrize("latency", [1, 3, 6])
def test_an_adder_takes_its_latency(latency: int, level: str, tmp_path) -> None:
    rng = np.random.default_rng(latency)
    pairs = rng.standard_normal((8, 2)).astype(np.float32)
    stimulus = [
        {name: int(value) for name, value in zip("ab", row, strict=True)}
        for row in pairs.view(np.uint32)
    ]
    unit = Unit(
        make=lambda: Float32Add(latency=latency),
        top="adder",
        key=str(latency),
        level=level,
        directory=tmp_path,
    )
    seen = unit.drive(stimulus + [{}] * latency, ["total"])
    want = (pairs[:, 0] + pairs[:, 1]).view(np.uint32)
    assert [ports["total"] for ports in seen[latency:]] == want.tolist()
