"""Sparse products on the CPU: equal to SciPy in pattern and to rounding in values."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from dataflow import lanes
from dataflow.spgemm import count, kernels, multiply, row_products, split_evenly
from dataflow.spgemm.count import index_arrays, row_counts
from workloads import InputError
from workloads.matrices import Csr, banded, block_sparse, power_law, rmat, uniform


@pytest.fixture(autouse=True)
def _small_products_take_all_threads(monkeypatch) -> None:
    """As many as asked for, however few products each has."""
    monkeypatch.setattr(sys.modules[multiply.__module__], "THREAD_PRODUCTS", 1)


def generator(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def pair(seed: int) -> tuple[Csr, Csr]:
    rng = generator(seed)
    rows, inner, columns = (int(size) for size in rng.integers(1, 40, size=3))
    left = Csr.from_dense(rng.standard_normal((rows, inner)) * (rng.random((rows, inner)) < 0.2))
    right = Csr.from_dense(
        rng.standard_normal((inner, columns)) * (rng.random((inner, columns)) < 0.2)
    )
    return left, right


MATRICES = {
    "rmat": rmat(8, 8, rng=generator()),
    "banded": banded(200, 5, rng=generator()),
    "uniform": uniform(300, 300, 4, rng=generator()),
    "power law": power_law(300, 6, rng=generator()),
    "blocks": block_sparse(128, 128, 16, 0.2, rng=generator()),
    "empty": Csr.from_coo((5, 5), [], [], []),
    "no rows": Csr.from_coo((0, 0), [], [], []),
    "one dense row": Csr.from_coo((50, 50), [7] * 50, range(50), np.arange(50) - 20.0),
}


def pattern_and_values(product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    csr = product.csr()
    return csr.indptr, csr.indices, csr.values


def structure(matrix: Csr):
    """Return the matrix with all its entries one, so that nothing cancels."""
    ones = matrix.to_scipy().copy()
    ones.data = np.ones_like(ones.data)
    return ones


def expected(left: Csr, right: Csr) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return SciPy's product; it drops entries that cancel to 0, which are put back."""
    result = structure(left) @ structure(right)
    result.sort_indices()
    rows = np.repeat(np.arange(result.shape[0]), np.diff(result.indptr))
    dense = (left.to_scipy() @ right.to_scipy()).toarray()
    return result.indptr, result.indices, dense[rows, result.indices]


