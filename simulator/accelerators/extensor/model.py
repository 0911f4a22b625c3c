"""Config, tiling and cost of ExTensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm import Work, multiply
from dataflow.traffic import Traffic
from simulator import sparse_products
from simulator.report import Report
from workloads.matrices.csr import Csr
from workloads.operations import Workload
from workloads.rounding import ceil_div

RUN_OPTIONS = sparse_products.MATRIX_OPTIONS
narrow = sparse_products.narrow
workload_from_options = sparse_products.workload_from_options

NEVER_SLOWER_WITH = ("dram_bytes_per_s",)
"""Config fields whose increase never makes a run slower."""

INPUT_ENTRY_BYTES = 12
"""32-bit coordinate and 64-bit value of the innermost rank."""

FIBER_BYTES = 8
"""Coordinate and payload of a rank above it."""

OUTPUT_ENTRY_BYTES = 16
"""Two 32-bit coordinates and a 64-bit value of C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(sparse_products.RivalConfig):
    """ExTensor as TeAAL describes it."""

    pes: int = 128
    """Processing elements."""

    tile: int = 128
    """Side of a microtile in all three dimensions."""

    m_tiles: int = 8
    """Microtiles of M in a block of the last-level buffer (TeAAL's choice for email-Enron)."""

    k_tiles: int = 256
    """Microtiles of K in a block (TeAAL's choice for email-Enron)."""

    n_tiles: int = 32
    """Microtiles of N in a block (TeAAL's choice for email-Enron)."""

    clock_hz: float = 1e9
    """Clock in Hz."""

    dram_bytes_per_s: float = 68.256e9
    """Off-chip bandwidth in bytes/s: four channels of DDR4-2133."""

    @property
    def peak_macs_per_cycle(self) -> int:
        """One multiply per PE."""
        return self.pes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segments:
    """An operand by microtile of K and line; see `kernel`.

    `tile_start` gives the first segment of each microtile of K, and the number of segments at its
    end.
    """

    inner: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    line: NDArray[np.int64]
    tile_start: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiling:
    """Decisions: both operands in microtiles, bytes of A's and of the results of each block.

    `a_bytes` is (M microtiles, K microtiles). `read_bytes` and `written_bytes`, (K, M, N) blocks,
    are the partial outputs that a block reads before it adds to them, and the results it leaves.
    """

    a: Segments
    b: Segments
    a_bytes: NDArray[np.int64]
    b_total_bytes: int
    b_present: NDArray[np.bool_]
    read_bytes: NDArray[np.int64]
    written_bytes: NDArray[np.int64]


def schedule(config: Config, workload: Workload) -> sparse_products.Plan:
    """Cut operands and result into microtiles and blocks."""
    return sparse_products.plan(config, workload, _tile)


def simulate(config: Config, plan: sparse_products.Plan) -> Report:
    """Say what the plan costs."""
    return sparse_products.report("extensor", config, plan, _cost, pointers=False)


