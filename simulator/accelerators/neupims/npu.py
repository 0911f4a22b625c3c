"""What the NPU executes: each operator of a decoder layer as loads, instructions and stores.

Source: published NeuPIMs simulator. Effects that come from its code, not from the paper:

- The scratchpads hold 131 MiB, so that most products are one tile. The operand that stays in the
  array is a block of the activations; the weights stream. They are loaded once, block by block, and
  are then there for every further 128 rows.
- Of a result only a square corner, as many rows as columns, is stored. A block counts as complete
  whenever no step on it is in flight: blocks are stored after their first step, and those that the
  bias fills as soon as it is there.
- Layer norm, residual and GELU work on rows, one instruction each, and see a row of no elements:
  they cost 5, 0 and 0 clocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.accelerators.neupims.program import (
    EARLY_LOAD,
    MATRIX,
    MATRIX_NEW_BLOCK,
    NEEDS_FIRST,
    NEEDS_LAST,
    RESULT,
    STEP_FIELDS,
    STORE_ELEMENTS,
    STORE_FIELDS,
    STORE_RESULT,
    VECTOR,
    Ints,
    OperatorProgram,
)
from workloads.rounding import ceil_div

SIZE = 128
"""Rows and columns of an array, lanes of a vector unit."""
ARRAYS = 8
VECTOR_UNITS = 8
"""Systolic arrays and vector units of the device (published simulator)."""
SCRATCHPAD_BYTES = 134_218 * 1024
"""What the published simulator's loader makes of each scratchpad (its file says 1024 KB)."""
OVERLAPPED_LATENCY = SIZE + SIZE - 2 + SIZE // ARRAYS
SERIAL_LATENCY = SIZE + SIZE - 1 + SIZE // ARRAYS
EMPTY_LAYER_NORM = 5
"""Two levels of adder tree, two products and a root for a row without elements."""


def add_tree_levels(elements: int) -> int:
    """Return the passes of a 128-input adder tree over `elements`.

    >>> add_tree_levels(4096)   # 32 sums, then one of them
    33
    """
    if elements <= SIZE:
        return 1
    sums = ceil_div(elements, SIZE)
    return sums + add_tree_levels(sums)


def softmax_clocks(elements: int) -> int:
    """Return the latency of a softmax: two adder trees, then add, exponential and product."""
    return 2 * add_tree_levels(elements) + 3 * ceil_div(elements, SIZE)


def steps(
    kind: Ints | int,
    latency: int | Ints,
    first: Ints | int,
    last: Ints | int,
    result: Ints,
    *,
    after: Ints | int = -1,
    gap: int = SIZE,
) -> Ints:
    """Return instructions as rows of `program.STEP_FIELDS` columns, scalars repeated for each."""
    table = np.zeros((len(result), STEP_FIELDS), np.int64)
    for column, values in enumerate((kind, latency, first, last, after, gap, result)):
        table[:, column] = values
    return table


def _stores(result: Ints, elements: Ints | int, early_load: Ints | int = -1) -> Ints:
    table = np.zeros((len(result), STORE_FIELDS), np.int64)
    for column, values in enumerate((result, elements, early_load)):
        table[:, column] = values
    return table


def gemm(
    name: str, rows: int, depth: int, columns: int, *, serial: bool = False
) -> OperatorProgram:
    """Return the product of activations [rows, depth] and weights [depth, columns].

    The tiles of `tile_sizes` follow each other, columns outermost; loads of a tile are sent when
    the tile before the last one is done, because there are two scratchpads.
    """
    tile_depth, tile_columns = tile_sizes(rows, depth, columns)
    loads, table, stores, gates = [], [], [], []
    results = ceil_div(rows, SIZE) * ceil_div(columns, SIZE)
    loaded, done = 0, [0, 0]
    for column in range(0, columns, tile_columns):
        for start in range(0, depth, tile_depth):
            sizes = (min(tile_depth, depth - start), min(tile_columns, columns - column))
            tile = _tile(rows, *sizes, serial=serial, with_bias=start == 0)
            tile.steps[:, (NEEDS_FIRST, NEEDS_LAST)] += loaded
            first_result = column // SIZE * ceil_div(rows, SIZE)
            tile.steps[:, RESULT] += first_result
            tile.stores[:, STORE_RESULT] += first_result
            tile.stores[tile.stores[:, EARLY_LOAD] >= 0, EARLY_LOAD] += loaded
            if column:
                tile.stores[:, STORE_ELEMENTS] = 0
            loads.append(tile.loads)
            gates.append(np.full(len(tile.loads), done[-2]))
            table.append(tile.steps)
            stores += [tile.stores] if start + sizes[0] == depth else []
            loaded += len(tile.loads)
            done.append(done[-1] + len(tile.steps))
    return OperatorProgram(
        name=name,
        loads=np.concatenate(loads),
        gates=np.concatenate(gates).astype(np.int64),
        steps=np.concatenate(table),
        stores=np.concatenate(stores),
        results=results,
    )


