"""Accesses of a row-wise product whose merger joins a limited number of rows of B at a time.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FiberTraffic:
    """Bytes of B fetched, of partial fibers spilled and fetched; elements of partial fibers."""

    b_bytes: int
    spilled_bytes: int
    partial_elements: int


def fiber_traffic(
    left: Csr, right: Csr, *, radix: int, cache_bytes: int, entry_bytes: int
) -> FiberTraffic:
    """Return what an LRU cache of whole fibers, rows of B and partial ones alike, lets through.

    Rows of A are worked through in order, one after the other.
    """
    if radix < 2:
        raise InputError(f"a merger must join at least two fibers, not {radix}")
    place = np.arange(left.nnz)
    objects, order, final = [left.indices.astype(np.int64)], [place * 64], [np.zeros(left.nnz)]
    sizes = [right.row_lengths]
    count, level, width = right.shape[0], 1, radix
    while width < int(left.row_lengths.max(initial=0)):
        last_entry, parent_end, elements = _groups(left, right, width, width * radix)
        names = count + np.arange(len(elements))
        objects += [names, names]
        order += [last_entry * 64 + 2 * level, parent_end * 64 + 2 * level + 1]
        final += [np.zeros(len(names)), np.ones(len(names))]
        sizes.append(elements)
        count, level, width = count + len(names), level + 1, width * radix
    by_time = np.argsort(np.concatenate(order), kind="stable")
    sequence = np.concatenate(objects)[by_time]
    done = np.concatenate(final)[by_time].astype(np.bool_)
    profile = byte_reuse(sequence, np.concatenate(sizes) * entry_bytes, done)
    missed = (profile.distance < 0) | (profile.distance > cache_bytes)
    partial = sequence >= right.shape[0]
    return FiberTraffic(
        b_bytes=int(profile.size[missed & ~partial].sum()),
        spilled_bytes=2 * int(profile.size[missed & partial & done].sum()),
        partial_elements=int(sum(level_sizes.sum() for level_sizes in sizes[1:])),
    )


def _groups(
    left: Csr, right: Csr, width: int, parent_width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut rows longer than `width` into groups of `width` entries.

    Returns the last entry of each group, the last entry of the group that it is merged into, and
    the distinct columns of its partial fiber.
    """
    rows = np.flatnonzero(left.row_lengths > width)
    pieces = -(-left.row_lengths[rows] // width)
    row = np.repeat(rows, pieces)
    within = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin, end = left.indptr[row], left.indptr[row + 1]
    first = begin + within * width
    last = np.minimum(first + width, end)
    parent = np.minimum(begin + (within * width // parent_width + 1) * parent_width, end)
    entries = np.repeat(first - np.cumsum(last - first) + (last - first), last - first)
    entries = entries + np.arange(len(entries))
    split = Csr(
        shape=(len(row), left.shape[1]),
        indptr=np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64),
        indices=left.indices[entries],
        values=left.values[entries],
        name=f"groups of {left.name}",
    )
    return last - 1, parent - 1, row_counts(split, right)