@pytest.mark.parametrize("accumulator", ["dense", "hash"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("name", MATRICES)
def test_the_square_equals_scipy(name: str, threads: int, accumulator) -> None:
    matrix = MATRICES[name]
    ours = pattern_and_values(multiply(matrix, matrix, threads=threads, accumulator=accumulator))
    theirs = expected(matrix, matrix)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[2] == pytest.approx(theirs[2], rel=1e-12, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_any_rectangular_product_equals_scipy(seed: int) -> None:
    left, right = pair(seed)
    ours, theirs = pattern_and_values(multiply(left, right)), expected(left, right)
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    assert ours[2] == pytest.approx(theirs[2], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", MATRICES)
def test_float32_stays_float32_and_is_accurate_to_its_rounding(name: str) -> None:
    single = MATRICES[name].astype(np.float32)
    product = multiply(single, single)
    assert product.values.dtype == np.float32
    exact = expected(MATRICES[name], MATRICES[name])[2]
    assert product.csr().values == pytest.approx(exact, rel=1e-4, abs=1e-4)


def test_entries_that_cancel_or_are_zero_stay_in_the_pattern() -> None:
    """Also after sums of -0.0, at which the accumulator rests."""
    left = Csr.from_coo((2, 2), [0, 0, 1], [0, 1, 0], [1.0, -1.0, -0.0])
    right = Csr.from_coo((2, 2), [0, 1, 0], [0, 0, 1], [2.0, 2.0, 0.0])
    ours, theirs = multiply(left, right).csr(), expected(left, right)
    assert np.array_equal(ours.indptr, theirs[0])
    assert np.array_equal(ours.indices, theirs[1])
    assert np.array_equal(ours.values, theirs[2])


@pytest.mark.parametrize("semiring", ["min-plus", "or-and"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_other_semirings_follow_their_definition(semiring, seed: int) -> None:
    left, right = pair(seed)
    product = multiply(left, right, semiring=semiring).csr()
    dense = {(i, j): v for i, j, v in _entries(product)}
    terms: dict[tuple[int, int], list[float]] = {}
    of_row: dict[int, list[tuple[int, float]]] = {}
    for k, j, value in _entries(right):
        of_row.setdefault(k, []).append((j, value))
    for i, k, value in _entries(left):
        for j, other in of_row.get(k, []):
            term = value + other if semiring == "min-plus" else float(value != 0 and other != 0)
            terms.setdefault((i, j), []).append(term)
    reduce = min if semiring == "min-plus" else max
    assert dense == {place: reduce(values) for place, values in terms.items()}


def _entries(matrix: Csr):
    rows = np.repeat(np.arange(matrix.shape[0]), matrix.row_lengths)
    return zip(rows.tolist(), matrix.indices.tolist(), matrix.values.tolist(), strict=True)


@pytest.mark.parametrize("name", MATRICES)
def test_counts_are_those_of_the_product(name: str) -> None:
    matrix = MATRICES[name]
    work = count(matrix, matrix)
    result = structure(matrix) @ structure(matrix)
    assert work.multiplies == result.sum()
    assert np.array_equal(work.row_nnz, np.diff(result.indptr))
    assert work.adds == work.multiplies - result.nnz


@given(st.integers(0, 2**32 - 1))
def test_runs_that_overlap_touch_or_enclose_each_other_are_counted_once(seed: int) -> None:
    """Rows of B without gaps are taken as runs; those with gaps lie among them."""
    rng = generator(seed)
    right = np.zeros((30, 40))
    for row in right:
        low, length = int(rng.integers(40)), int(rng.integers(20))
        row[low : low + length] = 1.0
        row[rng.integers(40, size=int(rng.integers(3)))] = rng.integers(2)
    left = rng.random((20, 30)) < 0.2
    counts = row_counts(Csr.from_dense(left.astype(float)), Csr.from_dense(right))
    assert counts.tolist() == np.count_nonzero(left.astype(float) @ right, axis=1).tolist()
    product = multiply(Csr.from_dense(left.astype(float)), Csr.from_dense(right)).csr()
    assert np.array_equal(product.to_scipy().toarray(), left.astype(float) @ right)


def test_counting_rows_beyond_the_tags_of_the_marks_stays_exact() -> None:
    """Marks are bytes that are cleared every 255 rows."""
    matrix = Csr.from_coo((1000, 3), np.arange(1000), np.ones(1000), np.ones(1000))
    small = banded(3, 2)
    assert count(matrix, small).row_nnz.tolist() == [3] * 1000


def test_more_products_than_64_bits_count_are_refused() -> None:
    """Two entries meet a row of 2**62: only row starts are looked at."""
    long = Csr.from_coo((1, 1), [0], [0], [1.0])
    huge = object.__new__(Csr)
    object.__setattr__(huge, "shape", (1, 2**31 - 1))
    object.__setattr__(huge, "indptr", np.array([0, 2**62], dtype=np.int64))
    object.__setattr__(huge, "indices", np.zeros(0, dtype=np.int32))
    object.__setattr__(huge, "name", "huge")
    wide = Csr.from_coo((2, 1), [0, 1], [0, 0], [1.0, 1.0])
    assert row_products(long, huge).tolist() == [2**62]
    with pytest.raises(InputError, match=r"more than 2\*\*62 products"):
        row_products(wide, huge)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 6))
def test_parts_are_contiguous_and_none_exceeds_its_share_by_more_than_a_row(
    products: list[int], parts: int
) -> None:
    work = np.array(products, dtype=np.int64)
    cuts = split_evenly(work, parts)
    assert cuts[0] == 0
    assert cuts[-1] == len(work)
    assert (np.diff(cuts) >= 0).all()
    largest = max(products, default=0)
    for low, high in itertools.pairwise(cuts):
        assert work[low:high].sum() <= work.sum() / parts + 2 * largest


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"threads": 0}, "threads must be a positive whole number, not 0"),
        ({"semiring": "max-min"}, "semiring must be one of plus-times, min-plus, or-and"),
        ({"accumulator": "sparse"}, "accumulator must be one of auto, dense, hash"),
        ({"accumulator": "hash", "semiring": "min-plus"}, "multiplies by plus-times only"),
    ],
)
def test_wrong_choices_are_refused(settings_, message: str) -> None:
    matrix = MATRICES["banded"]
    with pytest.raises(InputError, match=message):
        multiply(matrix, matrix, **settings_)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"columns of .* must be as many as rows of"):
        multiply(MATRICES["banded"], MATRICES["rmat"])


