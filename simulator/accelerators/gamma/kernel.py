"""The compiled loop: merges through the PEs of Gamma and its memory, one end of a merge at a time.

All times are cycles. Memory moves one request after the other, in the order in which they are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def run_merges(
    elements: Any, fetch: Any, store: Any, parent: Any, waits: Any, pes: int, ahead: int,
    begin: float,
) -> Any:  # fmt: skip
    """Return the cycle at which the last merge is done and stored, memory being free at `begin`.

    `fetch` and `store` are the cycles that memory takes for a merge, `waits` the partial fibers
    that it waits for, which this counts down. A free PE takes the merge of partial fibers that has
    been ready longest, or else the next merge of rows of B, whose fibers were asked for when no
    more than `ahead` such merges were before it. A merge takes in an element a cycle and cannot end
    before all of its fibers have come.
    """
    of_b = np.flatnonzero(waits == 0)
    ready = np.empty(len(waits) - len(of_b), dtype=np.int64)
    asked = taken = ready_first = ready_last = 0
    fetched = np.zeros(len(waits))
    merge_of = np.zeros(pes, dtype=np.int64)
    ends = np.full(pes, np.inf)
    port, now = begin, 0.0
    while True:
        for pe in range(pes + 1):
            while asked < len(of_b) and asked - taken <= ahead:
                port = max(port, now) + fetch[of_b[asked]]
                fetched[of_b[asked]] = port
                asked += 1
            if pe == pes or ends[pe] < np.inf:
                continue
            if ready_first < ready_last:
                merge = ready[ready_first]
                ready_first += 1
            elif taken < len(of_b):
                merge = of_b[taken]
                taken += 1
            else:
                break
            merge_of[pe] = merge
            ends[pe] = max(now + elements[merge], fetched[merge])
        first = np.argmin(ends)
        if ends[first] == np.inf:
            return max(port, now)
        now, ends[first] = ends[first], np.inf
        merge = merge_of[first]
        if store[merge] > 0:
            port = max(port, now) + store[merge]
        reader = parent[merge]
        if reader < 0:
            continue
        waits[reader] -= 1
        if waits[reader] == 0:
            if fetch[reader] > 0:
                port = max(port, now) + fetch[reader]
                fetched[reader] = port
            ready[ready_last] = reader
            ready_last += 1
