"""Rounding of quotients: plain Python, so that importing it loads neither numba nor numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

Count = TypeVar("Count", int, "NDArray[Any]")


def ceil_div(numerator: Count, denominator: int) -> Count:
    """Return quotients of integers, one or an array of them, rounded up; the denominator positive.

    `dataflow.tiling` has the same function compiled, for kernels.

    >>> ceil_div(9, 8), ceil_div(8, 8), ceil_div(0, 8)
    (2, 1, 0)
    >>> from numpy import array
    >>> ceil_div(array([9, 8, 0]), 8).tolist()
    [2, 1, 0]
    """
    return -(-numerator // denominator)
