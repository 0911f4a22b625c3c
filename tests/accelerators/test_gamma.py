"""Gamma: its merges and its clock against a slow, obvious twin, and what no order can beat."""

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.merge_fibers import merges
from dataflow.spgemm import count
from simulator.accelerators import gamma
from simulator.accelerators.gamma import kernel
from workloads.matrices import Csr, rmat, sparse_product, uniform

SKEWED = rmat(8, 8, rng=np.random.default_rng(8))


def naive_cycles(elements, fetch, store, parent, pes: int, ahead: int, begin: float) -> float:
    """The same rules with lists: what is asked for, what is ready, what runs."""
    children = [list(np.flatnonzero(parent == merge)) for merge in range(len(parent))]
    to_ask = [merge for merge in range(len(parent)) if not children[merge]]
    asked: list[int] = []
    ready: list[int] = []
    running: list[tuple[float, int, int]] = []
    idle = list(range(pes))
    fetched = dict.fromkeys(range(len(parent)), 0.0)
    done: set[int] = set()
    port, now = begin, 0.0

    def ask(merge: int) -> None:
        nonlocal port
        port = max(port, now) + fetch[merge]
        fetched[merge] = port

    while True:
        while True:
            while to_ask and len(asked) <= ahead:
                asked.append(to_ask.pop(0))
                ask(asked[-1])
            if not idle or not (ready or asked):
                break
            merge = ready.pop(0) if ready else asked.pop(0)
            heapq.heappush(
                running, (max(now + elements[merge], fetched[merge]), idle.pop(0), merge)
            )
        if not running:
            return max(port, now)
        now, pe, merge = heapq.heappop(running)
        idle = sorted([*idle, pe])
        done.add(merge)
        if store[merge]:
            port = max(port, now) + store[merge]
        above = parent[merge]
        if above >= 0 and set(children[above]) <= done:
            if fetch[above]:
                ask(above)
            ready.append(above)


def some_merges(seed: int, count_: int) -> tuple[np.ndarray, ...]:
    """Trees of merges with whole, often equal times: parents come after their children."""
    rng = np.random.default_rng(seed)
    later = [
        int(rng.integers(merge + 1, count_)) if merge + 1 < count_ and rng.random() < 0.5 else -1
        for merge in range(count_)
    ]
    elements, fetch, store = (rng.integers(0, 9, count_).astype(float) for _ in range(3))
    return elements, fetch, store, np.array(later, dtype=np.int64)


@pytest.mark.parametrize("run", [kernel.run_merges, kernel.run_merges.py_func])
@given(seed=st.integers(0, 10**6), size=st.integers(0, 40), pes=st.integers(1, 9))
def test_the_clock_is_that_of_a_naive_twin(run, seed: int, size: int, pes: int) -> None:
    elements, fetch, store, parent = some_merges(seed, size)
    ahead = 1 + seed % 5
    waits = np.bincount(parent[parent >= 0], minlength=size)
    ours = run(elements, fetch, store, parent, waits, pes, ahead, 3.0)
    assert ours == naive_cycles(elements, fetch, store, parent, pes, ahead, 3.0)


@given(seed=st.integers(0, 10**6), size=st.integers(0, 40), pes=st.integers(1, 9))
def test_no_order_beats_memory_or_merging_nor_is_worse_than_their_sum(seed, size, pes) -> None:
    elements, fetch, store, parent = some_merges(seed, size)
    waits = np.bincount(parent[parent >= 0], minlength=size)
    found = kernel.run_merges(elements, fetch, store, parent, waits, pes, 1, 0.0)
    moved = fetch.sum() + store.sum()
    assert max(moved, elements.sum() / pes) <= found <= moved + elements.sum()


@pytest.mark.parametrize("radix", [2, 3, 64])
def test_every_row_ends_in_one_merge_that_takes_in_all_of_it(radix: int) -> None:
    of = merges(SKEWED, SKEWED, radix=radix, cache_bytes=10**9, entry_bytes=12)
    work = count(SKEWED, SKEWED)
    assert sorted(of.row[of.row >= 0]) == np.flatnonzero(SKEWED.row_lengths).tolist()
    assert ((of.row >= 0) == (of.parent < 0)).all()
    assert of.entries.sum() == SKEWED.nnz
    assert of.elements[of.of_b].sum() == work.multiplies
    assert (of.parent[of.parent >= 0] > np.flatnonzero(of.parent >= 0)).all()
    assert of.entries.max() <= radix
    assert np.bincount(of.parent[of.parent >= 0]).max(initial=0) <= radix


def test_a_merge_reads_what_its_children_hold() -> None:
    """Ten entries at radix 4 of a diagonal: merges of 4, 4 and 2 rows, then one of the three."""
    left = Csr.from_coo((1, 10), [0] * 10, range(10), np.ones(10))
    of = merges(left, Csr.from_dense(np.eye(10)), radix=4, cache_bytes=0, entry_bytes=12)
    assert of.elements.tolist() == [4, 4, 2, 10]
    assert of.parent.tolist() == [3, 3, 3, -1]
    assert of.entries.tolist() == [4, 4, 2, 0]
    assert of.fetched_bytes.tolist() == [48, 48, 24, 120]
    assert of.spilled_bytes.tolist() == [48, 48, 24, 0]


def time_of(matrix: Csr, **settings) -> int:
    config = gamma.Config(**settings)
    return gamma.simulate(config, gamma.schedule(config, sparse_product(matrix))).cycles


def test_memory_alone_counts_with_many_pes_and_merging_alone_with_fast_memory() -> None:
    rows = uniform(2048, 2048, 8, rng=np.random.default_rng(1))
    config = gamma.Config()
    report = gamma.simulate(config, gamma.schedule(config, sparse_product(rows)))
    moving = report.dram_bytes / 128
    assert time_of(rows, pes=1024, merges_ahead=1024) == pytest.approx(moving, rel=0.02)
    products = count(rows, rows).multiplies
    assert time_of(rows, dram_bytes_per_s=1e15) == pytest.approx(products / 32, rel=0.02)
