"""The column array against numpy and the simulator: values and cycles are equal."""

from pathlib import Path

import numpy as np
import pytest

from dataflow.digits import value_range
from rtl.bitweight.columns import ColumnArray
from rtl.bitweight.dense import pack
from simulator.accelerators.bitweight import Config, columns
from tests.rtl.bitweight_words import fields, play, signed


class Job:
    """One tile on a column array: its stimulus, and where to look."""

    def __init__(
        self,
        a: np.ndarray,
        b: np.ndarray,
        *,
        banks: int | None = None,
        lanes: int = 1,
        interleaved: bool = False,
        **parameters: int,
    ) -> None:
        (rows, k), n = a.shape, b.shape[1]
        self.lanes, self.interleaved = lanes, interleaved
        self.groups = columns.groups(k, lanes)
        self.banks = rows if banks is None else banks
        self.per_lane = self.groups // lanes
        self.chunk = -(-self.per_lane // self.banks)
        self.used = -(-self.per_lane // self.chunk)
        if interleaved:
            self.used = min(self.banks, self.per_lane)
        self.dut = ColumnArray(
            columns=rows,
            elements=n,
            lanes=lanes,
            banks=self.banks,
            depth=self.per_lane + 1,
            interleaved=interleaved,
            **parameters,
        )
        self.a = np.zeros((rows, 4 * self.groups), np.int64)
        self.b = np.zeros((4 * self.groups, n), np.int64)
        self.a[:, :k], self.b[:k] = a, b

    def loads(self) -> list[dict[str, int]]:
        """One write a cycle: all groups of A, then all groups of B."""
        width, steps = self.dut.width, []
        for row, values in enumerate(self.a):
            for g in range(self.groups):
                write = {
                    "load_a": 1,
                    "load_column": row * self.lanes + g % self.lanes,
                    "load_address": g // self.lanes,
                    "load_value": pack(values[4 * g : 4 * g + 4], width),
                }
                steps.append(write)
        for g in range(self.groups):
            address, lane = divmod(g, self.lanes)
            bank, place = divmod(address, self.chunk)
            if self.interleaved:
                place, bank = divmod(address, self.used)
            write = {
                "load_b": 1,
                "load_bank": bank * self.lanes + lane,
                "load_row": place,
                "load_group": pack(self.b[4 * g : 4 * g + 4].ravel(), width),
            }
            steps.append(write)
        return steps

    def run(self, tile_cycles: int, directory: Path | None = None) -> tuple[np.ndarray, int]:
        """Run two tiles of the same operands; return the results and the cycle of the last step."""
        loads = self.loads()
        steps = loads + [{"start": 1}, *[{}] * tile_cycles] * 2
        ports = {
            name
            for name in self.dut.signature.members
            if name.startswith("load") or name in ("start",)
        }
        inputs = {name: [step.get(name, 0) for step in steps] for name in ports}
        constants = {
            "groups": self.per_lane - 1,
            "chunk": self.chunk - 1,
            "last_bank": self.used - 1,
        }
        inputs |= {name: [value] * len(steps) for name, value in constants.items()}
        seen = play(self.dut, inputs, ["ready", "results"], directory)
        first = len(loads) + 1
        second = first + tile_cycles + 1
        ends = [seen["ready"][start:].index(1) for start in (first, second)]
        assert ends[0] == ends[1]
        final = second + ends[1] + self.dut.drain + 3
        shape = len(self.a), self.b.shape[1]
        values = [signed(f, 32) for f in fields(seen["results"][final], 32, shape[0] * shape[1])]
        return np.array(values).reshape(shape), ends[1]


def config(job: Job, *, banks: int) -> Config:
    """The simulator's array with the job's drain at any clock: the table's is not the test's."""
    dut = job.dut
    return Config(
        engine="opt4e" if dut.lanes == 4 else "opt4c",
        rows=dut.columns,
        cols=dut.elements,
        width=dut.width,
        simd_lanes=dut.simd,
        fifo=dut.fifo,
        banks=banks,
        interleaved=dut.interleaved,
        clock_hz=1.0,  # so slow that an addition takes one cycle
    )


def check(a: np.ndarray, b: np.ndarray, directory: Path | None = None, **parameters) -> None:
    job = Job(a, b, **parameters)
    simulated = columns.exact(config(job, banks=job.banks), a)
    values, end = job.run(simulated.tile_ends + job.dut.drain + 8, directory)
    np.testing.assert_array_equal(values, a @ b)
    assert end == simulated.tile_ends


def operands(rows: int, k: int, n: int, *, width: int = 8, std: float = 25.0):
    rng = np.random.default_rng(rows * 1000 + k * 10 + n)
    low, high = value_range(width)
    a = np.clip(np.rint(rng.normal(0, std, (rows, k))), low, high).astype(np.int64)
    return a, rng.integers(low, high + 1, (k, n))


SHAPES = [(1, 1, 1), (3, 5, 2), (3, 33, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
def test_any_shape_is_exact_in_values_and_cycles(lanes: int, segmented: bool, shape) -> None:
    check(*operands(*shape), lanes=lanes, segmented=segmented)


@pytest.mark.parametrize("banks", [1, 3, 8])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
def test_bank_conflicts_cost_what_the_simulator_says(
    lanes: int, interleaved: bool, banks: int
) -> None:
    check(*operands(3, 50, 1), lanes=lanes, banks=banks, interleaved=interleaved)


@pytest.mark.parametrize(("fifo", "simd"), [(3, 1), (5, 3)])
def test_prefetch_and_read_out_cost_what_the_simulator_says(fifo: int, simd: int) -> None:
    check(*operands(2, 30, 5), fifo=fifo, simd=simd, banks=2)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("value", [-128, -86, 0])
def test_all_equal_operands_are_exact(value: int, lanes: int) -> None:
    check(np.full((2, 24), value), np.full((24, 2), -128), lanes=lanes, segmented=True)


@pytest.mark.parametrize("width", [4, 16])
def test_other_widths_are_exact(width: int) -> None:
    a, b = operands(2, 21, 2, width=width, std=25 * 2.0 ** (width - 8))
    check(a, np.clip(b, -1000, 1000), width=width, lanes=4 if width == 4 else 1)


@pytest.mark.parametrize(("lanes", "segmented"), [(1, False), (4, True)])
def test_the_verilog_is_exact_in_values_and_cycles(
    lanes: int, segmented: bool, tmp_path: Path
) -> None:
    check(*operands(3, 37, 2), tmp_path, lanes=lanes, segmented=segmented, banks=2, simd=2)
