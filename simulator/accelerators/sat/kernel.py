"""Time and traffic of every matrix product of a workload in one compiled pass.

`evaluate` is called by `schedule` (with a free choice of stationarity) and by `simulate` (with the
plan's choice); both therefore agree. It validates nothing: `sat.Config` and `workloads` have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.blocking import PSUM_BYTES, blocking
from dataflow.stationarity import OUTPUT_STATIONARY, choose_stationarity
from dataflow.tiling import ceil_div, output_tiles, reduction_groups, rows_per_block
from simulator.accelerators.sat.timing import os_cycles, ws_cycles

Ints = NDArray[np.int64]

RESULTS = (
    "stationarity",
    "compute_cycles",
    "steady_cycles",
    "memory_cycles",
    "useful_macs",
    "issued_macs",
    "dram_bytes",
    "compulsory_bytes",
    "sram_bytes",
    "feed_cycles",
    "kept",
    "group",
)
"""Rows of the result of `evaluate`; `steady_cycles` are those in which the array works at full rate
and `feed_cycles` is the slow-down of the reduction when the dense operand arrives too slowly."""


@njit(cache=True)
def index_bits(m: int) -> int:
    """Bits of an index into a group of `m`: ceil(log2 M), none for a dense operand (M = 1)."""
    bits = 0
    while (1 << bits) < m:
        bits += 1
    return bits


@njit(cache=True)
def packed_bytes(elements: int, n: int, m: int, value_bits: int) -> int:
    """Bytes of a tensor stored N of every M, values and indices."""
    return ceil_div(ceil_div(elements, m) * n * (value_bits + index_bits(m)), 8)


@njit(cache=True)
def kept_length(k: int, k_run: int, n: int, m: int) -> int:
    """Elements of a reduction of `k` that N:M leaves; an incomplete group keeps what it has.

    >>> kept_length(9 * 20, 20, 2, 8)   # 2 + 2 + 2 of 20 channels at 9 positions
    54
    """
    return k // k_run * (k_run // m * n + min(n, k_run % m))


@njit(cache=True)
def evaluate(
    table: Ints,
    choice: Ints,
    rows: int,
    cols: int,
    interleave: int,
    mul_latency: int,
    add_latency: int,
    value_bits: int,
    feed: int,
    compact_weights: bool,
    left_buffer_bytes: int,
    right_buffer_bytes: int,
    output_buffer_bytes: int,
    dram_bytes_per_cycle: float,
) -> Ints:
    """Return the `RESULTS` (rows) of every product (columns).

    `table` has the rows of `workloads.columns.MatMulColumns`, `choice` the stationarity of each
    product, `compact_weights` whether N:M operands are already compact in memory.
    """
    count = table.shape[1]
    result = np.zeros((12, count), np.int64)
    for i in range(count):
        batch, p, k, q, k_run = table[1, i], table[2, i], table[3, i], table[4, i], table[5, i]
        dense_elements, packed_elements = table[6, i], table[7, i]
        n, m = table[11, i], table[12, i]
        if m == 1 and table[10, i] > 1:
            # The pattern is on the left operand: compute the transposed product instead.
            n, m = table[9, i], table[10, i]
            p, q = q, p
            dense_elements, packed_elements = packed_elements, dense_elements
        groups = reduction_groups(k, k_run, m)
        kept = max(n, ceil_div(m, feed))
        out_bits = 32 if table[13, i] == 1 else value_bits

        dense_bytes = ceil_div(dense_elements * value_bits, 8)
        plain_bytes = ceil_div(packed_elements * value_bits, 8)
        least_bytes = packed_bytes(packed_elements, n, m, value_bits)
        right_bytes = least_bytes if compact_weights else plain_bytes
        out_bytes = ceil_div(table[8, i] * out_bits, 8)
        fetched, chunks = blocking(
            p,
            q,
            ceil_div(dense_bytes, batch),
            ceil_div(right_bytes, batch),
            rows,
            cols,
            left_buffer_bytes,
            right_buffer_bytes,
            output_buffer_bytes,
        )
        dram_bytes = max(fetched * batch, dense_bytes + right_bytes) + out_bytes

        k_tiles = ceil_div(groups, rows)
        block = p
        if k_tiles > 1:
            block = rows_per_block(p, cols, interleave, output_buffer_bytes)
        chunks = min(chunks, groups)
        os_time = os_cycles(
            p,
            ceil_div(groups, chunks),
            kept,
            q,
            batch * chunks,
            rows,
            cols,
            interleave,
            mul_latency,
            add_latency,
        )
        ws_time = ws_cycles(
            p, groups, kept, q, batch, rows, cols, interleave, mul_latency, add_latency, block
        )
        held = choose_stationarity(choice[i], os_time, ws_time)
        tiles = batch * output_tiles(p, q, rows, cols)
        strips = batch * ceil_div(q, cols) * k_tiles
        if held == OUTPUT_STATIONARY:
            steps = chunks * ceil_div(groups, chunks)
            steady = tiles * steps * kept
            issued = tiles * steps * n * rows * cols
            edge_bits = rows * m * value_bits + cols * n * (value_bits + index_bits(m))
            sram_bytes = tiles * (ceil_div(steps * edge_bits, 8) + rows * cols * PSUM_BYTES)
        else:
            steady = strips * p * kept
            issued = strips * p * n * rows * cols
            edge_bits = rows * m * value_bits
            weight_bits = rows * cols * n * (value_bits + index_bits(m))
            psums = strips * 2 - batch * ceil_div(q, cols)
            sram_bytes = ceil_div(strips * (p * edge_bits + weight_bits), 8)
            sram_bytes += psums * p * cols * PSUM_BYTES
        result[0, i] = held
        result[1, i] = os_time if held == OUTPUT_STATIONARY else ws_time
        result[2, i] = steady
        result[3, i] = int(np.ceil(dram_bytes / dram_bytes_per_cycle))
        result[4, i] = batch * p * q * kept_length(k, k_run, n, m)
        result[5, i] = issued
        result[6, i] = dram_bytes
        result[7, i] = dense_bytes + least_bytes + out_bytes
        result[8, i] = sram_bytes + dram_bytes
        result[9, i] = steady - ceil_div(steady * n, kept)
        result[10, i] = n
        result[11, i] = m
    return result


def matmul_table(columns: Any) -> Ints:
    """Stack the columns of the matrix products into the (14, products) table of `evaluate`."""
    return np.ascontiguousarray(np.stack(columns))
