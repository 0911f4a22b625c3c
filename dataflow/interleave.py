"""Interleave mapping: independent partial sums take turns in a PE, so that no one waits for a sum.

An adder of latency La that adds to its own result accepts one product every La cycles. With I
independent sums in turn, each is added to every S = max(I, La) cycles, and from I = La on a product
is accepted in every cycle. Output-stationary products interleave I tiles of outputs,
weight-stationary ones I streamed rows. Source: the interleave mapping of SAT (arXiv 2309.13015);
the mapping to tiles and rows is this project's reading of it.
"""

from __future__ import annotations

from numba import njit

from dataflow.tiling import ceil_div


@njit(cache=True)
def slot_cycles(interleave: int, add_latency: int) -> int:
    """Return S, the cycles after which the same partial sum can be added to again.

    >>> slot_cycles(4, 4), slot_cycles(1, 4), slot_cycles(6, 4)
    (4, 4, 6)
    """
    return max(interleave, add_latency)


@njit(cache=True)
def turns(items: int, interleave: int) -> int:
    """Return how many turns it takes to work off `items` tiles or rows, I at a time.

    >>> turns(10, 4)
    3
    """
    return ceil_div(items, interleave)


@njit(cache=True)
def last_turn(items: int, interleave: int) -> int:
    """Return how many items the last turn has: 1 to I.

    >>> last_turn(10, 4)
    2
    """
    return items - (turns(items, interleave) - 1) * interleave
