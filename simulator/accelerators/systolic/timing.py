"""Closed forms for the compute time of one product on a plain R x C systolic array.

A product (m, k, n) is cut into tiles. Each tile is a *load* of what stays in the array, a *stream*
of steps, and a *tail* of R + C - 2 cycles until the last operand has crossed the array:

========  ==========  ==================  ======  =======  =========
dataflow  stays       tiles               load    steps    tail
========  ==========  ==================  ======  =======  =========
os        outputs     m/R x n/C           0       k        R + C - 2
ws        weights     k/R x n/C           R       m        R + C - 2
is        inputs      k/R x m/C           R       n        R + C - 2
========  ==========  ==================  ======  =======  =========

(quotients rounded up). `tile_overlap` says how tiles follow each other:

- ``none``: load, stream and tail of every tile add up. That is the convention of SCALE-Sim 3.
- ``double_buffered``: what stays is loaded behind the tile before, and streams follow each other
  without waiting for the tail. A tile then costs max(steps, R): os has one result port a column,
  ws and is one shadow register a PE, and either is busy for R cycles a tile. The first load and the
  last tail remain. `stepped` proves it, and that one cycle less fails.
- ``ideal``: steps only. The lower bound that analytical mappers report.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from workloads.rounding import ceil_div

Dataflow = Literal["os", "ws", "is"]
TileOverlap = Literal["none", "double_buffered", "ideal"]


class Tiling(NamedTuple):
    """Tiles of a product, and the load, steps and tail in cycles of each."""

    tiles: int
    load: int
    steps: int
    tail: int


def tiling(m: int, k: int, n: int, *, rows: int, cols: int, dataflow: Dataflow) -> Tiling:
    """Cut a product into tiles of a rows x cols array.

    >>> tiling(128, 256, 96, rows=32, cols=32, dataflow="ws")
    Tiling(tiles=24, load=32, steps=128, tail=62)
    """
    tail = rows + cols - 2
    match dataflow:
        case "os":
            return Tiling(ceil_div(m, rows) * ceil_div(n, cols), 0, k, tail)
        case "ws":
            return Tiling(ceil_div(k, rows) * ceil_div(n, cols), rows, m, tail)
        case "is":
            return Tiling(ceil_div(k, rows) * ceil_div(m, cols), rows, n, tail)


def cycles(tiling: Tiling, *, rows: int, tile_overlap: TileOverlap, batch: int = 1) -> int:
    """Return the compute cycles of `batch` products that are tiled alike.

    >>> cycles(tiling(128, 256, 96, rows=32, cols=32, dataflow="os"), rows=32, tile_overlap="none")
    3816
    """
    tiles = tiling.tiles * batch
    once = tiling.load + tiling.steps + tiling.tail
    match tile_overlap:
        case "none":
            return tiles * once
        case "double_buffered":
            return (tiles - 1) * period(tiling.steps, rows=rows) + once
        case "ideal":
            return tiles * tiling.steps


def period(steps: int, *, rows: int) -> int:
    """Return the cycles from one tile's start to the next one's when tiles overlap."""
    return max(steps, rows)