def tile_sizes(rows: int, depth: int, columns: int) -> tuple[int, int]:
    """Return depth and columns of a tile: the longest side is halved until half a scratchpad fits.

    >>> tile_sizes(64, 4096, 8192)
    (4096, 4096)
    """
    sides = [rows, depth, columns]
    while True:
        n, k, m = (ceil_div(side, SIZE) * SIZE for side in sides)
        if 2 * (n * k + k * m + m * n) <= SCRATCHPAD_BYTES // 2:
            return sides[1], sides[2]
        longest = sides.index(max(sides[1:]), 1)
        sides[longest] = ceil_div(sides[longest], 2)


def _tile(rows: int, depth: int, columns: int, *, serial: bool, with_bias: bool) -> OperatorProgram:
    """Return one tile of a product.

    Instructions go by blocks of rows, then depth, then columns; the first of a row of blocks brings
    a new stationary block. Weights are loaded during the first block of rows.
    """
    row_blocks, depth_blocks, column_blocks = (ceil_div(v, SIZE) for v in (rows, depth, columns))
    n, k, m = (
        index.ravel()
        for index in np.meshgrid(
            *(np.arange(v) for v in (row_blocks, depth_blocks, column_blocks)), indexing="ij"
        )
    )
    bias = row_blocks if with_bias else 0
    depth_here = np.minimum(SIZE, depth - SIZE * k)
    weight = np.where(n == 0, np.minimum(SIZE, columns - SIZE * m) * depth_here, 0)
    activation = np.where(m == 0, np.minimum(SIZE, rows - SIZE * n) * depth_here, 0)
    both = np.stack([weight, activation], axis=1).ravel()
    place = np.cumsum(both > 0).reshape(-1, 2) - 1 + bias
    weight_load = np.zeros((depth_blocks, column_blocks), np.int64)
    weight_load[k[n == 0], m[n == 0]] = place[n == 0, 0]
    activation_load = np.zeros((row_blocks, depth_blocks), np.int64)
    activation_load[n[m == 0], k[m == 0]] = place[m == 0, 1]
    result = n * column_blocks + m
    stored_rows = np.clip(rows - SIZE * m, 0, SIZE)
    last = k == depth_blocks - 1
    early = np.where((m == 0) & with_bias, n, -1)
    return OperatorProgram(
        name="tile",
        loads=np.concatenate([np.full(bias, SIZE), both[both > 0]]).astype(np.int64),
        steps=steps(
            np.where(m == 0, MATRIX_NEW_BLOCK, MATRIX),
            SERIAL_LATENCY if serial else OVERLAPPED_LATENCY,
            weight_load[k, m],
            activation_load[n, k],
            result,
        ),
        stores=_stores(result[last], (stored_rows * SIZE)[last], early[last]),
    )


def by_row(name: str, rows: int, width: int, kind: str) -> OperatorProgram:
    """Return layer norm, residual or GELU over `rows` rows of `width` elements."""
    row = np.arange(rows)
    inputs = 2 if kind == "residual" else 1
    before = 2 if kind == "layernorm" else 0
    first = before + inputs * row
    last: Ints | int = {"layernorm": 1, "residual": first + 1, "gelu": -1}[kind]
    return OperatorProgram(
        name=name,
        loads=np.full(before + inputs * rows, width, np.int64),
        steps=steps(VECTOR, EMPTY_LAYER_NORM if kind == "layernorm" else 0, first, last, row),
        stores=_stores(row, width),
        results=rows,
    )


def fused_attention(name: str, lengths: Sequence[int], heads: int, width: int) -> OperatorProgram:
    """Return attention on the arrays (NPU-only): request by request, head by head.

    Per head: query, keys and values are loaded; the keys stream past the query; softmax; then one
    step per 128 tokens, and one more, with the probabilities as stationary block. A request is a
    tile; its loads wait for the tile before the last one.
    """
    loads, gates, parts, stores, done = [], [], [], [], [0, 0]
    result = 0
    for length in lengths:
        value_steps = ceil_div(length + SIZE - 1, SIZE)
        for _ in range(heads):
            query = len(loads)
            loads += [width, length * width, length * width]
            gates += [done[-2]] * 3
            logits, softmax, out = result, result + 1, result + 2
            keys = SIZE + SIZE - 1 + length // ARRAYS
            values = SIZE + SIZE - 1 + width // ARRAYS
            parts.append([MATRIX_NEW_BLOCK, keys, query, query + 1, -1, ARRAYS, logits])
            parts.append([VECTOR, softmax_clocks(length), -1, -1, logits, 0, softmax])
            step = [MATRIX_NEW_BLOCK, values, query + 2, -1, softmax, ARRAYS, out]
            parts += [step] * value_steps
            stores.append([out, width, -1])
            result += 3
        done.append(len(parts))
    return OperatorProgram(
        name=name,
        loads=np.array(loads, np.int64),
        gates=np.array(gates, np.int64),
        steps=np.array(parts, np.int64),
        stores=np.array(stores, np.int64),
        results=result,
    )
