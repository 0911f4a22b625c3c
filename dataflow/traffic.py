"""Off-chip bytes of a sparse product under the three dataflows, and the least that any can do.

*Source*: the formulas follow from the loop orders; the counts that they are checked against are
those of the artifact of TeAAL (MICRO 2023) for the square of email-Enron at 12 bytes an entry.
Row-wise is Gustavson's order (Gamma, MatRaptor, SMASH), outer that of OuterSPACE and SpArch, inner
that of a plain dot-product design. Bytes of an entry are those of its index and its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm.count import Work
from workloads.errors import InputError
from workloads.matrices.csr import Csr
from workloads.rounding import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFormat:
    """Bytes of an index, of a value and of a row pointer."""

    index_bytes: int = 4
    value_bytes: int = 8
    pointer_bytes: int = 4

    def __post_init__(self) -> None:
        if min(self.index_bytes, self.value_bytes, self.pointer_bytes) < 1:
            raise InputError("index, value and pointer must each have at least one byte")

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry."""
        return self.index_bytes + self.value_bytes


CSR12 = EntryFormat()
"""32-bit indices and 64-bit values, as in Gamma, OuterSPACE and TeAAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes by what they carry; `partial` are partial results written and read back."""

    a: int
    b: int
    partial: int = 0
    c: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.a + self.b + self.partial + self.c


def compulsory_bytes(work: Work, rows: int, inner: int, layout: EntryFormat = CSR12) -> int:
    """Return b (nnzA + nnzB' + nnzC) + p ((m + 1) + (k + 1) + m): everything moved once.

    B' are the rows of B that A names. Both operands have a pointer more than rows, the result has
    one pointer a row: that is what the 375 170 048 bytes published for email-Enron count. (For
    ca-CondMat and poisson3Da the same table is one pointer lower than this formula.)
    """
    entries = work.nnz_a + work.referenced_nnz + work.nnz_c
    return layout.entry_bytes * entries + layout.pointer_bytes * (2 * rows + inner + 2)


def row_wise_traffic(
    work: Work, rows: int, *, b_bytes: int, spilled_entries: int = 0, layout: EntryFormat = CSR12
) -> Traffic:
    """Return the traffic of Gustavson's order when B costs `b_bytes` (see `ReuseProfile`).

    Entries that do not fit on chip are written and read back once.
    """
    entry, pointer = layout.entry_bytes, layout.pointer_bytes
    return Traffic(
        a=entry * work.nnz_a + pointer * (rows + 1),
        b=b_bytes,
        partial=2 * entry * spilled_entries,
        c=entry * work.nnz_c + pointer * rows,
    )


def unshared_b_bytes(work: Work, layout: EntryFormat = CSR12) -> int:
    """Return the bytes of B without any reuse: its row for every entry of A, and two pointers."""
    return layout.entry_bytes * work.multiplies + 2 * layout.pointer_bytes * work.nnz_a


def outer_traffic(
    work: Work, rows: int, inner: int, *, passes: int = 1, layout: EntryFormat = CSR12
) -> Traffic:
    """Return the traffic of the outer product: every partial product written and read per pass."""
    entry, pointer = layout.entry_bytes, layout.pointer_bytes
    return Traffic(
        a=entry * work.nnz_a + pointer * (inner + 1),
        b=entry * work.nnz_b + pointer * (inner + 1),
        partial=2 * entry * work.multiplies * passes,
        c=entry * work.nnz_c + pointer * rows,
    )


def inner_traffic(
    work: Work, rows: int, *, resident_rows: int, layout: EntryFormat = CSR12
) -> Traffic:
    """Return the traffic of dot products with `resident_rows` rows of A on chip at a time.

    Pointers are not counted.
    """
    if resident_rows < 1:
        raise InputError(f"resident rows must be a positive whole number, not {resident_rows}")
    entry = layout.entry_bytes
    rounds = ceil_div(rows, resident_rows)
    return Traffic(a=entry * work.nnz_a, b=rounds * entry * work.nnz_b, c=entry * work.nnz_c)


def merge_passes(streams: int, fan_in: int) -> int:
    """Return how often partial results pass a merger that joins `fan_in` streams at a time.

    >>> [merge_passes(streams, 64) for streams in (0, 1, 64, 65, 4097)]
    [0, 1, 1, 2, 3]
    """
    if fan_in < 2:
        raise InputError(f"a merger must join at least two streams, not {fan_in}")
    passes, left = 0, streams
    while left > 1:
        left = ceil_div(left, fan_in)
        passes += 1
    return max(passes, min(streams, 1))


def expected_access_bytes(lengths: NDArray[np.int64], element_bytes: int, granule: int) -> int:
    """Return the bytes moved for runs of elements when memory moves whole granules.

    A run of n bytes that begins at any element with equal chance touches (n - e) / g + 1 granules
    of g bytes on average, with elements of e bytes that divide g. Runs of length 0 cost nothing.
    """
    if granule % element_bytes:
        raise InputError(
            f"bytes of an access must be a multiple of the {element_bytes} of an element, "
            f"not {granule}"
        )
    kept = lengths[lengths > 0]
    return int((kept * element_bytes - element_bytes).sum() + len(kept) * granule)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReuseProfile:
    """Reuse of whole rows of B under LRU: what every cache size misses, from one pass.

    `distance` is, for each access, the bytes of distinct rows used since the row's last use, its
    own included; -1 for a first use. `size` are the bytes of the row.
    """

    distance: NDArray[np.int64]
    size: NDArray[np.int64]

    def missed_bytes(self, cache_bytes: int) -> int:
        """Return the bytes fetched by an LRU cache of `cache_bytes` that keeps whole rows."""
        missed = (self.distance < 0) | (self.distance > cache_bytes)
        return int(self.size[missed].sum())

    def hit_rate(self, cache_bytes: int) -> float:
        """Return the share of accesses that hit."""
        if not len(self.distance):
            return 0.0
        return float(((self.distance >= 0) & (self.distance <= cache_bytes)).mean())


def row_reuse(left: Csr, right: Csr, layout: EntryFormat = CSR12) -> ReuseProfile:
    """Return the reuse of rows of B when rows of A are worked through in order.

    Stack distance in bytes (Mattson 1970; the tree over time is Bennett and Kruskal's, 1975), so
    one pass is exact for every size of cache.
    """
    return byte_reuse(left.indices, right.row_lengths * layout.entry_bytes)


def byte_reuse(
    accesses: NDArray[Any],
    object_bytes: NDArray[np.int64],
    final: NDArray[np.bool_] | None = None,
) -> ReuseProfile:
    """Return the byte reuse distances of a sequence of objects with the given sizes.

    An object takes no more room after an access that is marked in `final`; a later access of it
    is a first use again.
    """
    from dataflow._stack_distance import stack_distances

    sequence = accesses.astype(np.int64)
    last_use = np.zeros(len(sequence), dtype=np.bool_) if final is None else final
    distance = np.empty(len(sequence), dtype=np.int64)
    tree = np.zeros(len(sequence) + 1, dtype=np.int64)
    last = np.full(len(object_bytes), -1, dtype=np.int64)
    stack_distances(sequence, object_bytes, last_use, tree, last, distance)
    return ReuseProfile(distance=distance, size=object_bytes[sequence])


def arithmetic_intensity(work: Work, total_bytes: int) -> float:
    """Return floating-point operations for each byte: two for every product."""
    return 2 * work.multiplies / total_bytes if total_bytes else math.nan
