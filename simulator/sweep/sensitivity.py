"""How much of an objective each parameter of a study explains.

For every parameter the points are grouped by its levels (a continuous one by ten equal bins). The
share is the variance of the group means, weighted by the points in them, over the variance of all
points: 1 if the parameter alone decides, 0 if its levels do not differ on average. Where all values
are positive, logarithms are taken, so that means are geometric and effects are ratios. On a full
grid the share is the first-order Sobol index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
MOST_LEVELS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The share of a parameter, its levels in order, and the mean of the objective at each."""

    parameter: str
    share: float
    levels: list[Any]
    means: list[float]


def effects(table: pd.DataFrame, parameters: list[str], objective: str) -> list[Effect]:
    """Return the effect of every parameter that varies, the largest share first.

    Points without a value of the objective are left out, and for a parameter those that do not have
    it, since it is a field of another accelerator.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 1, 2], "y": [1.0, 1.0, 8.0, 8.0]})
    >>> [(e.parameter, round(e.share, 9)) for e in effects(table, ["a", "b"], "y")]
    [('a', 1.0), ('b', 0.0)]
    """
    values = table[objective].to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(values)
    logs = bool(known.any()) and bool((values[known] > 0).all())
    found = []
    for name in parameters:
        having = known & table[name].notna().to_numpy()
        levels, places = _levels(table.loc[having, name].to_numpy())
        if len(levels) > 1:
            scaled = np.log(values[having]) if logs else values[having]
            share, means = _effect(scaled, places, len(levels))
            shown = np.exp(means) if logs else means
            found.append(Effect(parameter=name, share=share, levels=levels, means=shown.tolist()))
    return sorted(found, key=lambda effect: -effect.share)


def _levels(column: NDArray[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the levels of a column, or the middles of its bins, and the level of each point."""
    if column.dtype == object:
        column = column.astype(str)
    levels, places = np.unique(column, return_inverse=True)
    if column.dtype.kind not in "iuf" or len(levels) <= MOST_LEVELS:
        return levels.tolist(), places
    edges = np.linspace(levels[0], levels[-1], BINS + 1)
    used, places = np.unique(np.digitize(column, edges[1:-1]), return_inverse=True)
    return ((edges[:-1] + edges[1:]) / 2)[used].tolist(), places


def _effect(
    values: NDArray[np.float64], places: NDArray[np.int64], levels: int
) -> tuple[float, NDArray[np.float64]]:
    counts = np.bincount(places, minlength=levels)
    means = np.bincount(places, values, minlength=levels) / counts
    total = values.var()
    between = (counts * (means - values.mean()) ** 2).sum() / len(values)
    return float(min(1.0, between / total)) if total > 0 else 0.0, means
