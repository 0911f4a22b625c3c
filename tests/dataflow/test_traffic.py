"""Traffic of sparse products: formulas against direct counting."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import _stack_distance, traffic
from dataflow.merge_fibers import merges
from dataflow.spgemm import count
from dataflow.traffic import CSR12, EntryFormat, byte_reuse, merge_passes, row_reuse
from workloads import InputError
from workloads.matrices import Csr, banded, rmat

MATRIX = rmat(8, 6, rng=np.random.default_rng(4))
WORK = count(MATRIX, MATRIX)
ROWS = MATRIX.shape[0]


def lru_misses(sequence, sizes, capacity: int) -> int:
    """Count missed bytes with an ordered dictionary, the plain definition of LRU."""
    cache: OrderedDict[int, int] = OrderedDict()
    missed = 0
    for item in sequence:
        if item in cache:
            cache.move_to_end(item)
            continue
        missed += sizes[item]
        cache[item] = sizes[item]
        while sum(cache.values()) > capacity:
            cache.popitem(last=False)
    return missed


sequences = st.lists(st.integers(0, 6), max_size=60)


@given(sequences, st.lists(st.integers(1, 5), min_size=7, max_size=7), st.integers(5, 25))
def test_stack_distances_give_the_misses_of_an_lru_cache(sequence, sizes, capacity) -> None:
    """For caches at least as large as the largest object."""
    profile = byte_reuse(np.array(sequence, dtype=np.int64), np.array(sizes, dtype=np.int64))
    assert profile.missed_bytes(capacity) == lru_misses(sequence, sizes, capacity)


@given(sequences, st.integers(5, 25))
def test_the_interpreted_loop_agrees(sequence, capacity) -> None:
    steps, sizes = np.array(sequence, dtype=np.int64), np.arange(1, 8)
    distance = np.empty(len(steps), dtype=np.int64)
    _stack_distance.stack_distances.py_func(
        steps,
        sizes,
        np.zeros(len(steps), dtype=bool),
        np.zeros(len(steps) + 1, dtype=np.int64),
        np.full(7, -1),
        distance,
    )
    assert np.array_equal(distance, byte_reuse(steps, sizes).distance)


def test_an_object_that_is_gone_makes_room() -> None:
    """Without the mark, object 0 lies 3 + 1 bytes back; with it, 3."""
    sequence, sizes = np.array([0, 1, 0]), np.array([3, 1])
    assert byte_reuse(sequence, sizes).distance.tolist() == [-1, -1, 4]
    final = np.array([False, True, False])
    assert byte_reuse(sequence, sizes, final).distance.tolist() == [-1, -1, 3]


def test_an_object_that_comes_back_is_fetched_as_at_first() -> None:
    """Object 0 is gone after its second use; its third is a first one, its fourth 3 + 1 bytes."""
    sequence, sizes = np.array([0, 0, 0, 1, 0]), np.array([3, 1])
    final = np.array([False, True, False, False, False])
    assert byte_reuse(sequence, sizes, final).distance.tolist() == [-1, 3, -1, -1, 4]


def test_compulsory_bytes_of_a_dense_product_are_everything_once() -> None:
    dense = Csr.from_dense(np.ones((3, 3)))
    expected = 12 * (9 + 9 + 9) + 4 * (4 + 4 + 3)
    assert traffic.compulsory_bytes(count(dense, dense), 3, 3) == expected


def test_rows_of_b_that_nobody_names_are_not_compulsory() -> None:
    left = Csr.from_coo((1, 3), [0], [1], [1.0])
    work = count(left, banded(3, 2))
    assert work.referenced_nnz == 3
    assert work.nnz_b == 9


@pytest.mark.parametrize("cache_bytes", [0, 500, 2_000, 10_000, 10**7])
def test_row_wise_traffic_lies_between_compulsory_and_no_reuse(cache_bytes: int) -> None:
    """B costs between its rows once and its row for every entry of A."""
    b_bytes = row_reuse(MATRIX, MATRIX).missed_bytes(cache_bytes)
    assert 12 * WORK.referenced_nnz <= b_bytes <= 12 * WORK.multiplies
    if cache_bytes == 0:
        assert b_bytes == 12 * WORK.multiplies
    if cache_bytes == 10**7:
        assert b_bytes == 12 * WORK.referenced_nnz


def test_a_larger_cache_never_fetches_more() -> None:
    profile = row_reuse(MATRIX, MATRIX)
    fetched = [profile.missed_bytes(size) for size in range(0, 30_000, 500)]
    assert fetched == sorted(fetched, reverse=True)
    assert profile.hit_rate(10**9) == pytest.approx(1 - len(set(MATRIX.indices)) / MATRIX.nnz)


def test_outer_products_write_and_read_every_partial_product() -> None:
    moved = traffic.outer_traffic(WORK, ROWS, ROWS, passes=2)
    assert moved.partial == 2 * 2 * 12 * WORK.multiplies
    assert moved.total == moved.a + moved.b + moved.partial + moved.c


def test_inner_products_read_b_once_for_every_group_of_rows() -> None:
    moved = traffic.inner_traffic(WORK, ROWS, resident_rows=100)
    assert moved.b == -(-ROWS // 100) * 12 * MATRIX.nnz


def test_spilled_entries_travel_twice() -> None:
    plain = traffic.row_wise_traffic(WORK, ROWS, b_bytes=0)
    assert traffic.row_wise_traffic(WORK, ROWS, b_bytes=0, spilled_entries=10).total == (
        plain.total + 240
    )


@given(st.integers(0, 5000), st.integers(2, 70))
def test_merge_passes_are_those_of_merging(streams: int, fan_in: int) -> None:
    passes, width = 0, 1
    while width < streams:
        passes, width = passes + 1, width * fan_in
    assert merge_passes(streams, fan_in) == max(passes, min(streams, 1))


@pytest.mark.parametrize("granule", [8, 16, 64])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 16, 33])
def test_expected_access_bytes_are_the_mean_over_all_alignments(length: int, granule: int) -> None:
    starts = range(granule // 4)
    touched = [
        len({(start + i) * 4 // granule for i in range(length)}) * granule for start in starts
    ]
    ours = traffic.expected_access_bytes(np.array([length]), 4, granule)
    assert ours == pytest.approx(np.mean(touched))


@pytest.mark.parametrize("radix", [2, 3, 8, 64])
def test_partial_fibers_of_a_huge_cache_cost_no_traffic(radix: int) -> None:
    moved = merges(MATRIX, MATRIX, radix=radix, cache_bytes=10**9, entry_bytes=12)
    assert moved.b_bytes == 12 * WORK.referenced_nnz
    assert moved.spilled_bytes.sum() == 0


def test_partial_fibers_are_the_distinct_columns_of_each_group() -> None:
    """Ten entries at radix 4: groups of 4, 4 and 2 entries, merged by a last merge of three."""
    left = Csr.from_coo((1, 10), [0] * 10, range(10), np.ones(10))
    right = Csr.from_dense(np.eye(10) + np.eye(10, k=1))
    moved = merges(left, right, radix=4, cache_bytes=10**6, entry_bytes=12)
    assert moved.partial_elements == 5 + 5 + 2
    tiny = merges(left, right, radix=4, cache_bytes=0, entry_bytes=12)
    assert tiny.spilled_bytes.sum() == 12 * (5 + 5 + 2)


def test_two_levels_of_partial_fibers() -> None:
    """Ten entries at radix 2: five pairs, three pairs of pairs, two of those."""
    left = Csr.from_coo((1, 10), [0] * 10, range(10), np.ones(10))
    diagonal = Csr.from_dense(np.eye(10))
    moved = merges(left, diagonal, radix=2, cache_bytes=10**6, entry_bytes=12)
    assert moved.partial_elements == 10 + 10 + 10


def test_arithmetic_intensity_is_two_operations_a_product() -> None:
    assert traffic.arithmetic_intensity(WORK, WORK.multiplies) == 2.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EntryFormat(index_bytes=0), "must each have at least one byte"),
        (lambda: traffic.inner_traffic(WORK, 1, resident_rows=0), "resident rows must be"),
        (lambda: merge_passes(4, 1), "must join at least two streams"),
        (
            lambda: traffic.expected_access_bytes(np.array([1]), 12, 64),
            "must be a multiple of the 12 of an element, not 64",
        ),
        (
            lambda: merges(MATRIX, MATRIX, radix=1, cache_bytes=1, entry_bytes=12),
            "must join at least two fibers",
        ),
    ],
)
def test_nonsense_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_an_entry_is_an_index_and_a_value() -> None:
    assert CSR12.entry_bytes == 12
    assert EntryFormat(index_bytes=2, value_bytes=3).entry_bytes == 5
