"""Which points no other point beats in every objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


def front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of (points, objectives), all to be minimised, no other row dominates.

    A row dominates another if it is nowhere larger and somewhere smaller; equal rows do not
    dominate each other. A row with a NaN is never on the front.

    >>> front(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0]])).tolist()
    [True, True, False, True]
    """
    on_front = np.zeros(len(values), bool)
    usable = np.flatnonzero(~np.isnan(values).any(axis=1))
    # In lexicographic order, a point can only be dominated by one before it.
    order = usable[np.lexsort(values[usable].T[::-1])]
    if values.shape[1] == 2:
        return _front_of_two(values, order, on_front)
    kept = np.empty((0, values.shape[1]))
    for place in order:
        row = values[place]
        if not (np.all(kept <= row, axis=1) & np.any(kept < row, axis=1)).any():
            on_front[place] = True
            kept = np.vstack([kept, row])
    return on_front


def _front_of_two(
    values: NDArray[np.float64], order: NDArray[np.int64], on_front: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Sweep points by the first objective; the second must fall below all before."""
    first, second = values[order].T
    before = np.minimum.accumulate(np.concatenate([[np.inf], second]))[:-1]
    better = second < before
    group = np.maximum.accumulate(np.where(better, np.arange(len(order)), 0))
    equal = (first == first[group]) & (second == second[group]) if len(order) else better
    on_front[order[better | equal]] = True
    return on_front


def frame_front(table: pd.DataFrame, signs: Mapping[str, int]) -> pd.DataFrame:
    """Return the feasible points that no other point of the same network and batch dominates.

    `signs` maps a column to 1 to minimise it or -1 to maximise it. Sorted by network, batch and the
    first objective.
    """
    usable = table[table.feasible.fillna(False)] if "feasible" in table else table
    keep = np.zeros(len(usable), bool)
    objectives = list(signs)
    groups = usable.groupby(["network", "batch"], observed=True, sort=False).indices
    for places in groups.values():
        rows = usable.iloc[places][objectives].to_numpy(np.float64, na_value=np.nan)
        keep[places] = front(rows * np.array(list(signs.values())))
    return usable[keep].sort_values(["network", "batch", objectives[0]], kind="stable")
