"""Move the entries of a window from the table to the rows of the result."""

from __future__ import annotations

from typing import Any

from dataflow.prefetch import prefetch
from simulator.accelerators.smash.machine import AHEAD, ROW_PLACE, compiled

SLOT_BITS = (1 << ROW_PLACE) - 1


@compiled
def collect_window(
    tags: Any, totals: Any, order: Any, fill: int, first_column: int, span: int,
    counts: Any, places: Any, columns: Any, values: Any, offset: int,
) -> None:  # fmt: skip
    """Move a window's entries to rows of the result from `offset` on, and empty the table.

    `counts` gets the entries of each row of the window; `places` is room for one more number.
    """
    counts[:] = 0
    for t in range(fill):
        counts[order[t] >> ROW_PLACE] += 1
    places[0] = offset
    for row in range(len(counts)):
        places[row + 1] = places[row] + counts[row]
    for t in range(fill):
        if t + AHEAD < fill:
            prefetch(tags, 2 * (order[t + AHEAD] & SLOT_BITS))
        slot = order[t] & SLOT_BITS
        row = order[t] >> ROW_PLACE
        at = places[row]
        columns[at] = tags[2 * slot] - 1 - row * span + first_column
        values[at] = totals[2 * slot + 1]
        places[row] = at + 1
        tags[2 * slot] = 0
        totals[2 * slot + 1] = 0.0
