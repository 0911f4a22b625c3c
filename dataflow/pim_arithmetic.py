"""What the multipliers and adder tree of a PIM bank compute, bit for bit: golden model of the RTL.

A COMP multiplies 16 fp16 values of the open row with 16 of the vector buffer. The products are
exact in fp32. A binary tree adds neighbours, every sum rounded to fp32 (to nearest, ties to even);
its result is added to the bank's fp32 sum, rounded again. READRES rounds the sum to fp16 and clears
it. (NeuPIMs, ASPLOS 2024, arXiv 2403.00579, gives fp16 values, 16 multipliers and an adder tree;
the precision of the sums is our choice.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import InputError

LANES = 16
"""Multipliers of a bank, a power of two."""


def tree_sum(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add the last axis, a power of two long, neighbour by neighbour in fp32.

    >>> float(tree_sum(np.float32([2**24, 1, 1, 0])))   # the first 1 is lost, (1 + 0) as well
    16777216.0
    """
    while products.shape[-1] > 1:
        products = products[..., 0::2] + products[..., 1::2]
    return products[..., 0]


def comp(
    sums: NDArray[np.float32], values: NDArray[np.float16], vector: NDArray[np.float16]
) -> NDArray[np.float32]:
    """Return the `sums` [banks] after one COMP of `values` [banks, 16] with `vector` [16]."""
    with np.errstate(invalid="ignore", over="ignore"):
        products = values.astype(np.float32) * vector.astype(np.float32)
        return sums + tree_sum(products)


def read_sums(sums: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return what READRES sends of `sums` [banks]; a sum beyond fp16 becomes infinite."""
    with np.errstate(over="ignore"):
        return sums.astype(np.float16)


def gemv(rows: ArrayLike, vector: ArrayLike) -> NDArray[np.float16]:
    """Multiply `rows` [banks, 16 k] with `vector` [16 k]: k COMP and a READRES.

    >>> gemv(np.ones((2, 32), np.float16), np.arange(32)).tolist()
    [496.0, 496.0]
    """
    matrix, factors = np.asarray(rows, np.float16), np.asarray(vector, np.float16)
    if matrix.ndim != 2 or factors.shape != matrix.shape[1:] or len(factors) % LANES:
        raise InputError(
            f"rows and vector must be [banks, k] and [k] with k a multiple of {LANES}, "
            f"not {list(matrix.shape)} and {list(factors.shape)}"
        )
    sums = np.zeros(len(matrix), np.float32)
    for at in range(0, len(factors), LANES):
        sums = comp(sums, matrix[:, at : at + LANES], factors[at : at + LANES])
    return read_sums(sums)
