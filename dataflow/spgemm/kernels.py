"""Compiled loops of sparse matrix products, row by row (Gustavson 1978), on flat arrays.

What makes them fast, each measured: unsigned indices (no test for negative ones); the list of a
row's columns grows without a branch, or eight at a time (`dataflow.lanes`); the dense accumulator
itself says whether a column is new, because it rests at -0.0, which no sum of the row can return to
once +0.0 is added to every product (IEEE 754: only -0.0 + -0.0 is -0.0); rows of B that will be
needed are prefetched; a row of B without gaps that starts inside columns already present is added
as a vector. What the system takes to clear fresh pages `dataflow.spgemm.memory` spares.

The caller owns all arrays, gives `indices` and `values` of the result room for the upper bound of
the rows, and starts the accumulators as stated. The kernels assume valid operands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dataflow.hashing import GOLDEN
from dataflow.lanes import LANES, add_lanes, take_lanes
from dataflow.prefetch import prefetch

AHEAD = 8
"""Entries of A between asking for a row of B and using it, and between that and its start."""

LINE = 8
"""Values in a cache line: rows of B are asked for two lines deep."""

ONE = np.uint64(1)
STEP = np.uint64(LANES)
MULTIPLIER = np.uint64(GOLDEN)
"""That of Fibonacci hashing, as of a `multiplicative` hash of 64 bits in `dataflow.hashing`."""


@njit(nogil=True, forceinline=True)
def mark_columns(columns: Any, first: Any, stop: Any, mark: Any, tag: Any) -> Any:
    """Mark columns `first` to `stop` of B, and return how many were not."""
    new = np.uint64(0)
    for t in range(first, stop):
        j = columns[t]
        new += np.uint64(mark[j] < tag)
        mark[j] = tag
    return new


@njit(nogil=True, forceinline=True)
def covered(left: Any, right: Any, low: Any, high: Any) -> Any:
    """Return how many of the columns from `left` to `right` on lie in the run `low` to `high`."""
    return min(high, right) - left if left >= low and left < high else np.uint64(0)


@njit(nogil=True, forceinline=True)
def grown(left: Any, right: Any, low: Any, high: Any) -> Any:
    """Return the run `low` to `high`, lengthened by columns `left` to `right` that begin in it."""
    if high == low:
        return left, right
    return low, max(high, right) if left >= low and left <= high else high


@njit(cache=True, nogil=True)
def count_rows(
    a_starts: Any, a_columns: Any, b_starts: Any, b_columns: Any, first: int, last: int,
    mark: Any, counts: Any,
) -> None:  # fmt: skip
    """Write the number of distinct columns of each row of the result; `mark` bytes begin at 0.

    A mark is the number of the row, counted anew every 255, that last had the column: whether it is
    smaller is the carry of one comparison. Columns of a run that is marked are passed over. What a
    row of B has behind its eights is taken as its last eight, of which some are marked by then: no
    step has a length that must be guessed.
    """
    end = np.uint64(a_starts[last])
    tag = np.uint8(0)
    for i in range(first, last):
        if tag == np.uint8(255):
            mark[:] = 0
            tag = np.uint8(0)
        tag = np.uint8(tag + np.uint8(1))
        distinct, low, high = np.uint64(0), np.uint64(0), np.uint64(0)
        for p in range(np.uint64(a_starts[i]), np.uint64(a_starts[i + 1])):
            if p + np.uint64(2 * AHEAD) < end:
                start = np.uint64(b_starts[a_columns[p + np.uint64(AHEAD)]])
                prefetch(b_columns, start)
                prefetch(b_columns, start + np.uint64(2 * LINE - 1))
                prefetch(b_starts, a_columns[p + np.uint64(2 * AHEAD)])
            k = np.uint64(a_columns[p])
            q, stop = np.uint64(b_starts[k]), np.uint64(b_starts[k + ONE])
            if q == stop:
                continue
            left, right = np.uint64(b_columns[q]), np.uint64(b_columns[stop - ONE]) + ONE
            if right - left == stop - q:
                q += covered(left, right, low, high)
                low, high = grown(left, right, low, high)
            if stop - q < STEP:
                distinct += mark_columns(b_columns, q, stop, mark, tag)
                continue
            while q + STEP <= stop:
                distinct += mark_columns(b_columns, q, q + STEP, mark, tag)
                q += STEP
            if q < stop:
                distinct += mark_columns(b_columns, stop - STEP, stop, mark, tag)
        counts[i] = distinct


@njit(nogil=True, forceinline=True)
def take_row(
    total: Any, total_bits: Any, resting: Any, fresh: Any, found: Any, columns: Any, values: Any,
    begin: Any, wide: bool,
) -> None:  # fmt: skip
    """Move `found` fresh columns and their totals to place `begin`; let them rest."""
    taken = np.uint64(0)
    while wide and taken + STEP <= found:
        take_lanes(total, total_bits, resting, fresh, taken, columns, values, begin + taken)
        taken += STEP
    for t in range(taken, found):
        j = fresh[t]
        columns[begin + t] = j
        values[begin + t] = total[j]
        total_bits[j] = resting


@njit(cache=True, nogil=True)
def multiply_dense(
    a_starts: Any, a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any,
    first: int, last: int, offset: int, columns: Any, values: Any, counts: Any,
    total: Any, total_bits: Any, resting: Any, fresh: Any, wide: bool, down: bool,
) -> Any:  # fmt: skip
    """Multiply rows by plus-times; `total` begins at -0.0, whose bits `resting` are.

    Writes rows from `offset` on, or from the last to the first before it (`down`), and nothing
    beyond; returns the entries written. `fresh` is room for the columns of a row and `LANES` more.
    `wide` takes eight places at a time.
    """
    n, end = np.uint64(offset), np.uint64(a_starts[last])
    zero = total[0] - total[0]
    for row in range(last - first):
        i = last - 1 - row if down else first + row
        found = np.uint64(0)
        low, high = np.uint64(0), np.uint64(0)
        row_end = np.uint64(a_starts[i + 1])
        back = row_end - np.uint64(a_starts[max(i - 1, first)]) if down else np.uint64(0)
        for p in range(np.uint64(a_starts[i]), row_end):
            soon, later = p + np.uint64(AHEAD), p + np.uint64(2 * AHEAD)
            soon -= back if soon >= row_end else np.uint64(0)
            later -= back if later >= row_end else np.uint64(0)
            if max(soon, later) < end:
                start = np.uint64(b_starts[a_columns[soon]])
                prefetch(b_columns, start)
                prefetch(b_columns, start + np.uint64(2 * LINE))
                prefetch(b_values, start)
                prefetch(b_values, start + np.uint64(LINE))
                prefetch(b_values, start + np.uint64(2 * LINE))
                prefetch(b_starts, a_columns[later])
            k = np.uint64(a_columns[p])
            scale = a_values[p]
            q, stop = np.uint64(b_starts[k]), np.uint64(b_starts[k + ONE])
            if q == stop:
                continue
            left, right = np.uint64(b_columns[q]), np.uint64(b_columns[stop - ONE]) + ONE
            if right - left == stop - q:
                known = covered(left, right, low, high)
                for t in range(known):
                    total[left + t] += scale * b_values[q + t] + zero
                q += known
                low, high = grown(left, right, low, high)
            while wide and q + STEP <= stop:
                found += add_lanes(
                    total, total_bits, resting, b_columns, b_values, q, scale, fresh, found
                )
                q += STEP
            for r in range(q, stop):
                j = b_columns[r]
                new = np.uint64(total_bits[j] == resting)
                total[j] += scale * b_values[r] + zero
                fresh[found] = j
                found += new
        begin = n - found if down else n
        take_row(total, total_bits, resting, fresh, found, columns, values, begin, wide)
        counts[i] = found
        n = begin if down else n + found
    return abs(np.int64(n) - offset)


@njit(cache=True, nogil=True)
def multiply_semiring(
    a_starts: Any, a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any,
    first: int, last: int, offset: int, columns: Any, values: Any, counts: Any,
    total: Any, mark: Any, min_plus: bool, down: bool,
) -> Any:  # fmt: skip
    """Multiply rows by min-plus, or else by or-and (1 wherever a product is not 0, else 0)."""
    step = -1 if down else 1
    n = offset - 1 if down else offset
    for row in range(last - first):
        i = last - 1 - row if down else first + row
        begin = n
        tag = np.int32(i + 1)
        for p in range(a_starts[i], a_starts[i + 1]):
            k = np.uint64(a_columns[p])
            scale = a_values[p]
            for q in range(b_starts[k], b_starts[k + ONE]):
                j = b_columns[q]
                other = b_values[q]
                nonzero = total.dtype.type(scale != 0 and other != 0)
                term = scale + other if min_plus else nonzero
                if mark[j] != tag:
                    mark[j] = tag
                    total[j] = term
                    columns[n] = j
                    n += step
                elif min_plus:
                    total[j] = min(total[j], term)
                else:
                    total[j] = max(total[j], term)
        for t in range(begin, n, step):
            values[t] = total[columns[t]]
        counts[i] = abs(n - begin)
    return offset - 1 - n if down else n - offset


@njit(cache=True, nogil=True)
def multiply_hash(
    a_starts: Any, a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any,
    first: int, last: int, offset: int, columns: Any, values: Any, counts: Any,
    keys: Any, total: Any, shift: Any, down: bool,
) -> Any:  # fmt: skip
    """Multiply rows by plus-times with a hash table of 2**(64 - shift) slots; keys begin at 0.

    A key is the column plus one. The table must have more slots than any row has columns.
    """
    step = -1 if down else 1
    n = offset - 1 if down else offset
    mask = np.uint64(len(keys) - 1)
    for row in range(last - first):
        i = last - 1 - row if down else first + row
        begin = n
        for p in range(a_starts[i], a_starts[i + 1]):
            k = np.uint64(a_columns[p])
            scale = a_values[p]
            for q in range(b_starts[k], b_starts[k + ONE]):
                key = np.uint64(b_columns[q]) + ONE
                slot = (key * MULTIPLIER) >> shift
                while keys[slot] != key and keys[slot] != np.uint64(0):
                    slot = (slot + ONE) & mask
                if keys[slot] == key:
                    total[slot] += scale * b_values[q]
                else:
                    keys[slot] = key
                    total[slot] = scale * b_values[q]
                    columns[n] = slot
                    n += step
        for t in range(begin, n, step):
            slot = np.uint64(columns[t])
            columns[t] = keys[slot] - ONE
            values[t] = total[slot]
            keys[slot] = np.uint64(0)
        counts[i] = abs(n - begin)
    return offset - 1 - n if down else n - offset


@njit(cache=True, nogil=True)
def count_products(a_starts: Any, a_columns: Any, b_starts: Any, products: Any) -> float:
    """Write the partial products of each row; returns their sum as a float, which cannot wrap."""
    total = 0.0
    for i in range(len(a_starts) - 1):
        row = np.uint64(0)
        for p in range(a_starts[i], a_starts[i + 1]):
            k = np.uint64(a_columns[p])
            row += b_starts[k + ONE] - b_starts[k]
        products[i] = row
        total += np.float64(row)
    return total


@njit(cache=True)
def transpose(
    starts: Any, columns: Any, values: Any, out_starts: Any, out_columns: Any, out_values: Any
) -> None:
    """Scatter rows into columns; `out_starts` holds the column starts and is moved to the ends."""
    for i in range(len(starts) - 1):
        for p in range(starts[i], starts[i + 1]):
            j = columns[p]
            at = out_starts[j]
            out_columns[at] = i
            out_values[at] = values[p]
            out_starts[j] = at + 1
