"""What a product of two sparse matrices needs: multiplies, distinct results, even splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.matrices.csr import Csr

COUNT_LIMIT = 2**62
"""Counts are 64-bit; a product with more multiplies than this is refused, not wrapped."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """Counts of one product, from its operands alone.

    `row_products` and `row_nnz` hold, for each row of the result, the multiplies that reach it and
    its distinct columns; `referenced_nnz` the entries of B in rows that some entry of A names.
    """

    row_products: NDArray[np.int64]
    row_nnz: NDArray[np.int64]
    nnz_a: int
    nnz_b: int
    referenced_nnz: int

    @property
    def multiplies(self) -> int:
        """Partial products."""
        return int(self.row_products.sum())

    @property
    def nnz_c(self) -> int:
        """Entries of the result, zeros that arise by cancellation included."""
        return int(self.row_nnz.sum())

    @property
    def adds(self) -> int:
        """Additions that merge the partial products."""
        return self.multiplies - self.nnz_c

    @property
    def compression(self) -> float:
        """Partial products for each entry of the result."""
        return self.multiplies / self.nnz_c if self.nnz_c else 0.0


def check_shapes(left: Csr, right: Csr) -> None:
    """Raise `InputError` if the product is not defined."""
    if left.shape[1] != right.shape[0]:
        raise InputError(
            f"columns of {left.name} must be as many as rows of {right.name}, "
            f"not {left.shape[1]} and {right.shape[0]}"
        )


def row_products(left: Csr, right: Csr) -> NDArray[np.int64]:
    """Count the partial products of each row of the result: sum of nnz(B_k) over its k.

    Raises `InputError` if they do not fit a 64-bit count.
    """
    from dataflow.spgemm.kernels import count_products

    check_shapes(left, right)
    products = np.zeros(left.shape[0], dtype=np.int64)
    if count_products(*index_arrays(left), index_arrays(right)[0], products) > COUNT_LIMIT:
        raise InputError(
            f"{left.name} times {right.name} needs more than 2**62 products, "
            "which no 64-bit count holds"
        )
    return products


def count(left: Csr, right: Csr) -> Work:
    """Count multiplies and the distinct columns of every row of the result (symbolic product)."""
    products = row_products(left, right)
    used = np.zeros(right.shape[0], dtype=bool)
    used[left.indices] = True
    return Work(
        row_products=products,
        row_nnz=row_counts(left, right),
        nnz_a=left.nnz,
        nnz_b=right.nnz,
        referenced_nnz=int(right.row_lengths[used].sum()),
    )


def row_counts(left: Csr, right: Csr) -> NDArray[np.int64]:
    """Count the distinct columns of each row of the result."""
    check_shapes(left, right)
    arrays = (*short_arrays(left), *short_arrays(right))
    return count_range(arrays, right.shape[1], 0, left.shape[0])


def count_range(
    arrays: tuple[NDArray[Any], ...], columns: int, first: int, last: int
) -> NDArray[np.int64]:
    """Count as `row_counts`, rows `first` to `last`, from both operands' `short_arrays`."""
    from dataflow.spgemm.kernels import count_rows

    kernel: Any = count_rows
    counts = np.zeros(last, dtype=np.int64)
    kernel(*arrays, first, last, np.zeros(columns + 1, dtype=np.uint8), counts)
    return counts[first:]


def split_evenly(products: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Cut rows into `parts` contiguous runs of nearly equal products; returns the row bounds.

    >>> split_evenly(np.array([1, 1, 1, 9, 1, 1]), 2).tolist()
    [0, 3, 6]
    """
    if parts < 1:
        raise InputError(f"rows must be split into at least one part, not {parts}")
    sums = np.cumsum(products)
    total = int(sums[-1]) if len(sums) else 0
    targets = [total * part // parts for part in range(1, parts)]
    inner = np.searchsorted(sums, targets, side="left")
    return np.concatenate([[0], inner, [len(products)]]).astype(np.int64)


def index_arrays(matrix: Csr) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return row starts and columns seen as unsigned, which kernels need not test for sign."""
    return matrix.indptr.view(np.uint64), matrix.indices.view(np.uint32)


def short_arrays(matrix: Csr) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Return row starts and columns, the starts in 32 bits where they fit: half the bytes."""
    starts, columns = index_arrays(matrix)
    fits = matrix.nnz < 2**32
    return starts.astype(np.uint32) if fits else starts, columns
