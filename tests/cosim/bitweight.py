"""Column arrays under cocotb: the words that load a tile, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import value_range
from rtl.bitweight.columns import ColumnArray
from rtl.bitweight.tiles import Tile, constants, writes
from rtl.elaboration import owned
from simulator.accelerators.bitweight import Config
from tests.cosim.simulators import build_icarus, emit, run_cocotb
from tests.rtl.bitweight_words import fields, signed

NAMES = {
    ("opt2", 1, False): "opt2",
    ("opt3", 1, False): "opt3",
    ("opt4", 1, False): "opt4c",
    ("opt4", 1, True): "opt4c_seg",
    ("opt4", 4, False): "opt4e",
    ("opt4", 4, True): "opt4e_seg",
}
"""The simulator's name of an engine, from the array's engine, lanes and `segmented`."""


@dataclass(frozen=True)
class Answer:
    """Results of a tile, the cycle of its last step, and the cycles of `start` and the results."""

    values: NDArray[np.int64]
    end: int
    start: int
    final: int


def config(dut: ColumnArray) -> Config:
    """The simulator's array, so slow that an addition takes one cycle."""
    return Config(
        engine=NAMES[dut.engine, dut.lanes, dut.segmented],  # type: ignore[arg-type]
        rows=dut.columns,
        cols=dut.elements,
        width=dut.width,
        simd_lanes=dut.simd,
        fifo=dut.fifo,
        banks=dut.banks,
        interleaved=dut.interleaved,
        clock_hz=1.0,
    )


def run(dut: ColumnArray, key: str, tiles: Sequence[Tile], directory: Path) -> list[Answer]:
    """Run the tiles one after the other in Icarus Verilog; `key` is for what is not a parameter."""
    owned(dut)  # if the Verilog is cached, only its parameters are needed
    top = "columns"
    parameters = sorted((k, v) for k, v in vars(dut).items() if isinstance(v, int | str))
    model = build_icarus(emit(lambda: dut, key=f"{key} {parameters}", top=top), top=top)
    wait = dut.drain + 3
    job = {
        "zero": ["start", "page", "load_a", "load_b", *constants(dut, tiles[0])],
        "drain": dut.drain,
        "wait": wait,
        "tiles": [
            {"writes": list(writes(dut, tile)), "constants": constants(dut, tile)} for tile in tiles
        ],
    }
    source, answers = directory / "job.json", directory / "answers.json"
    source.write_text(json.dumps(job))
    run_cocotb(
        model,
        module="tests.cosim.bench_bitweight",
        test="tiles",
        environment={"UNIT_JOB": str(source), "UNIT_ANSWERS": str(answers)},
        directory=directory,
    )
    return [
        answer(dut, tile, told, wait)
        for tile, told in zip(tiles, json.loads(answers.read_text()), strict=True)
    ]


def answer(dut: ColumnArray, tile: Tile, told: dict[str, int], wait: int) -> Answer:
    words = fields(told["results"], 32, dut.columns * dut.elements)
    every = np.array([signed(word, 32) for word in words]).reshape(dut.columns, dut.elements)
    return Answer(
        values=every[: len(tile.a), : tile.b.shape[1]],
        end=told["ready"] - told["start"] - 1,
        start=told["start"],
        final=told["ready"] + wait,
    )


def random_tiles(dut: ColumnArray, count: int, seed: int) -> list[Tile]:
    """Draw tiles of random shape and spread, after the corners: K = 1, full, extreme, empty."""
    rng = np.random.default_rng(seed)
    low, high = value_range(dut.width)
    most = 4 * dut.lanes * dut.depth
    full = dut.columns, most, dut.elements
    most_b = min(high, (1 << 30) // (most * -low))  # results have 32 bits
    tiles = [
        Tile(np.full(full[:2], low), np.full(full[1:], max(low, -most_b - 1))),
        Tile(np.full((1, 1), high), np.full((1, 1), most_b)),
        Tile(np.full((1, 9), low * 2 // 3), np.full((9, 1), most_b)),
        Tile(np.full((dut.columns, 5), -2), np.full((5, 1), max(low, -most_b - 1))),
        Tile(np.zeros((1, most), np.int64), np.full(full[1:], most_b)),
    ]
    while len(tiles) < count:
        m, k, n = (int(rng.integers(1, size + 1)) for size in full)
        a = np.rint(rng.normal(0, rng.choice([0.02, 0.2, 2.0]) * high, (m, k)))
        b = rng.integers(max(low, -most_b - 1), most_b + 1, (k, n))
        tiles.append(Tile(np.clip(a, low, high).astype(np.int64), b))
    return tiles
