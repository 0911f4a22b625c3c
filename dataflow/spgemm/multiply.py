"""Multiply sparse matrices on the CPU: the reference for values, and a baseline for speed."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm.count import count_range, row_products, short_arrays, split_evenly
from dataflow.spgemm.memory import Room
from workloads.errors import InputError
from workloads.matrices.csr import INDEX_LIMIT, Csr

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Semiring = Literal["plus-times", "min-plus", "or-and"]
Accumulator = Literal["auto", "dense", "hash"]
Result = TypeVar("Result")

THREAD_PRODUCTS = 1 << 18
"""Fewer products than this, half a millisecond's, are not worth waking a thread for."""

ENTRY_PRODUCTS = 2
"""To begin an entry of the result and to write it takes about as long as so many products."""

DENSE_COLUMNS = 1 << 24
"""More columns than this take the hash table: a dense row of 128 MiB no longer pays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """Rows of a result whose columns are distinct but, as SciPy's, in no order."""

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]

    @property
    def nnz(self) -> int:
        """Entries of the result."""
        return len(self.indices)

    def csr(self, name: str = "product") -> Csr:
        """Return the result with the columns of each row sorted, by transposing twice."""
        once = _transpose(self.shape, self.indptr, self.indices, self.values)
        starts, columns, values = _transpose((self.shape[1], self.shape[0]), *once)
        return Csr(shape=self.shape, indptr=starts, indices=columns, values=values, name=name)

    def to_scipy(self) -> csr_array:
        """Return a SciPy array that shares indices and values."""
        from scipy.sparse import csr_array

        starts = self.indptr if self.nnz > INDEX_LIMIT else self.indptr.astype(np.int32)
        return csr_array((self.values, self.indices, starts), shape=self.shape)


