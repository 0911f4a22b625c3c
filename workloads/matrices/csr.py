"""A sparse matrix in compressed sparse rows, checked once when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

INDEX_LIMIT = 2**31 - 1
"""Rows and columns are 32-bit indices, as on every accelerator modelled here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Csr:
    """Rows of (column, value) pairs, columns strictly ascending in each row.

    `indptr` (int64, rows + 1) are the row starts, `indices` (int32) the columns and `values`
    (float64 or float32) the entries, zeros allowed. Raises `InputError` when they contradict each
    other; `Csr.from_coo` sorts and sums what a file gives in any order.
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]
    name: str = "matrix"

    def __post_init__(self) -> None:
        _check_shape(self.shape, self.name)
        rows = self.shape[0]
        starts, columns = self.indptr, self.indices
        if len(starts) != rows + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
            raise InputError(
                f"row starts of {self.name} must be {rows + 1} ascending numbers that begin with 0"
            )
        if not starts[-1] == len(columns) == len(self.values):
            raise InputError(
                f"{self.name} must have as many columns and values as its last row start says: "
                f"{int(starts[-1])}, not {len(columns)} and {len(self.values)}"
            )
        if self.values.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise InputError(
                f"values of {self.name} must be float64 or float32, not {self.values.dtype}"
            )
        _check_columns(self)
        _check_finite(self)

    @classmethod
    def from_coo(
        cls,
        shape: tuple[int, int],
        rows: ArrayLike,
        columns: ArrayLike,
        values: ArrayLike,
        *,
        name: str = "matrix",
    ) -> Csr:
        """Make a matrix from triples in any order; entries at the same place add up.

        Raises `InputError` for an index outside the shape, naming the first one.
        """
        _check_shape(shape, name)
        row, column = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
        value = np.asarray(values)
        if not np.issubdtype(value.dtype, np.floating):
            value = value.astype(np.float64)
        outside = (row < 0) | (row >= shape[0]) | (column < 0) | (column >= shape[1])
        if outside.any():
            at = int(outside.argmax())
            raise InputError(
                f"entry {at} of {name} is at row {row[at]}, column {column[at]}, outside its "
                f"{shape[0]}x{shape[1]} places; indices count from 0"
            )
        key = row * shape[1] + column
        unique, inverse = np.unique(key, return_inverse=True)
        if len(unique) < len(key):
            summed = np.bincount(inverse, weights=value, minlength=len(unique))
            value = summed.astype(value.dtype)
        else:
            ordered = np.empty_like(value)
            ordered[inverse] = value
            value = ordered
        counts = np.bincount(unique // max(shape[1], 1), minlength=shape[0])
        return cls(
            shape=shape,
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            indices=(unique % max(shape[1], 1)).astype(np.int32),
            values=value,
            name=name,
        )

    @classmethod
    def from_scipy(cls, matrix: Any, *, name: str = "matrix") -> Csr:
        """Take any SciPy sparse matrix; duplicates are summed and rows sorted in a copy."""
        coo = matrix.tocoo()
        return cls.from_coo(coo.shape, coo.coords[0], coo.coords[1], coo.data, name=name)

    @classmethod
    def from_dense(cls, matrix: ArrayLike, *, name: str = "matrix") -> Csr:
        """Keep the non-zero elements of a two-dimensional array."""
        dense = np.asarray(matrix)
        if dense.ndim != 2:
            raise InputError(f"{name} must have two dimensions, not {dense.ndim}")
        rows, columns = np.nonzero(dense)
        return cls.from_coo(dense.shape, rows, columns, dense[rows, columns], name=name)

    def to_scipy(self) -> csr_array:
        """Return a SciPy `csr_array` that shares the values."""
        from scipy.sparse import csr_array

        small = self.nnz <= INDEX_LIMIT
        starts = self.indptr.astype(np.int32) if small else self.indptr
        return csr_array((self.values, self.indices, starts), shape=self.shape)

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return len(self.indices)

    @cached_property
    def row_lengths(self) -> NDArray[np.int64]:
        """Entries of each row."""
        return np.diff(self.indptr)

    @cached_property
    def transposed(self) -> Csr:
        """The transpose, again as CSR: the columns of this matrix in order."""
        order = np.argsort(self.indices, kind="stable")
        counts = np.bincount(self.indices, minlength=self.shape[1])
        rows = np.repeat(np.arange(self.shape[0], dtype=np.int32), self.row_lengths)
        return Csr(
            shape=(self.shape[1], self.shape[0]),
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            indices=rows[order],
            values=self.values[order],
            name=f"{self.name}^T",
        )

    def permuted(self, rng: np.random.Generator) -> Csr:
        """Give rows and columns new labels by one random permutation (of a square matrix)."""
        if self.shape[0] != self.shape[1]:
            raise InputError(f"{self.name} must be square to be relabelled, not {self.shape}")
        label = rng.permutation(self.shape[0])
        rows = np.repeat(np.arange(self.shape[0]), self.row_lengths)
        return Csr.from_coo(
            self.shape, label[rows], label[self.indices], self.values, name=self.name
        )

    def astype(self, dtype: Any) -> Csr:
        """Return the matrix with values of another floating type."""
        return Csr(
            shape=self.shape,
            indptr=self.indptr,
            indices=self.indices,
            values=self.values.astype(dtype),
            name=self.name,
        )

    def __repr__(self) -> str:
        return f"Csr({self.name}: {self.shape[0]}x{self.shape[1]}, {self.nnz} entries)"


def _check_shape(shape: tuple[int, int], name: str) -> None:
    if len(shape) != 2 or min(shape) < 0 or max(shape) > INDEX_LIMIT:
        raise InputError(
            f"shape of {name} must be two sizes from 0 to {INDEX_LIMIT}, "
            f"not {tuple(int(size) for size in shape)}"
        )


def _check_columns(matrix: Csr) -> None:
    columns = matrix.indices
    if not len(columns):
        return
    if columns.min() < 0 or columns.max() >= matrix.shape[1]:
        raise InputError(
            f"columns of {matrix.name} must be from 0 to {matrix.shape[1] - 1}, "
            f"not {int(columns.min())} to {int(columns.max())}"
        )
    ascending = np.diff(columns) > 0
    starts = matrix.indptr[1:-1]
    ascending[starts[(starts > 0) & (starts < len(columns))] - 1] = True
    if not ascending.all():
        at = int((~ascending).argmax())
        row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
        raise InputError(
            f"columns of row {row} of {matrix.name} must be ascending without repetition, not "
            f"{columns[at]} followed by {columns[at + 1]}; Csr.from_coo sorts and sums"
        )


def _check_finite(matrix: Csr) -> None:
    finite = np.isfinite(matrix.values)
    if not finite.all():
        at = int((~finite).argmax())
        row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
        raise InputError(
            f"values of {matrix.name} must be finite; row {row}, column {matrix.indices[at]} is "
            f"{matrix.values[at]}"
        )
