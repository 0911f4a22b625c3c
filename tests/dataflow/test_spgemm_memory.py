"""Results own their memory while any view of them lives, and dead ones' is bounded and reused."""

import copy
import gc
import mmap
import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from dataflow.spgemm import memory, multiply, release_memory
from dataflow.spgemm.memory import HUGE_PAGE_BYTES, KEPT_BLOCKS, Room
from workloads.matrices import Csr, uniform

LARGE = 4 * HUGE_PAGE_BYTES // 8
STATM = Path("/proc/self/statm")
pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="memory is kept on Linux only"
)


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    release_memory()
    yield
    release_memory()


def result(value: float, length: int = LARGE, first: int = 0) -> np.ndarray:
    room = Room(first + length, np.dtype(np.float64))
    room.array[first:] = value
    return room.taken(first, length)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def kept_bytes() -> int:
    return sum(block.last - block.first for block in memory._kept)


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def matrix() -> Csr:
    return uniform(2048, 2048, 40, rng=np.random.default_rng(3))


def test_a_dead_result_lends_its_memory_to_the_next() -> None:
    first = result(1.0)
    place = address(first)
    del first
    assert address(result(2.0)) == place


def test_a_slice_and_a_view_keep_the_memory() -> None:
    first = result(1.0)
    rest, bits = first[5:7], first[:3].view(np.uint64)
    place = address(first)
    del first
    second = result(2.0)
    assert address(second) != place
    assert rest.tolist() == [1.0, 1.0]
    assert bits.view(np.float64).tolist() == [1.0] * 3
    del rest
    assert address(result(3.0)) != place
    del bits
    assert place in {address(result(4.0)) for _ in range(2)}


def test_results_that_live_do_not_overlap_whatever_died_between_them() -> None:
    rng = np.random.default_rng(5)
    live: list[tuple[float, np.ndarray]] = []
    for step in range(60):
        live.append((float(step), result(step, LARGE + int(rng.integers(LARGE)))))
        while len(live) > 3 or (live and rng.random() < 0.3):
            live.pop(int(rng.integers(len(live))))
        assert all((array == value).all() for value, array in live)


def test_products_held_while_others_are_made_stay_what_they_are() -> None:
    square = matrix()
    one = multiply(square, square)
    values, indices = one.values.copy(), one.indices.copy()
    for threads in (2, 1, 3):
        other = multiply(square, square.astype(np.float32), threads=threads)
        other.values[:] = 0
    assert np.array_equal(one.values, values)
    assert np.array_equal(one.indices, indices)


def test_a_result_is_written_copied_and_pickled_like_any_array() -> None:
    array = result(1.0)
    assert array.flags.writeable
    assert array.flags.c_contiguous
    array[0] = 7.0
    for other in (pickle.loads(pickle.dumps(array)), copy.deepcopy(array), array.copy()):
        assert np.array_equal(other, array)
        assert not np.shares_memory(other, array)


def test_what_is_kept_is_bounded_in_blocks_and_in_bytes(monkeypatch) -> None:
    many = [result(1.0) for _ in range(KEPT_BLOCKS + 3)]
    del many
    assert len(memory._kept) == KEPT_BLOCKS
    monkeypatch.setattr(memory, "KEPT_BYTES", 8 * LARGE * 5 // 2)
    again = [result(1.0) for _ in range(KEPT_BLOCKS)]
    del again
    assert len(memory._kept) == 2
    assert kept_bytes() == 2 * 8 * LARGE
    release_memory()
    assert not memory._kept


def test_a_block_too_large_or_too_small_is_not_lent() -> None:
    del_me = result(1.0)
    place = address(del_me)
    del del_me
    assert address(result(1.0, LARGE // 3)) != place
    assert address(result(1.0, LARGE + 1)) != place


def test_pages_of_an_earlier_result_go_back_if_the_next_needs_few() -> None:
    length = 16 * LARGE
    kept = result(1.0, length)
    del kept
    before = resident_bytes()
    room = Room(length, np.dtype(np.float64))
    room.array[length // 2 : length // 2 + LARGE] = 3.0
    small = room.taken(length // 2, LARGE)
    del room
    assert (small == 3.0).all()
    assert before - resident_bytes() > 8 * (length - 2 * LARGE)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_holds_at_most_twice_its_memory(threads) -> None:
    """Its rows overlap, so that the room for their bound is larger than the result."""
    square = matrix()
    small = uniform(64, 64, 4, rng=np.random.default_rng(3))
    multiply(small, small, threads=threads)
    before = resident_bytes()
    product = multiply(square, square, threads=threads)
    held = resident_bytes() - before
    own = product.indices.nbytes + product.values.nbytes
    assert own > 8 * HUGE_PAGE_BYTES
    assert held < 2 * own


def test_a_refused_allocation_is_tried_again_without_what_is_kept(monkeypatch) -> None:
    kept = result(1.0)
    del kept
    real = mmap.mmap

    def refuse_while_kept(*args, **options):
        if memory._kept:
            raise OSError("Cannot allocate memory")
        return real(*args, **options)

    monkeypatch.setattr(memory.mmap, "mmap", refuse_while_kept)
    assert (result(2.0, 3 * LARGE) == 2.0).all()

    def refuse(*args, **options):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="no memory for a result of"):
        result(2.0, 9 * LARGE)


def test_a_taken_lock_delays_nobody() -> None:
    """As in a finalizer that runs within the locked part, or in a child forked in its midst."""
    held = result(1.0)
    with memory._lock:
        other = result(2.0)
        del held
        assert not memory._kept
    assert (other == 2.0).all()


def test_a_block_that_is_released_while_it_is_chosen_is_not_lent(monkeypatch) -> None:
    """As by another thread: `release_memory` waits for no lock."""
    kept = result(1.0)
    del kept

    def chosen(*several, **options):
        found = min(*several, **options)
        release_memory()
        return found

    monkeypatch.setattr(memory, "min", chosen, raising=False)
    assert (result(2.0) == 2.0).all()


def test_threads_that_make_and_drop_results_never_share_them() -> None:
    wrong: list[float] = []

    def work(own: float) -> None:
        for _ in range(40):
            array = result(own, HUGE_PAGE_BYTES // 8)
            if not (array == own).all():
                wrong.append(own)

    threads = [threading.Thread(target=work, args=(float(own),)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(memory._kept) <= KEPT_BLOCKS


def _square_in_child(queue) -> None:
    square = matrix()
    queue.put(float(np.abs(multiply(square, square, threads=2).values).sum()))


def test_a_forked_child_multiplies_by_its_own_memory() -> None:
    square = matrix()
    product = multiply(square, square, threads=2)
    values = product.values.copy()
    del product
    again = multiply(square, square, threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_square_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == np.abs(values).sum()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert np.array_equal(again.values, values)
