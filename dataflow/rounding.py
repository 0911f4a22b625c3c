"""Rounding of quotients: plain Python, so that nothing that imports it has to load numba."""

from __future__ import annotations


def ceil_div(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up, for a positive denominator.

    `dataflow.tiling` has the same function compiled, for kernels.

    >>> ceil_div(9, 8), ceil_div(8, 8), ceil_div(0, 8)
    (2, 1, 0)
    """
    return -(-numerator // denominator)
