"""Upper bounds of everything that `kernel` counts, in floating point, where nothing wraps.

With R, C rows and columns, I interleave and La adder latency (both at most 64), a product (batch B,
P, K, Q) in G groups of M has fewer than

    V = B (P + max(R, C)) (Q + max(R, C)) (G + R) M

padded multiply slots in either stationarity. Tiles and streamed rows, times the slots of a step,
the periods of `timing` and the bits that cross the array's edges, stay below 512 V; the N-fold of
the steady cycles, which `kernel` forms to split off the operand feed, below 512 V + 2 V N / (R C).
Traffic is at most what fetches each operand once for every row or column of tiles of the other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simulator.accelerators.sat.config import Config
from simulator.accelerators.sat.kernel import Ints
from simulator.counting import check_countable
from workloads.columns import Columns

WIDEST_ENTRY_BITS = 32.0 + 63.0
"""A value and its index."""


def check_products(config: Config, table: Columns, products: Ints) -> None:
    """Raise `InputError` naming the product whose counts may exceed 64 bits, if there is one."""
    bits_per_cycle = 8 * config.dram_bytes_per_s / config.clock_hz
    at, most = _largest_product(products, config.rows, config.cols, max(1.0, 1.0 / bits_per_cycle))
    if at >= 0:
        check_countable(str(table.names[table.matmuls.order[at]]), most)


def check_vectors(config: Config, table: Columns) -> None:
    """Raise `InputError` naming the vector work or selection that may exceed 64 bits."""
    cycles_per_bit = max(1.0, config.clock_hz / (8 * config.dram_bytes_per_s))
    ops, selections = table.vectors, table.selections
    moved_bits = 8.0 * ops.read_bytes + 8.0 * ops.write_bytes
    work = 1.0 * ops.elements * ops.lane_operations + moved_bits * cycles_per_bit
    padded = 1.0 * selections.elements + 2.0 * selections.m
    chosen = padded * selections.n * WIDEST_ENTRY_BITS * cycles_per_bit
    for order, most in ((ops.order, work), (selections.order, chosen)):
        if most.size:
            check_countable(str(table.names[order[np.argmax(most)]]), float(most.max()))


@njit(cache=True)
def _largest_product(table: Ints, rows: int, cols: int, cycles_per_bit: float) -> tuple[int, float]:
    """Return the product with the largest bound, and that bound; (-1, 0) without products."""
    at, most = -1, 0.0
    least, side = min(rows, cols), max(rows, cols)
    for i in range(table.shape[1]):
        batch, p, q = float(table[1, i]), float(table[2, i]), float(table[4, i])
        kept = float(max(table[9, i], table[11, i]))
        group = float(max(table[10, i], table[12, i]))
        groups = table[3, i] / table[5, i] * (table[5, i] / group + 1.0)
        slots = batch * (p + side) * (q + side) * (groups + rows) * group
        left_bits = table[6, i] * 32.0 + (table[6, i] + group) * WIDEST_ENTRY_BITS + 8.0 * batch
        right_bits = table[7, i] * 32.0 + (table[7, i] + group) * WIDEST_ENTRY_BITS + 8.0 * batch
        moved_bits = left_bits * (q / least + 2.0) + right_bits * (p / least + 2.0)
        moved_bits += table[8, i] * 32.0
        bound = slots * (512.0 + 2.0 * kept / (rows * cols)) + moved_bits * cycles_per_bit
        if bound > most:
            at, most = i, bound
    return at, most