def _tile(config: Config, left: Csr, right: Csr, _: Work) -> Tiling:
    """Return both operands in microtiles and the bytes that their formats take."""
    side = config.tile
    m, k, n = (ceil_div(size, side) for size in (left.shape[0], left.shape[1], right.shape[1]))
    rows = np.repeat(np.arange(left.shape[0]), left.row_lengths)
    inner = np.repeat(np.arange(right.shape[0]), right.row_lengths)
    columns_a, columns_b = left.indices.astype(np.int64), right.indices.astype(np.int64)
    a = _segments(rows, columns_a, side, k)
    b = _segments(columns_b, inner, side, k)
    a_bytes = INPUT_ENTRY_BYTES * _per_tile(rows // side, columns_a // side, m, k)
    a_tiles = np.repeat(np.arange(k), np.diff(a.tile_start))
    fibers = _per_tile(a.line // side, a_tiles, m, k)
    b_tiles = np.repeat(np.arange(k), np.diff(b.tile_start))
    b_occupied = _per_tile(b_tiles, b.line // side, k, n) > 0
    blocks_n = np.arange(n) // config.n_tiles
    tile_of_k, tile_of_n = np.nonzero(b_occupied)
    top = len(np.unique(tile_of_k // config.k_tiles * n + tile_of_n))
    b_fibers = len(b.line) + int(b_occupied.sum()) + top
    read, written = _outputs(config, left, right, a_bytes > 0, b_occupied)
    return Tiling(
        a=a,
        b=b,
        a_bytes=a_bytes + FIBER_BYTES * (fibers + (fibers > 0)),
        b_total_bytes=INPUT_ENTRY_BYTES * right.nnz + FIBER_BYTES * b_fibers,
        b_present=np.stack(
            [b_occupied[:, blocks_n == block].any(axis=1) for block in range(blocks_n[-1] + 1)]
        ),
        read_bytes=OUTPUT_ENTRY_BYTES * read,
        written_bytes=OUTPUT_ENTRY_BYTES * written,
    )


def _segments(
    lines: NDArray[np.int64], inner: NDArray[np.int64], side: int, tiles: int
) -> Segments:
    order = np.lexsort((inner, lines, inner // side))
    line, position = lines[order], inner[order]
    tile_of = position // side
    new = np.ones(len(line), dtype=bool)
    new[1:] = (line[1:] != line[:-1]) | (tile_of[1:] != tile_of[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(line)) if len(first) else first
    start = np.searchsorted(tile_of[first], np.arange(tiles + 1))
    return Segments(inner=position, first=first, last=last, line=line[first], tile_start=start)


def _per_tile(
    rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
) -> NDArray[np.int64]:
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)


def _outputs(
    config: Config, left: Csr, right: Csr, a_tiles: NDArray[np.bool_], b_tiles: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the entries of C that each block reads and leaves, both (K, M, N) blocks.

    A microtile of C that a block of K adds to is read and written whole.
    """
    m, n = a_tiles.shape[0], b_tiles.shape[1]
    read, written = [], []
    before = np.zeros((m, n), dtype=np.int64)
    for k in _runs(a_tiles.shape[1], config.k_tiles):
        reached = (a_tiles[:, k].astype(np.int64) @ b_tiles[k].astype(np.int64)) > 0
        after = _result_tiles(config, _first_columns(left, k.stop * config.tile), right, m, n)
        read.append(_block_sums(config, before * reached))
        written.append(_block_sums(config, after * reached))
        before = after
    return np.stack(read), np.stack(written)


def _block_sums(config: Config, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum microtiles (M, N) over blocks."""
    rows = np.add.reduceat(tiles, np.arange(0, tiles.shape[0], config.m_tiles), axis=0)
    return np.add.reduceat(rows, np.arange(0, tiles.shape[1], config.n_tiles), axis=1)


def _first_columns(matrix: Csr, columns: int) -> Csr:
    kept = matrix.indices < columns
    sums = np.concatenate([[0], np.cumsum(kept)])
    return Csr(
        shape=matrix.shape,
        indptr=sums[matrix.indptr],
        indices=matrix.indices[kept],
        values=matrix.values[kept],
        name=matrix.name,
    )


def _result_tiles(config: Config, left: Csr, right: Csr, m: int, n: int) -> NDArray[np.int64]:
    result = multiply(left, right)
    rows = np.repeat(np.arange(result.shape[0]), np.diff(result.indptr)) // config.tile
    return _per_tile(rows, result.indices.astype(np.int64) // config.tile, m, n)


def _cost(config: Config, step: sparse_products.Step) -> sparse_products.Cost:
    from simulator.accelerators.extensor import kernel

    tiling: Tiling = step.decisions
    blocks = np.array(list(_blocks(config, tiling)), dtype=np.int64).reshape(-1, 4)
    a_bytes, read, written, steps = (int(total) for total in blocks.sum(axis=0))
    result = int(tiling.written_bytes.sum() - tiling.read_bytes.sum())
    traffic = Traffic(a=a_bytes, b=tiling.b_total_bytes, partial=read + written - result, c=result)
    bytes_per_cycle = config.dram_bytes_per_s / config.clock_hz
    moved_in, moved_out = blocks[:, 0] + blocks[:, 1], blocks[:, 2]
    pipelined: Any = kernel.pipelined
    phases = {
        "blocks": math.ceil(
            pipelined(moved_in / bytes_per_cycle, blocks[:, 3], moved_out / bytes_per_cycle)
        ),
        "load_b": sparse_products.memory_cycles(config, traffic.b),
    }
    least = int(tiling.a_bytes.sum()) + traffic.b + traffic.c
    return sparse_products.Cost(
        traffic=traffic,
        cycles=sum(phases.values()),
        compute_cycles=steps,
        phases=phases,
        extra={"tiled_compulsory_bytes": least},
    )


def _blocks(config: Config, tiling: Tiling) -> Iterator[tuple[int, int, int, int]]:
    """Give bytes of A, of partial outputs, of results, and steps of each block of the buffer.

    Blocks of N are outermost, those of M innermost. A microtile of A is read if it meets B.
    """
    from simulator.accelerators.extensor import kernel

    block_steps: Any = kernel.block_steps
    shape = (config.m_tiles, config.n_tiles, config.k_tiles)
    steps = np.zeros(shape, dtype=np.int64)
    pes = np.zeros(config.pes, dtype=np.int64)
    a, b = tiling.a, tiling.b
    lists_a = (a.inner, a.first, a.last, a.line, a.tile_start)
    lists_b = (b.inner, b.first, b.last, b.line, b.tile_start)
    m_count, k_count = tiling.a_bytes.shape
    for n in range(tiling.read_bytes.shape[2]):
        for k, k_tiles in enumerate(_runs(k_count, config.k_tiles)):
            present = tiling.b_present[n, k_tiles]
            for m, m_tiles in enumerate(_runs(m_count, config.m_tiles)):
                n_low = n * config.n_tiles
                bounds = (k_tiles.start, k_tiles.stop, m_tiles.start, m_tiles.stop)
                block_steps(
                    *lists_a, *lists_b, config.tile, (*bounds, n_low, n_low + config.n_tiles), steps
                )
                yield (
                    int(tiling.a_bytes[m_tiles, k_tiles][:, present].sum()),
                    int(tiling.read_bytes[k, m, n]),
                    int(tiling.written_bytes[k, m, n]),
                    int(kernel.finish(steps.ravel(), pes)),
                )


def _runs(count: int, length: int) -> list[slice]:
    return [slice(low, min(low + length, count)) for low in range(0, count, length)]
