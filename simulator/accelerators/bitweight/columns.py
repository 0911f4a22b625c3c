"""Steps of the sparse engines from values: the wrappers of the compiled kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.bitweight import GROUP
from dataflow.digits.tables import mask_table
from simulator.accelerators.bitweight import laws
from simulator.accelerators.bitweight.config import Config
from workloads.rounding import ceil_div


class Steps(NamedTuple):
    """Digit steps of one product, for one tile of columns of C.

    `total` are those of all rows, `slowest` those that they would take if every row of a tile took
    as many as its slowest. `tile_ends` is the sum over `tiles` of the cycle of the last step.
    """

    total: int
    slowest: int
    tile_ends: int
    tiles: int

    @property
    def column_utilisation(self) -> float:
        """Mean over maximum steps of the columns that have a row, over all tiles."""
        return self.total / self.slowest if self.slowest else 1.0

    def times(self, count: int) -> Steps:
        """Return the steps of `count` products alike."""
        return Steps(*(count * each for each in self))


def combined(parts: Iterable[Steps]) -> Steps:
    """Return the steps of all parts, one after the other."""
    return Steps(*(sum(column) for column in zip(*parts, strict=True)))


def groups(k: int, lanes: int) -> int:
    """Return the groups of four along K, a multiple of the lanes."""
    return lanes * ceil_div(k, GROUP * lanes)


def exact(config: Config, left: NDArray[Any]) -> Steps:
    """Return the steps of all tiles of rows of `left` (M, K), for one tile of columns of C.

    Integers of `config.width` bits; the caller has checked them.
    """
    from simulator.accelerators.bitweight import kernels

    rows, k = left.shape
    storage = np.int8 if config.width <= 8 else np.int16
    values = np.ascontiguousarray(left, storage)
    count = groups(k, config.lanes)
    steps = kernels.group_steps(values, mask_table("ent", config.width), config.passes, count)
    per_row = kernels.row_steps(steps, config.lanes)
    starts = np.arange(0, rows, config.rows)
    slowest = np.maximum.reduceat(per_row, starts)
    if config.banks:
        per_lane = count // config.lanes
        chunk = ceil_div(per_lane, config.banks)
        used = min(config.banks, per_lane) if config.interleaved else ceil_div(per_lane, chunk)
        ends = kernels.tile_ends(
            steps,
            config.rows,
            config.lanes,
            0 if config.interleaved else chunk,
            used,
            config.fifo,
            config.drain_cycles,
        )
    else:
        ends = slowest + laws.last_step(0, passes=config.passes, drain=config.drain_cycles)
    active = np.minimum(rows - starts, config.rows)
    return Steps(
        total=int(per_row.sum()),
        slowest=int((slowest * active).sum()),
        tile_ends=int(ends.sum()),
        tiles=len(starts),
    )


def constant(config: Config, m: int, k: int) -> Steps:
    """Return the steps of OPT2: ceil(K / 4) a pass, whatever the digits."""
    per_row = config.passes * ceil_div(k, GROUP)
    tiles = ceil_div(m, config.rows)
    end = laws.last_step(per_row, passes=config.passes, drain=config.drain_cycles)
    return Steps(m * per_row, m * per_row, tiles * end, tiles)
