"""Windows of rows fit the table whatever the values are; items cover the work once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.hashing import SlotHash, probe_lengths, window_hash
from dataflow.row_windows import row_windows, work_items
from dataflow.spgemm import count
from workloads import InputError
from workloads.matrices import rmat, uniform

work = st.lists(st.integers(0, 30), max_size=40).map(lambda rows: np.array(rows, dtype=np.int64))


@given(work, st.integers(1, 20), st.integers(1, 25))
def test_every_place_of_the_result_is_in_exactly_one_window(products, columns, capacity) -> None:
    windows = row_windows(products, columns, capacity)
    seen = np.zeros((len(products), columns), dtype=int)
    for index in range(len(windows)):
        rows = slice(windows.first_row[index], windows.last_row[index])
        seen[rows, windows.first_column[index] : windows.last_column[index]] += 1
    assert (seen == 1).all()


@given(work, st.integers(1, 20), st.integers(1, 25))
def test_no_window_can_overflow(products, columns, capacity) -> None:
    windows = row_windows(products, columns, capacity)
    width = windows.last_column - windows.first_column
    for index in range(len(windows)):
        rows = slice(windows.first_row[index], windows.last_row[index])
        most = np.minimum(products[rows], width[index]).sum()
        assert most == windows.bound[index] <= capacity


@given(work, st.integers(1, 20), st.integers(1, 25))
def test_a_window_takes_the_next_row_if_that_fits(products, columns, capacity) -> None:
    windows = row_windows(products, columns, capacity)
    bounds = np.minimum(products, columns)
    for index in range(len(windows) - 1):
        following = windows.last_row[index]
        whole = windows.last_column[index] - windows.first_column[index] == columns
        if whole and following < len(products) and bounds[following] <= capacity:
            assert windows.bound[index] + bounds[following] > capacity


def test_only_rows_beyond_the_table_are_split() -> None:
    windows = row_windows(np.array([9, 2, 9]), columns=8, capacity=4)
    assert windows.split_rows == 2
    assert windows.first_column.tolist() == [0, 4, 0, 0, 4]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40) | st.none())
def test_items_cover_every_entry_of_a_window_once_and_in_order(seed: int, limit) -> None:
    matrix = uniform(20, 20, 4, rng=np.random.default_rng(seed))
    windows = row_windows(count(matrix, matrix).row_products, 20, 30)
    items = work_items(matrix, matrix, windows, limit)
    for index in range(len(windows)):
        part = slice(items.window_start[index], items.window_start[index + 1])
        entries = [
            np.arange(a, b) for a, b in zip(items.first[part], items.last[part], strict=True)
        ]
        found = np.concatenate(entries) if entries else np.zeros(0, dtype=int)
        low, high = matrix.indptr[[windows.first_row[index], windows.last_row[index]]]
        assert found.tolist() == list(range(low, high))


@given(st.integers(1, 200))
def test_an_item_exceeds_the_limit_by_less_than_its_last_row_of_b(limit: int) -> None:
    matrix = rmat(7, 8, rng=np.random.default_rng(5))
    windows = row_windows(count(matrix, matrix).row_products, matrix.shape[1], 10_000)
    items = work_items(matrix, matrix, windows, limit)
    lengths = matrix.row_lengths[matrix.indices]
    for first, last in zip(items.first, items.last, strict=True):
        assert lengths[first : last - 1].sum() < limit


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: row_windows(np.array([1]), 1, 0), "room for at least one entry, not 0"),
        (
            lambda: work_items(
                uniform(2, 2, 1, rng=np.random.default_rng(0)),
                uniform(2, 2, 1, rng=np.random.default_rng(0)),
                row_windows(np.array([1, 1]), 2, 4),
                0,
            ),
            "products of a token must be a positive whole number",
        ),
        (lambda: SlotHash(kind="best", slot_bits=4), "hash must be one of high, low, mult"),
        (lambda: SlotHash(kind="low", slot_bits=33), "slot bits of a hash must be from 0 to 32"),
        (lambda: SlotHash(kind="low", slot_bits=3, key_bits=0), "key bits .* must be from 1 to 64"),
        (
            lambda: probe_lengths([1, 2, 3], SlotHash(kind="low", slot_bits=1)),
            "a table of 2 slots is full; it cannot take key 3",
        ),
    ],
)
def test_nonsense_is_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@given(
    st.sampled_from(["high", "low", "multiplicative"]),
    st.integers(0, 12),
    st.integers(1, 64),
    st.data(),
)
def test_slots_follow_the_definition_in_exact_integers(kind, slot_bits, key_bits, data) -> None:
    hashing = SlotHash(kind=kind, slot_bits=slot_bits, key_bits=key_bits)
    key = data.draw(st.integers(0, 2**key_bits - 1))
    if kind == "low":
        expected = key % 2**slot_bits
    else:
        factor = hashing.multiplier if kind == "multiplicative" else 1
        expected = (key * factor % 2**key_bits) >> max(0, key_bits - slot_bits)
    assert hashing.compute([key]).tolist() == [expected]


def test_high_bits_keep_the_order_of_keys() -> None:
    hashing = window_hash("high", 6, 1000)
    slots = hashing.compute(np.arange(1000))
    assert (np.diff(slots.astype(int)) >= 0).all()
    assert slots.max() == 62


def test_probes_under_a_good_hash_follow_knuths_formula() -> None:
    """Inserting up to fill a costs (1 + 1 / (1 - a)) / 2 probes a key on average."""
    hashing = window_hash("multiplicative", 14, 2**40)
    keys = np.random.default_rng(1).choice(2**40, size=2**13, replace=False)
    probes, places = probe_lengths(keys, hashing)
    assert probes.mean() == pytest.approx((1 + 1 / (1 - 0.5)) / 2, rel=0.03)
    assert len(set(places.tolist())) == len(keys)
