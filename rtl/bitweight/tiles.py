"""Tiles of a column array: the words that load one, and a stimulus that multiplies some."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.bitweight import GROUP
from dataflow.digits import value_range
from rtl.bitweight.columns import ColumnArray
from rtl.elaboration import pack
from rtl.stimulus import Inputs, Stimulus
from workloads.rounding import ceil_div


@dataclass(frozen=True)
class Tile:
    """One tile: rows of A (at most the columns), and B (at most the elements of a column)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]


def shape(array: ColumnArray, tile: Tile) -> tuple[int, int, int]:
    """Return groups of a lane, and how many of them lie in a bank, and the banks in use."""
    per_lane = ceil_div(tile.a.shape[1], GROUP * array.lanes)
    chunk = ceil_div(per_lane, array.banks)
    used = min(array.banks, per_lane) if array.interleaved else ceil_div(per_lane, chunk)
    return per_lane, chunk, used


def constants(array: ColumnArray, tile: Tile) -> Inputs:
    """Return the ports that stay as they are while a tile runs."""
    per_lane, chunk, used = shape(array, tile)
    return {
        "groups": per_lane - 1,
        "chunk": chunk - 1,
        "last_bank": used - 1,
        "last_column": len(tile.a) - 1,
    }


def writes(array: ColumnArray, tile: Tile) -> Iterator[Inputs]:
    """Yield the writes of A, then of B; where both have one they share a cycle."""
    per_lane, chunk, used = shape(array, tile)
    padded = GROUP * per_lane * array.lanes - tile.a.shape[1]
    a = np.pad(tile.a, ((0, 0), (0, padded)))
    b = np.pad(tile.b, ((0, padded), (0, array.elements - tile.b.shape[1])))
    of_a = [
        {
            "load_a": 1,
            "load_column": row * array.lanes + g % array.lanes,
            "load_address": g // array.lanes,
            "load_value": pack(a[row, GROUP * g : GROUP * (g + 1)].tolist(), array.width),
        }
        for row in range(len(a))
        for g in range(per_lane * array.lanes)
    ]
    for g in range(max(len(of_a), per_lane * array.lanes)):
        both = dict(of_a[g]) if g < len(of_a) else {}
        if g < per_lane * array.lanes:
            address, lane = divmod(g, array.lanes)
            bank, row = divmod(address, chunk)
            if array.interleaved:
                row, bank = divmod(address, used)
            both |= {
                "load_b": 1,
                "load_bank": bank * array.lanes + lane,
                "load_row": row,
                "load_group": pack(b[GROUP * g : GROUP * (g + 1)].ravel().tolist(), array.width),
            }
        yield both


TILES = 4
MOST_GROUPS = 8
"""Groups of a lane in a tile, that of the least memory apart: the tiles stay short."""


def multiply_tiles(array: ColumnArray, rng: random.Random) -> Stimulus:
    """Multiply tiles one after the other; the next one is written while one runs.

    The first one uses all columns and elements, the others some; each result is left to stand.
    """
    tiles = _drawn(array, np.random.default_rng(rng.getrandbits(32)))
    for write in writes(array, tiles[0]):
        yield write | {"page": 1}
    for number, tile in enumerate(tiles):
        page = {"page": number % 2}
        following = writes(array, tiles[number + 1]) if number + 1 < len(tiles) else iter(())
        yield constants(array, tile) | page | {"start": 1}
        ready = False
        for write in following:
            ready |= bool((yield constants(array, tile) | page | write)["ready"])
        while not ready:
            ready = bool((yield constants(array, tile) | page)["ready"])
        for _ in range(array.drain + READ_OUT):
            yield constants(array, tile) | page


READ_OUT = 3
"""Cycles from `ready` to the results, the turns of the read-out apart (`ColumnArray`)."""


def _drawn(array: ColumnArray, rng: np.random.Generator) -> Sequence[Tile]:
    """Draw tiles: one of all columns, then random shapes; B so small that a result has 32 bits."""
    low, high = value_range(array.width)
    most = GROUP * array.lanes * min(array.depth, MOST_GROUPS)
    limit = min(high, (1 << 30) // (most * -low))
    shapes: list[Any] = [(array.columns, most, array.elements)]
    while len(shapes) < TILES:
        shapes.append([int(rng.integers(1, size + 1)) for size in shapes[0]])
    return [
        Tile(
            np.clip(np.rint(rng.normal(0, 0.2 * high, (m, k))), low, high).astype(np.int64),
            rng.integers(-limit - 1, limit + 1, (k, n)),
        )
        for m, k, n in shapes
    ]
