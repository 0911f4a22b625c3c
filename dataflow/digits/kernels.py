"""Compiled counting of values; imported where used, because it loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

CHUNK = 1 << 20


@njit(cache=True, parallel=True)
def histogram(values: NDArray[Any], width: int) -> NDArray[np.int64]:
    """Count each value of a flat int8 or int16 array, from -2^(width-1) up."""
    bins = 1 << width
    offset = bins >> 1
    chunks = (values.size + CHUNK - 1) // CHUNK
    partial = np.zeros((chunks, bins), np.int64)
    for chunk in prange(chunks):
        counts = partial[chunk]
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, values.size)):
            counts[values[i] + offset] += 1
    total = np.zeros(bins, np.int64)
    for chunk in range(chunks):
        total += partial[chunk]
    return total
