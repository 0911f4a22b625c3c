"""Merges of a row-wise product whose merger joins a limited number of rows of B at a time.

A row of A with more entries than the merger's radix is merged in groups; each group leaves a
partial fiber on chip, which is read once by the next level and is gone then (Gamma, ASPLOS 2021,
section 3: rows larger than the radix become a balanced tree of merges).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm.count import row_counts
from dataflow.traffic import byte_reuse
from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.rounding import ceil_div

_MOMENTS = 64
"""Moments of an entry of A: its row of B, then partial fibers made and read, level by level."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merges:
    """Merges in the order in which they can be done, and what an LRU cache lets through for each.

    `elements` are those that a merge takes in, `fetched_bytes` its fibers that the cache lacks,
    `spilled_bytes` its own partial fiber if that is evicted before it is read, `entries` those of
    A that it works off. `parent` is the merge that reads its partial fiber, -1 if it ends a row,
    which is `row`.
    """

    elements: NDArray[np.int64]
    entries: NDArray[np.int64]
    fetched_bytes: NDArray[np.int64]
    spilled_bytes: NDArray[np.int64]
    parent: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of merges."""
        return len(self.elements)

    @property
    def b_bytes(self) -> int:
        """Bytes of B fetched."""
        return int(self.fetched_bytes.sum() - self.spilled_bytes.sum())

    @property
    def partial_elements(self) -> int:
        """Elements of all partial fibers."""
        return int(self.elements[~self.of_b].sum())

    @property
    def of_b(self) -> NDArray[np.bool_]:
        """Whether a merge takes rows of B rather than partial fibers."""
        return self.entries > 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Partials:
    """Partial fibers of one level: when each is made and read, by which merge, and its size."""

    made: NDArray[np.int64]
    read: NDArray[np.int64]
    reader: NDArray[np.int64]
    sizes: NDArray[np.int64]


def merges(left: Csr, right: Csr, *, radix: int, cache_bytes: int, entry_bytes: int) -> Merges:
    """Return the merges of left times right, rows of A in order, one after the other.

    The cache is LRU and keeps whole fibers, rows of B and partial ones alike. A merge is named by
    the moment at which it ends.
    """
    if radix < 2:
        raise InputError(f"a merger must join at least two fibers, not {radix}")
    levels: list[_Partials] = []
    width = radix
    while width < int(left.row_lengths.max(initial=0)):
        levels.append(_partials(left, right, len(levels) + 1, width, radix))
        width *= radix
    row = np.flatnonzero(left.row_lengths)
    ends = _end_of_row(left.indptr[row + 1] - 1)
    names = np.concatenate([ends, *(level.made for level in levels)])
    order = np.argsort(names)
    names, ends_row = names[order], np.concatenate([row, np.full(len(names) - len(row), -1)])[order]
    readers = [_first_readers(left, radix), *(level.reader for level in levels)]
    fibers = [left.indices.astype(np.int64)]
    sizes = [right.row_lengths]
    for level in levels:
        fibers.append(right.shape[0] + sum(map(len, sizes[1:])) + np.arange(len(level.sizes)))
        sizes.append(level.sizes)
    missed = _missed(fibers, sizes, levels, cache_bytes, entry_bytes)
    reader = np.searchsorted(names, np.concatenate(readers))
    made = np.searchsorted(names, np.concatenate([[], *(level.made for level in levels)]))
    taken = np.concatenate([right.row_lengths[left.indices], *sizes[1:]])
    count, partial = len(names), slice(left.nnz, None)
    parent = np.full(count, -1, dtype=np.int64)
    parent[made] = reader[partial]
    return Merges(
        elements=_summed(reader, taken, count),
        entries=np.bincount(reader[: left.nnz], minlength=count),
        fetched_bytes=_summed(reader, missed, count),
        spilled_bytes=_summed(made, missed[partial], count),
        parent=parent,
        row=ends_row,
    )


def _summed(places: NDArray[np.int64], amounts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, places, amounts)
    return sums


def _end_of_row(last_entry: NDArray[np.int64]) -> NDArray[np.int64]:
    return last_entry * _MOMENTS + _MOMENTS - 1


def _first_readers(left: Csr, radix: int) -> NDArray[np.int64]:
    """Return, for each entry of A, the merge that takes its row of B."""
    rows = np.repeat(np.arange(left.shape[0]), left.row_lengths)
    begin, end = left.indptr[rows], left.indptr[rows + 1]
    group = np.minimum(begin + ((np.arange(left.nnz) - begin) // radix + 1) * radix, end) - 1
    return np.where(end - begin <= radix, _end_of_row(end - 1), group * _MOMENTS + 2)


def _missed(
    fibers: list[NDArray[np.int64]],
    sizes: list[NDArray[np.int64]],
    levels: list[_Partials],
    cache_bytes: int,
    entry_bytes: int,
) -> NDArray[np.int64]:
    """Return the bytes that each use of a row of B, then each of a partial fiber, must fetch.

    A partial fiber enters the cache when it is made and leaves it when it is read.
    """
    uses_of_b = len(fibers[0])
    uses = np.concatenate([*fibers, *fibers[1:]])
    moments = np.concatenate(
        [
            np.arange(uses_of_b) * _MOMENTS,
            *(level.read for level in levels),
            *(level.made for level in levels),
        ]
    )
    reads = sum(map(len, fibers))
    final = np.zeros(len(uses), dtype=np.bool_)
    final[uses_of_b:reads] = True
    by_time = np.argsort(moments, kind="stable")
    profile = byte_reuse(uses[by_time], np.concatenate(sizes) * entry_bytes, final[by_time])
    lacks = (profile.distance < 0) | (profile.distance > cache_bytes)
    missed = np.empty(len(uses), dtype=np.int64)
    missed[by_time] = np.where(lacks, profile.size, 0)
    return missed[:reads]


def _partials(left: Csr, right: Csr, level: int, width: int, radix: int) -> _Partials:
    """Cut rows longer than `width` into groups of `width` entries, each a partial fiber."""
    rows = np.flatnonzero(left.row_lengths > width)
    pieces = ceil_div(left.row_lengths[rows], width)
    row = np.repeat(rows, pieces)
    within = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin, end = left.indptr[row], left.indptr[row + 1]
    first = begin + within * width
    last = np.minimum(first + width, end)
    parent = np.minimum(begin + (within // radix + 1) * width * radix, end) - 1
    entries = np.repeat(first - np.cumsum(last - first) + (last - first), last - first)
    entries = entries + np.arange(len(entries))
    split = Csr(
        shape=(len(row), left.shape[1]),
        indptr=np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64),
        indices=left.indices[entries],
        values=left.values[entries],
        name=f"groups of {left.name}",
    )
    ends = end - begin <= width * radix
    return _Partials(
        made=(last - 1) * _MOMENTS + 2 * level,
        read=parent * _MOMENTS + 2 * level + 1,
        reader=np.where(ends, _end_of_row(parent), parent * _MOMENTS + 2 * (level + 1)),
        sizes=row_counts(split, right),
    )
