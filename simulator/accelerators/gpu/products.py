"""Time of a tiled product: tiles of thread blocks in waves over the SMs, fed from L2.

A thread block forms a tile of `rows` x `columns` results of one product. For each step of k its SM
multiplies rows x columns elements while it takes rows + columns operand elements from L2; the
slower of the two counts. Before the first step it waits for memory once, after the last one it
writes its results. Every SM has one block at a time, so that `blocks` take ceil(blocks / SMs)
waves. With `splits` > 1 several blocks share the k of a tile; each adds fp32 sums to those of its
predecessor through L2.

Memory: where half the L2 holds one whole operand, both cross the interface once. Otherwise blocks
run in groups of tile rows (or columns), at least as many as a square wave has, and the other
operand streams past once a group.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from workloads.rounding import ceil_div

TILES = (
    (256, 128),
    (128, 256),
    (128, 128),
    (256, 64),
    (64, 256),
    (128, 64),
    (64, 128),
    (64, 64),
    (32, 64),
    (16, 64),
)
"""Tiles that the CUTLASS profiler builds for fp16, and smaller ones for products of few rows."""

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Blocks that may share the k of a tile."""

STEP = 32
"""Elements of k that are loaded together: products are padded to it."""

PARTIAL_BYTES = 4
"""A partial sum, fp32."""


class Shape(NamedTuple):
    """`batch` products m x k x n; bits of one stored element along k, and of one result.

    `rate` is the MACs of one SM and clock, whether dense or sparse: `speedup` is 2 where k steps
    count double. `left_bytes`, `right_bytes` and `out_bytes` are those of all products.
    """

    m: int
    k: int
    n: int
    batch: int
    left_bits: float
    right_bits: float
    out_bits: int
    rate: int
    speedup: int
    left_bytes: int
    right_bytes: int
    out_bytes: int


class Kernel(NamedTuple):
    """How a product is cut, and the clocks of one block: multiplying, feeding, both edges."""

    rows: int
    columns: int
    splits: int
    block_k: int
    blocks: int
    waves: int
    multiply_cycles: int
    feed_cycles: int
    edge_cycles: int

    @property
    def cycles(self) -> int:
        """Clocks of all waves, memory bandwidth aside."""
        return self.waves * (max(self.multiply_cycles, self.feed_cycles) + self.edge_cycles)


class Machine(NamedTuple):
    """What the time of a kernel depends on; `dram_bytes_per_s` is what kernels reach."""

    sms: int
    clock_hz: float
    l2_bytes: int
    l2_bytes_per_cycle: int
    port_bytes_per_cycle: int
    latency_cycles: int
    dram_bytes_per_s: float

    def memory_cycles(self, moved_bytes: int) -> int:
        """Return the clocks in which the memory interface moves the bytes."""
        return math.ceil(moved_bytes * self.clock_hz / self.dram_bytes_per_s)


def kernel(shape: Shape, machine: Machine, rows: int, columns: int, splits: int) -> Kernel:
    """Return the clocks of one block with these tiles.

    >>> square = Shape(256, 64, 256, 1, 16, 16, 16, 1024, 1, 32768, 32768, 131072)
    >>> machine = Machine(4, 1e9, 1 << 20, 256, 64, 400, 1e11)
    >>> kernel(square, machine, 128, 128, 1)
    Kernel(rows=128, columns=128, splits=1, block_k=64, blocks=4, waves=1,
           multiply_cycles=1024, feed_cycles=512, edge_cycles=912)
    """
    block_k = ceil_div(ceil_div(shape.k, splits), STEP) * STEP
    blocks = shape.batch * ceil_div(shape.m, rows) * ceil_div(shape.n, columns) * splits
    waves = ceil_div(blocks, machine.sms)
    share = min(machine.port_bytes_per_cycle, machine.l2_bytes_per_cycle / ceil_div(blocks, waves))
    fed_bytes = (rows * shape.left_bits + columns * shape.right_bits) * block_k / 8
    result_bytes = rows * columns * (shape.out_bits / 8 if splits == 1 else 2 * PARTIAL_BYTES)
    return Kernel(
        rows=rows,
        columns=columns,
        splits=splits,
        block_k=block_k,
        blocks=blocks,
        waves=waves,
        multiply_cycles=ceil_div(rows * columns * block_k, shape.rate * shape.speedup),
        feed_cycles=math.ceil(fed_bytes / share),
        edge_cycles=machine.latency_cycles + math.ceil(result_bytes / share),
    )


@lru_cache(maxsize=1 << 16)
def best_kernel(shape: Shape, machine: Machine, tile: tuple[int, int] = (0, 0)) -> Kernel:
    """Return the kernel of all tiles and splits that takes least: waves, or traffic if longer.

    Of equals, the one with the fewest clocks of waves, then the first in the table. With `tile`
    only that tile is considered. Products of the same shape are worked out once.
    """
    choices = [
        kernel(shape, machine, rows, columns, splits)
        for rows, columns in (TILES if tile == (0, 0) else (tile,))
        for splits in SPLITS
        if splits == 1 or splits * STEP <= shape.k
    ]
    return min(choices, key=lambda choice: (_running_cycles(shape, choice, machine), choice.cycles))


def _running_cycles(shape: Shape, chosen: Kernel, machine: Machine) -> int:
    """Return the clocks of a kernel: the longer of its waves and of its traffic."""
    return max(chosen.cycles, machine.memory_cycles(dram_bytes(shape, chosen, machine)))


def l2_bytes(shape: Shape, chosen: Kernel) -> int:
    """Return the bytes between L2 and the SMs."""
    fed = (chosen.rows * shape.left_bits + chosen.columns * shape.right_bits) * chosen.block_k
    results = chosen.rows * chosen.columns
    each = results * (shape.out_bits if chosen.splits == 1 else 16 * PARTIAL_BYTES)
    return math.ceil(chosen.blocks * (fed + each) / 8)


def dram_bytes(shape: Shape, chosen: Kernel, machine: Machine) -> int:
    """Return the bytes over the memory interface, each result written once.

    The compulsory bytes if half of L2 holds one operand of each product.
    """
    down, across = ceil_div(shape.m, chosen.rows), ceil_div(shape.n, chosen.columns)
    left, right = shape.left_bytes, shape.right_bytes
    room = machine.l2_bytes // 2 * shape.batch
    wave = math.isqrt(machine.sms)
    left_groups = ceil_div(down, max(1, min(wave, down), room * down // max(left, 1)))
    right_groups = ceil_div(across, max(1, min(wave, across), room * across // max(right, 1)))
    streamed = min(left + right * left_groups, right + left * right_groups)
    whole = min(left, right) <= room
    return (left + right if whole else streamed) + shape.out_bytes
