"""What stays in the array during a product: its outputs or its weights, by predicted time.

Weight gradients have a long reduction and few outputs, which suits output-stationary; forward and
backward-data products have many rows, over which weight-stationary spreads its loads. Sparsity
shifts the balance: it shortens the reduction of an output tile, and it makes a weight tile M times
as deep. So the choice is made per product, by the cycles that each would take.
"""

from __future__ import annotations

from numba import njit

OUTPUT_STATIONARY, WEIGHT_STATIONARY, FREE = 0, 1, 2
"""Codes of a choice; FREE leaves it to `choose_stationarity`."""


@njit(cache=True)
def choose_stationarity(wanted: int, os_cycles: int, ws_cycles: int) -> int:
    """Return the wanted stationarity, or the faster one if it is FREE; outputs stay on a tie.

    >>> choose_stationarity(FREE, 100, 99) == WEIGHT_STATIONARY
    True
    """
    if wanted != FREE:
        return wanted
    return WEIGHT_STATIONARY if ws_cycles < os_cycles else OUTPUT_STATIONARY