def multiply(
    left: Csr,
    right: Csr,
    *,
    threads: int = 1,
    semiring: Semiring = "plus-times",
    accumulator: Accumulator = "auto",
) -> Product:
    """Return left times right with unsorted rows; `.csr()` sorts them.

    The accumulator of a row is dense up to `DENSE_COLUMNS` columns and a hash table beyond. The
    result has float32 values only if both operands have. Threads take contiguous rows with equal
    shares of the work, and are fewer where that is less than `THREAD_PRODUCTS`. Raises
    `InputError` for shapes that do not fit.
    """
    _check_choices(semiring, accumulator, threads)
    products = row_products(left, right)
    threads = min(threads, 1 + int(products.sum()) // THREAD_PRODUCTS)
    bound = np.minimum(products, right.shape[1])
    cuts = split_evenly(products + ENTRY_PRODUCTS * bound, threads)
    arrays = (*short_arrays(left), *short_arrays(right))
    ends = _ends(arrays, right.shape[1], bound, cuts)
    dtype = np.result_type(left.values, right.values)
    columns = Room(int(ends[-1]) + 1, np.dtype(np.uint32))
    values = Room(int(ends[-1]) + 1, dtype)
    counts = np.zeros(left.shape[0], dtype=np.int64)
    hashed = accumulator == "hash" or (accumulator == "auto" and right.shape[1] > DENSE_COLUMNS)
    run = _rows_hash if hashed and semiring == "plus-times" else _rows_dense
    operands = (*arrays[:2], left.values, *arrays[2:], right.values)

    def part(index: int) -> int:
        first, last = int(cuts[index]), int(cuts[index + 1])
        down = index == 0 and threads > 1
        offset = int(ends[1] if down else ends[index])
        place = (first, last, offset, columns.array, values.array, counts, down)
        return run(operands, right.shape[1], place, bound[first:last], semiring, dtype)

    written = _in_threads(part, threads)
    begin = int(ends[1]) - written[0] if threads > 1 else 0
    return Product(
        shape=(left.shape[0], right.shape[1]),
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        indices=columns.taken(begin, sum(written)).view(np.int32),
        values=values.taken(begin, sum(written)),
    )


def _ends(
    arrays: tuple[NDArray[Any], ...],
    width: int,
    bound: NDArray[np.int64],
    cuts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the places between which each part of the rows is written, without gaps.

    Of several parts the first grows downwards from its end and the last upwards, each with room for
    its bound. Those between them are counted, by as many threads.
    """
    parts = len(cuts) - 1
    sizes = np.array([int(bound[a:b].sum()) for a, b in itertools.pairwise(cuts)])
    if parts > 2:
        first, last = int(cuts[1]), int(cuts[-2])
        edges = first + split_evenly(bound[first:last], parts)

        def part(index: int) -> NDArray[np.int64]:
            return count_range(arrays, width, int(edges[index]), int(edges[index + 1]))

        sums = np.concatenate([[0], np.cumsum(np.concatenate(_in_threads(part, parts)))])
        sizes[1:-1] = np.diff(sums[cuts[1:-1] - first])
    return np.concatenate([[0], np.cumsum(sizes)])


def _rows_dense(
    operands: tuple[NDArray[Any], ...],
    columns: int,
    place: tuple[Any, ...],
    bound: NDArray[np.int64],
    semiring: Semiring,
    dtype: np.dtype[Any],
) -> int:
    from dataflow.lanes import LANES, fast_here
    from dataflow.spgemm import kernels

    plus_times: Any = kernels.multiply_dense
    other: Any = kernels.multiply_semiring
    *results, down = place
    if semiring != "plus-times":
        mark = np.zeros(columns + 1, dtype=np.int32)
        total = np.zeros(columns + 1, dtype=dtype)
        return int(other(*operands, *results, total, mark, semiring == "min-plus", down))
    total = np.full(columns + 1, -0.0, dtype=dtype)
    bits = total.view(np.uint64 if dtype.itemsize == 8 else np.uint32)
    fresh = np.empty(columns + LANES, dtype=np.uint32)
    wide = fast_here()
    return int(plus_times(*operands, *results, total, bits, bits[-1], fresh, wide, down))


def _rows_hash(
    operands: tuple[NDArray[Any], ...],
    columns: int,
    place: tuple[Any, ...],
    bound: NDArray[np.int64],
    semiring: Semiring,
    dtype: np.dtype[Any],
) -> int:
    from dataflow.spgemm import kernels

    *results, down = place
    kernel: Any = kernels.multiply_hash
    bits = max(4, int(bound.max(initial=0) * 2).bit_length())
    keys = np.zeros(1 << bits, dtype=np.uint64)
    total = np.zeros(1 << bits, dtype=dtype)
    shift = np.uint64(64 - bits)
    return int(kernel(*operands, *results, keys, total, shift, down))


def _in_threads(part: Callable[[int], Result], threads: int) -> list[Result]:
    """Return the parts' results; this thread takes the last itself."""
    others = [_workers(threads - 1).submit(part, index) for index in range(threads - 1)]
    last = part(threads - 1)
    return [*(other.result() for other in others), last]


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Return threads that are kept: to start and join two takes a quarter of a millisecond."""
    return ThreadPoolExecutor(threads, thread_name_prefix="spgemm")


if hasattr(os, "register_at_fork"):  # A child has the executors, but not their threads.
    os.register_at_fork(after_in_child=_workers.cache_clear)


def _transpose(
    shape: tuple[int, int],
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    from dataflow.spgemm.kernels import transpose

    sums = np.cumsum(np.bincount(columns, minlength=shape[1]))
    out_starts = np.concatenate([[0], sums]).astype(np.int64)
    out_columns = np.empty(len(columns), dtype=np.int32)
    out_values = np.empty_like(values)
    transpose(starts, columns, values, out_starts[:-1].copy(), out_columns, out_values)
    return out_starts, out_columns, out_values


def _check_choices(semiring: str, accumulator: str, threads: int) -> None:
    if semiring not in get_args(Semiring):
        known = ", ".join(get_args(Semiring))
        raise InputError(f"semiring must be one of {known}, not {semiring!r}")
    if accumulator not in get_args(Accumulator):
        known = ", ".join(get_args(Accumulator))
        raise InputError(f"accumulator must be one of {known}, not {accumulator!r}")
    if accumulator == "hash" and semiring != "plus-times":
        raise InputError(f"the hash accumulator multiplies by plus-times only, not {semiring}")
    if threads < 1:
        raise InputError(f"threads must be a positive whole number, not {threads}")
