"""Multiply sparse matrices on the CPU: the reference for values, and a baseline for speed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from dataflow.spgemm.count import count_range, row_products, short_arrays, split_evenly
from workloads.errors import InputError
from workloads.matrices.csr import INDEX_LIMIT, Csr

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Semiring = Literal["plus-times", "min-plus", "or-and"]
Accumulator = Literal["auto", "dense", "hash"]
Result = TypeVar("Result")

COUNTED_BELOW = 8.0
"""Products for each entry of the result up to which it pays to count entries before two threads
write them: counting takes a quarter of 0.5 ns a product, closing the gaps half of 2 ns an entry."""

SAMPLED_SHARE = 64
"""One row in this many is counted to learn how much merges, in four runs."""

HUGE_PAGE_BYTES = 1 << 21
"""Of x86-64 and of most AArch64 systems; elsewhere nothing is gained or lost."""

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
    shares of the partial products. Raises `InputError` for shapes that do not fit.
    """
    _check_choices(semiring, accumulator, threads)
    products = row_products(left, right)
    bound = np.minimum(products, right.shape[1])
    cuts = split_evenly(products, threads)
    arrays = (*short_arrays(left), *short_arrays(right))
    offsets = _offsets(arrays, right.shape[1], products, bound, cuts)
    dtype = np.result_type(left.values, right.values)
    columns = _room(int(offsets[-1]) + 1, np.dtype(np.uint32))
    values = _room(int(offsets[-1]) + 1, dtype)
    counts = np.zeros(left.shape[0], dtype=np.int64)
    hashed = accumulator == "hash" or (accumulator == "auto" and right.shape[1] > DENSE_COLUMNS)
    run = _rows_hash if hashed and semiring == "plus-times" else _rows_dense
    operands = (*arrays[:2], left.values, *arrays[2:], right.values)

    def part(index: int) -> int:
        first, last = int(cuts[index]), int(cuts[index + 1])
        results = (first, last, int(offsets[index]), columns, values, counts)
        return run(operands, right.shape[1], results, bound[first:last], semiring, dtype)

    written = _in_threads(part, threads)
    total = _close_gaps((columns, values), offsets[:-1].tolist(), written, threads)
    return Product(
        shape=(left.shape[0], right.shape[1]),
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        indices=_trimmed(columns, total).view(np.int32),
        values=_trimmed(values, total),
    )


def _room(length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return fresh room, in huge pages to both ends if it is large; only written pages cost.

    numpy asks for huge pages, but where an array covers only a part of one, at either end, the
    system clears up to 512 small pages, one fault each.
    """
    if length * dtype.itemsize < HUGE_PAGE_BYTES:
        return np.empty(length, dtype=dtype)
    page = HUGE_PAGE_BYTES // dtype.itemsize
    whole = np.empty(length + 2 * page, dtype=dtype)
    first = -whole.ctypes.data % HUGE_PAGE_BYTES // dtype.itemsize
    return whole[first : first + length]


def _trimmed(room: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the first `length` elements; the memory behind them goes back, `room` is void."""
    whole = room if room.base is None else room.base
    assert isinstance(whole, np.ndarray)
    first = (room.ctypes.data - whole.ctypes.data) // room.itemsize
    whole.resize(first + length, refcheck=False)
    return whole[first:]


def _offsets(
    arrays: tuple[NDArray[Any], ...],
    width: int,
    products: NDArray[np.int64],
    bound: NDArray[np.int64],
    cuts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return where each part of the rows is written, and how much room all need.

    If little merges, every part but the last is counted before, in as many threads as there are
    parts; else each has room for its bound, and the gaps are closed afterwards.
    """
    rooms = np.array([int(bound[a:b].sum()) for a, b in itertools.pairwise(cuts)])
    if len(rooms) > 1 and _merges_little(arrays, width, products):
        edges = split_evenly(products[: cuts[-2]], len(rooms))

        def part(index: int) -> NDArray[np.int64]:
            return count_range(arrays, width, int(edges[index]), int(edges[index + 1]))

        counts = np.concatenate(_in_threads(part, len(rooms)))
        rooms[:-1] = np.diff(np.concatenate([[0], np.cumsum(counts)])[cuts[:-1]])
    return np.concatenate([[0], np.cumsum(rooms)])


def _merges_little(
    arrays: tuple[NDArray[Any], ...], width: int, products: NDArray[np.int64]
) -> bool:
    """Return whether a sample of rows has few products for each entry of the result."""
    rows = len(products)
    size = -(-rows // SAMPLED_SHARE)
    runs = [(first, min(first + size, rows)) for first in range(0, rows, max(1, rows // 4))]
    entries = sum(int(count_range(arrays, width, *run).sum()) for run in runs)
    return sum(int(products[a:b].sum()) for a, b in runs) <= COUNTED_BELOW * entries


def _rows_dense(
    operands: tuple[NDArray[Any], ...],
    columns: int,
    results: tuple[Any, ...],
    bound: NDArray[np.int64],
    semiring: Semiring,
    dtype: np.dtype[Any],
) -> int:
    from dataflow.lanes import LANES, fast_here
    from dataflow.spgemm import kernels

    plus_times: Any = kernels.multiply_dense
    other: Any = kernels.multiply_semiring
    if semiring != "plus-times":
        mark = np.zeros(columns + 1, dtype=np.int32)
        total = np.zeros(columns + 1, dtype=dtype)
        return int(other(*operands, *results, total, mark, semiring == "min-plus"))
    total = np.full(columns + 1, -0.0, dtype=dtype)
    bits = total.view(np.uint64 if dtype.itemsize == 8 else np.uint32)
    fresh = np.empty(columns + LANES, dtype=np.uint32)
    return int(plus_times(*operands, *results, total, bits, bits[-1], fresh, fast_here()))


def _rows_hash(
    operands: tuple[NDArray[Any], ...],
    columns: int,
    results: tuple[Any, ...],
    bound: NDArray[np.int64],
    semiring: Semiring,
    dtype: np.dtype[Any],
) -> int:
    from dataflow.spgemm import kernels

    kernel: Any = kernels.multiply_hash
    bits = max(4, int(bound.max(initial=0) * 2).bit_length())
    keys = np.zeros(1 << bits, dtype=np.uint64)
    total = np.zeros(1 << bits, dtype=dtype)
    return int(kernel(*operands, *results, keys, total, np.uint64(64 - bits)))


def _in_threads(part: Callable[[int], Result], threads: int) -> list[Result]:
    if threads == 1:
        return [part(0)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(part, range(threads)))


def _close_gaps(
    arrays: tuple[NDArray[Any], ...], offsets: list[int], written: list[int], threads: int
) -> int:
    """Move each thread's part up to the end of the one before; returns the total."""
    from dataflow.spgemm.kernels import move_down

    total = written[0]
    for offset, length in zip(offsets[1:], written[1:], strict=True):
        if offset == total:
            total += length
            continue
        pieces = threads if offset - total >= length else 1
        edges = [length * piece // pieces for piece in range(pieces + 1)]

        def move(piece: int, to: int = total, at: int = offset, edges: list[int] = edges) -> int:
            for array in arrays:
                first, last = edges[piece], edges[piece + 1]
                move_down(array, to + first, at + first, last - first)
            return last

        _in_threads(move, pieces)
        total += length
    return total


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
