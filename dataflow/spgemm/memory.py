"""Room for large results, kept when they die: fresh pages cost more than the sums written to them.

First touch of memory costs a fault and the clearing of a page, and on a virtual machine also a
trip to the host if the page was free for some seconds. As the fast memory manager of MKL and the
caching allocator of PyTorch do, blocks of dead results are kept, here at most `KEPT_BLOCKS` of them
and `KEPT_BYTES`; `release_memory` gives them back. Results never share memory while they live.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.rounding import ceil_div

HUGE_PAGE_BYTES = 1 << 21
"""Of x86-64 and of most AArch64 systems; elsewhere nothing is gained or lost."""

KEPT_BLOCKS, KEPT_BYTES = 4, 1 << 30
"""Two products have four arrays."""

_kept: list[_Block] = []
_lock = threading.Lock()
"""Never waited for: whoever finds it taken goes without, so that a finalizer that runs within the
locked part, or a child forked in the midst of it, cannot wait for ever. `release_memory` does not
ask for it: the locked parts bear that blocks vanish."""


def release_memory() -> None:
    """Give the memory of results that died back to the system."""
    _kept.clear()


class Room:
    """Room for `length` elements of a result of which the first and the last may not be needed.

    `array` is to be written to; `taken` returns what the caller keeps. Only written pages cost.
    """

    def __init__(self, length: int, dtype: np.dtype[Any]) -> None:
        size = length * dtype.itemsize
        self._block: _Block | None = None
        if size < HUGE_PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
            self.array: NDArray[Any] = np.empty(length, dtype=dtype)
            return
        self._block = _kept_block(size) or _new_block(size)
        self.array = np.frombuffer(self._block.memory, dtype, length, self._block.start)

    def taken(self, first: int, length: int) -> NDArray[Any]:
        """Return elements from `first` on as an array of its own; `array` is void then."""
        if self._block is None:
            return self.array[first : first + length].copy()
        size = self.array.itemsize
        self._block.trim(first * size, (first + length) * size)
        lease = _Lease(self.array[first : first + length])
        weakref.finalize(lease, _give_back, self._block).atexit = False
        return np.asarray(lease)


class _Lease:
    """The base of an array and of all views of it: dies when the last of them does."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.__array_interface__ = array.__array_interface__


@dataclass(slots=True, eq=False)
class _Block:
    """`size` bytes of `memory` from `start`, those between `first` and `last` written once."""

    memory: mmap.mmap
    start: int
    size: int
    first: int = 0
    last: int = 0

    def trim(self, first: int, last: int) -> None:
        """Note what is written now; drop pages around it if they are more than it needs."""
        low, high = (min(self.first, first), max(self.last, last)) if self.last else (first, last)
        if high - low > 2 * (last - first) + HUGE_PAGE_BYTES:
            low, high = first // HUGE_PAGE_BYTES, ceil_div(last, HUGE_PAGE_BYTES)
            low, high = low * HUGE_PAGE_BYTES, min(high * HUGE_PAGE_BYTES, self.size)
            self._drop(0, low)
            self._drop(high, self.size)
        self.first, self.last = low, high

    def _drop(self, first: int, last: int) -> None:
        if first < last:
            self.memory.madvise(mmap.MADV_DONTNEED, self.start + first, last - first)


def _new_block(size: int) -> _Block:
    size = ceil_div(size, HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    try:
        memory = _mapped(size + HUGE_PAGE_BYTES)
    except OSError:
        release_memory()
        try:
            memory = _mapped(size + HUGE_PAGE_BYTES)
        except OSError as error:
            raise MemoryError(f"no memory for a result of up to {size} bytes") from error
    memory.madvise(mmap.MADV_HUGEPAGE)
    return _Block(memory, -np.frombuffer(memory, np.uint8).ctypes.data % HUGE_PAGE_BYTES, size)


def _mapped(size: int) -> mmap.mmap:
    """Return private memory of which only written pages count."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return mmap.mmap(-1, size, flags=flags)


def _kept_block(size: int) -> _Block | None:
    """Return the smallest kept block of at least `size` and at most about twice as many bytes."""
    if not _lock.acquire(blocking=False):
        return None
    try:
        fits = [block for block in _kept if size <= block.size <= 2 * size + HUGE_PAGE_BYTES]
        found = min(fits, key=lambda block: block.size, default=None)
        if found:
            _kept.remove(found)
        return found
    except ValueError:  # `release_memory` of another thread was quicker
        return None
    finally:
        _lock.release()


def _give_back(block: _Block) -> None:
    if not _lock.acquire(blocking=False):
        return
    try:
        _kept.append(block)
        while len(_kept) > KEPT_BLOCKS or sum(b.last - b.first for b in _kept) > KEPT_BYTES:
            del _kept[:1]
    finally:
        _lock.release()
