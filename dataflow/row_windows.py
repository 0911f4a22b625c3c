"""Group rows of a sparse product into windows that fit an on-chip table, and cut them into items.

The bound of a row is min(its partial products, columns of B): it can never have more entries. Rows
are taken in order while their bounds fit. A row whose own bound is larger than the table is done
in passes over ranges of columns, each no wider than the table, so that every window fits whatever
the values are. SMASH calls the grouping window distribution (arXiv 2105.14156, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.matrices.csr import Csr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowWindows:
    """Windows in order: rows [first_row, last_row) and columns [first_column, last_column).

    `bound` is the most entries that the window can hold. Only a window of a single row has fewer
    columns than the matrix.
    """

    first_row: NDArray[np.int64]
    last_row: NDArray[np.int64]
    first_column: NDArray[np.int64]
    last_column: NDArray[np.int64]
    bound: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first_row)

    @property
    def split_rows(self) -> int:
        """Rows that are done in several passes."""
        passes = self.last_row[1:] == self.last_row[:-1]
        begins = passes & ~np.concatenate([[False], passes[:-1]])
        return int(begins.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkItems:
    """What threads take, in order: entries [first, last) of `row` of A, in one window each.

    `window_start` gives the first item of each window, and the number of items at its end.
    """

    row: NDArray[np.int32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    window_start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)


def row_windows(products: NDArray[np.int64], columns: int, capacity: int) -> RowWindows:
    """Group rows with the given partial products so that each window's bound fits `capacity`.

    Raises `InputError` if the capacity is not positive.

    >>> windows = row_windows(np.array([3, 2, 9, 1]), columns=8, capacity=6)
    >>> list(zip(windows.first_row.tolist(), windows.last_row.tolist(), windows.bound.tolist()))
    [(0, 2, 5), (2, 3, 6), (2, 3, 2), (3, 4, 1)]
    """
    if capacity < 1:
        raise InputError(f"a table must have room for at least one entry, not {capacity}")
    bounds = np.minimum(products, columns)
    sums = np.concatenate([[0], np.cumsum(bounds)])
    found: list[tuple[int, int, int, int, int]] = []
    row, rows = 0, len(products)
    while row < rows:
        if bounds[row] > capacity:
            for low in range(0, columns, capacity):
                high = min(low + capacity, columns)
                found.append((row, row + 1, low, high, min(int(products[row]), high - low)))
            row += 1
            continue
        last = int(np.searchsorted(sums, sums[row] + capacity, side="right")) - 1
        found.append((row, last, 0, columns, int(sums[last] - sums[row])))
        row = last
    table = np.array(found, dtype=np.int64).reshape(-1, 5)
    return RowWindows(
        first_row=table[:, 0].copy(),
        last_row=table[:, 1].copy(),
        first_column=table[:, 2].copy(),
        last_column=table[:, 3].copy(),
        bound=table[:, 4].copy(),
    )


def work_items(left: Csr, right: Csr, windows: RowWindows, limit: int | None) -> WorkItems:
    """Cut the rows of each window into items of about `limit` partial products; None: whole rows.

    An item is a run of entries of one row of A whose rows of B begin within the same `limit`
    products of the row; it has at least one entry. Rows without entries give no item.
    """
    if limit is not None and limit < 1:
        raise InputError(f"products of a token must be a positive whole number, not {limit}")
    rows = np.repeat(np.arange(left.shape[0], dtype=np.int32), left.row_lengths)
    lengths = right.row_lengths[left.indices]
    before = np.cumsum(lengths) - lengths
    starts = left.indptr[:-1][left.row_lengths > 0]
    begin = np.repeat(before[starts], left.row_lengths[left.row_lengths > 0])
    piece = np.zeros(left.nnz, dtype=np.int64) if limit is None else (before - begin) // limit
    new = np.ones(left.nnz, dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (piece[1:] != piece[:-1])
    first = np.flatnonzero(new)
    last = np.concatenate([first[1:], [left.nnz]]) if len(first) else first
    return _in_windows(rows[first], first, last.astype(np.int64), windows)


def _in_windows(
    row: NDArray[np.int32],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    windows: RowWindows,
) -> WorkItems:
    low = np.searchsorted(row, windows.first_row, side="left")
    high = np.searchsorted(row, windows.last_row, side="left")
    sizes = high - low
    window_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    order = np.arange(window_start[-1]) - np.repeat(window_start[:-1] - low, sizes)
    return WorkItems(
        row=row[order], first=first[order], last=last[order], window_start=window_start
    )
