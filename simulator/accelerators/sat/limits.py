"""Upper bounds of everything that `kernel` counts, in floating point, where nothing wraps.

With R, C rows and columns, I interleave and La adder latency (both at most 64), a product (batch B,
P, K, Q) in G groups of M has fewer than

    V = B (P + max(R, C)) (Q + max(R, C)) (G + max(R, C)) M

padded multiply slots in either stationarity. Tiles and streamed rows, times the slots of a step,
the periods of `timing` and the bits that cross the array's edges, stay below 512 V; the N-fold of
the steady cycles, which `kernel` forms to split off the operand feed, adds at most
2 V N / min(R, C)^2. Traffic is at most what fetches each operand once for every row or column of
tiles of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from simulator.accelerators.sat.config import Config
from simulator.accelerators.sat.kernel import Ints, matmul_table
from simulator.counting import check_countable
from workloads.columns import Columns, columns
from workloads.operations import Workload

Floats = NDArray[np.floating[Any]]

WIDEST_ENTRY_BITS = 32.0 + 63.0
"""A value and its index."""


def check_products(config: Config, table: Columns, products: Ints) -> None:
    """Raise `InputError` naming the product whose counts may exceed 64 bits, if there is one.

    `products` is what `kernel.matmul_table` makes of those of `table`, (17, products).
    """
    bounds = _product_bounds(products, config.rows, config.cols, _cycles_per_bit(config))
    if bounds.size:
        at = int(bounds.argmax())
        check_countable(str(table.names[table.matmuls.order[at]]), float(bounds[at]))


def check_vectors(config: Config, table: Columns) -> None:
    """Raise `InputError` naming the vector work or selection that may exceed 64 bits."""
    for order, bounds in _vector_bounds(_cycles_per_bit(config), table):
        if bounds.size:
            at = int(bounds.argmax())
            check_countable(str(table.names[order[at]]), float(bounds[at]))


def check_totals(configs: Mapping[str, NDArray[Any]], workload: Workload) -> None:
    """Raise `InputError` if a total of the workload may exceed 64 bits with any of the configs.

    `configs` holds the arrays of `rows`, `cols`, `clock_hz` and `dram_bytes_per_s`.
    """
    table = columns(workload)
    slowest = max(1.0, float((configs["clock_hz"] / (8 * configs["dram_bytes_per_s"])).max()))
    sides = np.concatenate([configs["rows"], configs["cols"]])
    bounds = _product_bounds(
        matmul_table(table.matmuls), int(sides.max()), int(sides.min()), slowest
    )
    total = bounds.sum() + sum(part.sum() for _, part in _vector_bounds(slowest, table))
    check_countable(workload.name, float(total))


def _cycles_per_bit(config: Config) -> float:
    """Return the off-chip cycles a bit, at least one."""
    return max(1.0, config.clock_hz / (8 * config.dram_bytes_per_s))


def _vector_bounds(cycles_per_bit: float, table: Columns) -> list[tuple[Ints, Floats]]:
    """Return places and bounds of the vector work and of the selections."""
    ops, selections = table.vectors, table.selections
    moved_bits = 8.0 * ops.read_bytes + 8.0 * ops.write_bytes
    work = 1.0 * ops.elements * ops.lane_operations + moved_bits * cycles_per_bit
    padded = 1.0 * selections.elements + 2.0 * selections.m
    chosen = padded * selections.n * WIDEST_ENTRY_BITS * cycles_per_bit
    return [(ops.order, work), (selections.order, chosen)]


@njit(cache=True)
def _product_bounds(table: Ints, rows: int, cols: int, cycles_per_bit: float) -> Floats:
    """Return the bound of each product; with sides of several arrays, of any of them."""
    bounds = np.zeros(table.shape[1])
    least, side = min(rows, cols), max(rows, cols)
    for i in range(table.shape[1]):
        batch, p, q = float(table[1, i]), float(table[2, i]), float(table[4, i])
        kept = float(max(table[9, i], table[11, i]))
        group = float(max(table[10, i], table[12, i]))
        groups = table[3, i] / table[5, i] * (table[5, i] / group + 1.0)
        slots = batch * (p + side) * (q + side) * (groups + side) * group
        left_bits = table[6, i] * 32.0 + (table[6, i] + group) * WIDEST_ENTRY_BITS + 8.0 * batch
        right_bits = table[7, i] * 32.0 + (table[7, i] + group) * WIDEST_ENTRY_BITS + 8.0 * batch
        moved_bits = left_bits * (q / least + 2.0) + right_bits * (p / least + 2.0)
        moved_bits += table[8, i] * 32.0
        bounds[i] = slots * (512.0 + 2.0 * kept / least**2) + moved_bits * cycles_per_bit
    return bounds
