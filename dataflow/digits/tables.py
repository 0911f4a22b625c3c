"""Look-up tables over all values of a width: which digits are non-zero, and how many.

A table has one entry per value, at index value mod 2^width: the unsigned reading of its bits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflow.digits.encodings import check_values, digit_count, encode, value_range


@lru_cache(maxsize=64)
def mask_table(scheme: str, width: int) -> NDArray[np.uint16]:
    """Return for every value the bit mask of its non-zero digits, bit i for digit i.

    >>> mask_table("ent", 8)[[0, 1, 64, 85]].tolist()
    [0, 1, 8, 15]
    """
    low, high = value_range(width)
    values = np.arange(low, high + 1)
    nonzero = encode(values, scheme, width) != 0
    weights = 1 << np.arange(digit_count(scheme, width))
    table = np.empty(1 << width, np.uint16)
    table[values & ((1 << width) - 1)] = (nonzero * weights).sum(axis=1)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=64)
def position_table(scheme: str, width: int) -> NDArray[np.uint8]:
    """Return (2^width, digits): 1 where a value's digit is non-zero."""
    masks = mask_table(scheme, width)
    positions = np.arange(digit_count(scheme, width))
    table: NDArray[np.uint8] = (masks[:, None] >> positions & 1).astype(np.uint8)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=64)
def count_table(scheme: str, width: int) -> NDArray[np.uint8]:
    """Return for every value the number of its non-zero digits."""
    table: NDArray[np.uint8] = position_table(scheme, width).sum(axis=1).astype(np.uint8)
    table.setflags(write=False)
    return table


def nonzero_counts(values: ArrayLike, scheme: str, width: int) -> NDArray[np.uint8]:
    """Return the number of non-zero digits of each value; shape as `values`.

    >>> nonzero_counts([0, 7, 124], "ent", 8).tolist()
    [0, 2, 2]
    """
    array = check_values(values, width)
    index: NDArray[np.uint16] = array.astype(np.uint16) & np.uint16((1 << width) - 1)
    return count_table(scheme, width)[index]
