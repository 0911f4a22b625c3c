"""What software does around the accelerator: operands to bank words, results to a matrix.

Pure numpy on the formats of `dataflow.nm`; no hardware is described here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.nm import Compressed
from dataflow.tiling import ceil_div
from rtl.sat.instructions import Opcode
from rtl.sat.parameters import Parameters
from workloads.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product for the matrix engine.

    `west` (rows, words, M) and `north_values`, `north_indices` (cols, words) are bank images,
    `instruction` the fields of its instruction without `period`s, `row` and `column` (both
    (cols, results)) say which element of the (P, Q) result each word of the result banks is.
    """

    west: Array
    north_values: Array
    north_indices: Array
    instruction: dict[str, int]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]

    def gather(self, words: Array) -> Array:
        """Return the (P, Q) result from the words (cols, results) of the result banks."""
        out = np.zeros(self.shape, words.dtype)
        inside = (self.row < self.shape[0]) & (self.column < self.shape[1])
        out[self.row[inside], self.column[inside]] = words[inside]
        return out


def output_stationary(windows: Array, packed: Compressed, parameters: Parameters) -> Product:
    """Lay out the product of `windows` (P, G, M) and `packed` (G, N, Q), outputs in the array."""
    p, groups, _ = windows.shape
    kept, q = packed.values.shape[1:]
    _check(windows, packed, parameters)
    rows, cols = parameters.rows, parameters.cols
    p_tiles, q_tiles, steps = ceil_div(p, rows), ceil_div(q, cols), groups * kept
    west = _filled(windows, (p_tiles * rows, groups, parameters.m))
    west = west.reshape(p_tiles, rows, groups, -1).transpose(1, 0, 2, 3)
    north = [
        _filled(part.reshape(steps, q), (steps, q_tiles * cols))
        .reshape(steps, q_tiles, cols)
        .transpose(2, 1, 0)
        .reshape(cols, -1)
        for part in (packed.values, packed.indices)
    ]
    tiles = p_tiles * q_tiles
    row, column = _drain_order(tiles, q_tiles, parameters)
    return Product(
        west=west.reshape(rows, p_tiles * groups, -1),
        north_values=north[0],
        north_indices=north[1],
        instruction={
            "opcode": Opcode.OUTPUT_STATIONARY,
            "kept": kept,
            "groups": groups,
            "steps": steps,
            "tiles": tiles,
            "q_tiles": q_tiles,
            "results": tiles * rows,
        },
        row=row,
        column=column,
        shape=(p, q),
    )


def weight_stationary(
    windows: Array, packed: Compressed, parameters: Parameters, *, block_rows: int
) -> Product:
    """Lay out the product of `windows` (P, G, M) and `packed` (G, N, Q), weights in the array.

    Rows are streamed in blocks of `block_rows`.
    """
    p, groups, _ = windows.shape
    kept, q = packed.values.shape[1:]
    _check(windows, packed, parameters)
    rows, cols = parameters.rows, parameters.cols
    k_tiles, q_tiles, blocks = ceil_div(groups, rows), ceil_div(q, cols), ceil_div(p, block_rows)
    west = _filled(windows, (p, k_tiles * rows, parameters.m))
    west = west.reshape(p, k_tiles, rows, -1).transpose(2, 1, 0, 3)
    north = [
        # the south-most PE's last value goes in first
        _filled(part, (k_tiles * rows, kept, q_tiles * cols))
        .reshape(k_tiles, rows * kept, q_tiles, cols)[:, ::-1]
        .transpose(3, 2, 0, 1)
        .reshape(cols, -1)
        for part in (packed.values, packed.indices)
    ]
    strip, row = np.divmod(np.arange(q_tiles * p), p)
    return Product(
        west=west.reshape(rows, k_tiles * p, -1),
        north_values=north[0],
        north_indices=north[1],
        instruction={
            "opcode": Opcode.WEIGHT_STATIONARY,
            "kept": kept,
            "rows": p,
            "k_tiles": k_tiles,
            "q_tiles": q_tiles,
            "blocks": blocks,
            "block_rows": block_rows,
            "last_rows": p - (blocks - 1) * block_rows,
            "results": p * q_tiles * k_tiles,
        },
        row=np.broadcast_to(row, (cols, row.size)),
        column=strip * cols + np.arange(cols)[:, None],
        shape=(p, q),
    )


def pack(values: Array, bits: int) -> Iterator[int]:
    """Yield each row of `values` (words, entries) as one integer, entry 0 lowest."""
    size = np.dtype(f"<u{bits // 8}")
    raw = np.ascontiguousarray(values).view(size)
    for word in raw:
        yield int.from_bytes(word.tobytes(), "little")


def _check(windows: Array, packed: Compressed, parameters: Parameters) -> None:
    pattern = packed.pattern
    if pattern.n > parameters.n or pattern.m > parameters.m:
        raise InputError(
            f"a build for {parameters.n}:{parameters.m} cannot run {pattern.n}:{pattern.m}"
        )
    if windows.shape[1:] != (packed.values.shape[0], pattern.m):
        raise InputError(
            f"windows must have shape (P, {packed.values.shape[0]}, {pattern.m}), "
            f"not {windows.shape}"
        )


def _filled(array: Array, shape: tuple[int, ...]) -> Array:
    """Return `array` with zeros behind it on every axis."""
    out = np.zeros(shape, array.dtype)
    out[tuple(slice(size) for size in array.shape)] = array
    return out


def _drain_order(
    tiles: int, q_tiles: int, parameters: Parameters
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of each result: turns of I tiles, south-most PE first in a turn."""
    rows, cols, interleave = parameters.rows, parameters.cols, parameters.interleave
    order = [
        (tile, r)
        for first in range(0, tiles, interleave)
        for r in range(rows - 1, -1, -1)
        for tile in range(first, min(first + interleave, tiles))
    ]
    tile, r = np.array(order, np.int64).reshape(-1, 2).T
    row = np.broadcast_to(tile // q_tiles * rows + r, (cols, tile.size))
    return row, tile % q_tiles * cols + np.arange(cols)[:, None]
