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
from rtl.sat.instructions import Opcode
from rtl.sat.parameters import Parameters
from workloads.errors import InputError
from workloads.patterns import NM
from workloads.rounding import ceil_div

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

    def check(self, parameters: Parameters) -> Product:
        """Return the product; raise `InputError` if an image or the results exceed their banks."""
        _check_words("windows", self.west.shape[1], parameters.operand_words)
        _check_words("kept values", self.north_values.shape[1], parameters.operand_words)
        _check_words("results", self.row.shape[1], parameters.result_words)
        return self

    def gather(self, words: Array) -> Array:
        """Return the (P, Q) result from the words (cols, results) of the result banks."""
        out = np.zeros(self.shape, words.dtype)
        inside = (self.row < self.shape[0]) & (self.column < self.shape[1])
        out[self.row[inside], self.column[inside]] = words[inside]
        return out


def output_stationary(windows: Array, packed: Compressed, parameters: Parameters) -> Product:
    """Lay out the product of `windows` (P, G, M) and `packed` (G, N, Q), outputs in the array."""
    p, groups, kept, q = _sizes(windows, packed, parameters)
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
    ).check(parameters)


def weight_stationary(
    windows: Array, packed: Compressed, parameters: Parameters, *, block_rows: int
) -> Product:
    """Lay out the product of `windows` (P, G, M) and `packed` (G, N, Q), weights in the array.

    Rows are streamed in blocks of `block_rows`.
    """
    p, groups, kept, q = _sizes(windows, packed, parameters)
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
    ).check(parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One weight update and re-selection for the vector engine.

    `weights` has shape (K, Q); K is filled up to a multiple of M, Q to a multiple of the lanes.
    Images of the state banks have shape (lanes, words). Raises `InputError` for a pattern that the
    build cannot select, or for more words than its banks have.
    """

    shape: tuple[int, int]
    pattern: NM
    parameters: Parameters

    def __post_init__(self) -> None:
        build = self.parameters
        if self.pattern.n > build.n or build.m % self.pattern.m:
            raise InputError(
                f"a build for {build.n}:{build.m} cannot select {self.pattern}: N must be at most "
                f"{build.n}, and M a divisor of {build.m}"
            )
        words = max(self.rows * self.blocks, self.backward_words)
        _check_words("weights", words, build.weight_words)

    @property
    def rows(self) -> int:
        """Words of one block of columns: K up to a multiple of M."""
        return ceil_div(self.shape[0], self.pattern.m) * self.pattern.m

    @property
    def blocks(self) -> int:
        """Blocks of columns."""
        return ceil_div(self.shape[1], self.parameters.lanes)

    @property
    def instruction(self) -> dict[str, int]:
        """The fields of the instruction, without bases."""
        return {
            "opcode": Opcode.UPDATE,
            "kept": self.pattern.n,
            "group": self.pattern.m,
            "rows": self.rows,
            "blocks": self.blocks,
            "results": self.rows * self.blocks,
        }

    @property
    def forward_words(self) -> int:
        """Groups that each forward bank receives."""
        return self.rows * self.blocks // self.pattern.m

    @property
    def backward_words(self) -> int:
        """Groups that each backward bank receives, the last one possibly less."""
        turns = ceil_div(self.rows * self.blocks, self.parameters.flights)
        return turns * (self.parameters.m // self.pattern.m)

    def scatter(self, matrix: Array) -> Array:
        """Return the (lanes, words) image of a (K, Q) matrix."""
        lanes = self.parameters.lanes
        filled = _filled(matrix, (self.rows, self.blocks * lanes))
        return filled.reshape(self.rows, self.blocks, lanes).transpose(2, 1, 0).reshape(lanes, -1)

    def gather(self, image: Array) -> Array:
        """Return the (K, Q) matrix of a (lanes, words) image."""
        lanes = self.parameters.lanes
        matrix = image.reshape(lanes, self.blocks, self.rows).transpose(2, 1, 0)
        return matrix.reshape(self.rows, -1)[: self.shape[0], : self.shape[1]]

    def forward(self, links: Array) -> Compressed:
        """Return W with groups along K from the links (lanes, N, forward words)."""
        lanes, kept = self.parameters.lanes, self.pattern.n
        groups = links.reshape(lanes, kept, self.blocks, -1).transpose(3, 1, 2, 0)
        columns = groups.reshape(groups.shape[0], kept, -1)[:, :, : self.shape[1]]
        return self._compressed(columns, self.shape[0])

    def backward(self, links: Array) -> Compressed:
        """Return the transposed W, with groups along Q, from (banks, N, backward words) links."""
        kept, size = self.pattern.n, self.pattern.m
        flights, slices = self.parameters.flights, self.parameters.slices
        parts = self.parameters.m // size
        # bank = flight * slices + slice, word = turn * parts + part; row = turn * flights + flight
        rows = links.reshape(flights, slices, kept, -1, parts).transpose(3, 0, 1, 4, 2)
        rows = rows.reshape(-1, slices * parts, kept)[: self.rows * self.blocks]
        groups = rows.reshape(self.blocks, self.rows, slices * parts, kept).transpose(0, 2, 3, 1)
        groups = groups.reshape(-1, kept, self.rows)[: ceil_div(self.shape[1], size)]
        return self._compressed(groups[:, :, : self.shape[0]], self.shape[1])

    def _compressed(self, links: Array, length: int) -> Compressed:
        return Compressed(
            values=np.ascontiguousarray((links & 0xFFFF).astype(np.uint16)).view(np.float16),
            indices=(links >> 16).astype(np.uint8),
            pattern=self.pattern,
            length=length,
        )


def pack(values: Array, bits: int) -> Iterator[int]:
    """Yield each row of `values` (words, entries) as one integer, entry 0 lowest."""
    size = np.dtype(f"<u{bits // 8}")
    raw = np.ascontiguousarray(values).view(size)
    for word in raw:
        yield int.from_bytes(word.tobytes(), "little")


def _check_words(what: str, words: int, most: int) -> None:
    if words > most:
        raise InputError(
            f"{what} need {words} words of a bank, and the build has {most}; "
            "a larger build or a smaller product is needed"
        )


def _sizes(windows: Array, packed: Compressed, parameters: Parameters) -> tuple[int, int, int, int]:
    """Return P, groups, N and Q; raise `InputError` if the build, types or shapes do not fit."""
    pattern = packed.pattern
    if pattern.n > parameters.n or pattern.m > parameters.m:
        raise InputError(
            f"a build for {parameters.n}:{parameters.m} cannot run {pattern.n}:{pattern.m}"
        )
    kind = {"fp16": "float16", "int8": "int8"}[parameters.data_type]
    for name, given in (("windows", windows.dtype), ("kept values", packed.values.dtype)):
        if given != kind:
            raise InputError(
                f"{name} of a build for {parameters.data_type} must be {kind}, not {given}"
            )
    if windows.shape[1:] != (packed.values.shape[0], pattern.m):
        raise InputError(
            f"windows must have shape (P, {packed.values.shape[0]}, {pattern.m}), "
            f"not {windows.shape}"
        )
    return windows.shape[0], *packed.values.shape


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