def test_interpreted_kernels_agree_with_compiled_ones() -> None:
    left, right = pair(11)
    counts = np.zeros(left.shape[0], dtype=np.int64)
    mark = np.zeros(right.shape[1] + 1, dtype=np.uint8)
    arrays = (*index_arrays(left), *index_arrays(right))
    kernels.count_rows.py_func(*arrays, 0, left.shape[0], mark, counts)
    assert np.array_equal(counts, count(left, right).row_nnz)
    columns = np.zeros(int(counts.sum()) + 1, dtype=np.uint32)
    values = np.zeros(int(counts.sum()) + 1)
    total = np.full(right.shape[1] + 1, -0.0)
    bits = total.view(np.uint64)
    fresh = np.zeros(right.shape[1] + lanes.LANES, dtype=np.uint32)
    operands = (*index_arrays(left), left.values, *index_arrays(right), right.values)
    written = kernels.multiply_dense.py_func(
        *operands,
        0,
        left.shape[0],
        0,
        columns,
        values,
        counts,
        total,
        bits,
        bits[-1],
        fresh,
        False,
        False,
    )
    product = multiply(left, right)
    assert written == product.nnz
    assert np.array_equal(columns[:written], product.indices)
    assert values[:written] == pytest.approx(product.values, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_wide_kernels_equal_scalar_ones_to_the_bit(dtype, seed: int) -> None:
    """On any processor: with neither AVX-512 nor AVX2 the compiler takes the lanes one by one."""
    rng = generator(seed)
    left, right = (uniform(40, 40, 12, rng=rng).astype(dtype) for _ in range(2))
    bound = 40 * 40
    operands = (*index_arrays(left), left.values, *index_arrays(right), right.values)
    results = []
    for wide in (False, True):
        columns, values = np.zeros(bound, dtype=np.uint32), np.zeros(bound, dtype=dtype)
        counts = np.zeros(40, dtype=np.int64)
        total = np.full(41, -0.0, dtype=dtype)
        bits = total.view(np.uint64 if dtype is np.float64 else np.uint32)
        fresh = np.zeros(40 + lanes.LANES, dtype=np.uint32)
        kernels.multiply_dense(
            *operands, 0, 40, 0, columns, values, counts, total, bits, bits[-1], fresh, wide, False
        )
        assert (bits == bits[-1]).all()
        results.append((columns, values, counts))
    for narrow, wide in zip(*results, strict=True):
        assert np.array_equal(narrow, wide)


@pytest.mark.parametrize("table", [True, False], ids=["as here", "without a table"])
def test_interpreted_lanes_equal_compiled_ones_for_every_mask(table: bool, monkeypatch) -> None:
    """On any processor: what it lacks the compiler takes apart, but the permutation of AVX2."""
    if not table:
        monkeypatch.setattr(lanes, "permutes", lambda: False)

    @njit
    def add(total, bits, resting, columns, values, at, scale, fresh, n):
        return lanes.add_lanes(total, bits, resting, columns, values, at, scale, fresh, n)

    @njit
    def take(total, bits, resting, fresh, at, columns, values, n):
        lanes.take_lanes(total, bits, resting, fresh, at, columns, values, n)

    def run(add, take, mask: int) -> list[np.ndarray]:
        places = np.array([9, 3, 0, 19, 7, 8, 1, 2, 4, 5, 6], dtype=np.uint32)
        total = np.full(20, -0.0)
        total[places[1:9]] = [-0.0 if mask >> lane & 1 else 1.5 for lane in range(8)]
        bits = total.view(np.uint64)
        fresh, columns = np.zeros(40, dtype=np.uint32), np.zeros(20, dtype=np.uint32)
        values = np.zeros(20)
        resting = np.array([-0.0]).view(np.uint64)[0]
        new = int(add(total, bits, resting, places, np.arange(11.0), 1, 2.0, fresh, 1))
        total_then = total.copy()
        take(total, bits, resting, places, 0, columns, values, 2)
        assert new == mask.bit_count()
        return [fresh[: 1 + new], total_then, total, columns, values]

    for mask in range(256):
        interpreted = run(lanes.add_lanes, lanes.take_lanes, mask)
        for one, other in zip(interpreted, run(add, take, mask), strict=True):
            assert np.array_equal(one, other)


def test_few_products_wake_no_thread(monkeypatch) -> None:
    """And many do."""
    module = sys.modules[multiply.__module__]
    asked: list[int] = []

    def workers(threads: int) -> ThreadPoolExecutor:
        asked.append(threads)
        return ThreadPoolExecutor(threads)

    monkeypatch.setattr(module, "_workers", workers)
    square = MATRICES["rmat"]
    multiply(square, square, threads=2)
    assert asked == [1]
    monkeypatch.setattr(module, "THREAD_PRODUCTS", 1 << 18)
    multiply(square, square, threads=2)
    assert asked == [1]


@pytest.mark.parametrize("semiring", ["plus-times", "min-plus", "or-and"])
def test_threads_leave_each_others_rows_alone(semiring) -> None:
    """Rows of single columns merge much at the seams; nothing may be written behind a part."""
    spread = Csr.from_coo(
        (600, 300), np.repeat(np.arange(600), 2), np.tile([0, 1], 600), np.ones(1200)
    )
    right = Csr.from_coo((300, 9), [0, 1, 1], [4, 4, 5], [1.0, 2.0, 3.0])
    alone = multiply(spread, right, semiring=semiring).csr()
    for _ in range(20):
        together = multiply(spread, right, semiring=semiring, threads=5).csr()
        assert np.array_equal(alone.indices, together.indices)
        assert np.array_equal(alone.values, together.values)
