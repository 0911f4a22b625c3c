"""Step the threads of a block through a sparse product, one memory operation at a time.

Every thread has at most one operation in flight. An operation is an event at the cycle in which it
reaches its memory; events are handled in order of time, first come first served, so that the token
counter, DRAM and the banks at a probe are granted exactly as they are asked for. Further probes
after a collision, the claim and the accumulate queue together with the first probe: they take the
same bank time, but their wait is that of its moment. Between two operations a thread issues
instructions: they take `LATENCY` cycles each for the thread, and one slot each of the pipeline that
it shares. The values are accumulated in the same table, in the same order.

Pending events are kept in a ring of cycles with one queue each. The state of a thread is one row of
an integer matrix; its columns are named below.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dataflow.prefetch import prefetch

# Columns of `threads`.
(
    TIME,
    OPERATION,
    NEXT,
    LOADS,
    ENTRY,
    LAST,
    AT,
    END,
    BASE,
    SLOT,
    KEY,
    STEPS,
    BUSY,
    LINK,
    ROW,
    ITEM,
    PIPE,
    OWED,
) = range(18)
FIELDS = 24

# Operations: what the event of a thread does.
TOKEN, LOAD, POINTER, PROBE, IDLE = range(5)

# What a thread goes on with after its loads.
AFTER_ITEM, AFTER_ENTRY, AFTER_PRODUCT = range(3)

# Columns of `machine`.
(
    LATENCY, PAD_LATENCY, ATOMIC, DRAM_LATENCY, DRAM_RATE, ACCESS, BANKS, DYNAMIC, FRAGMENTED,
    PER_PRODUCT, PER_PROBE, PER_ENTRY, ACCESS_TIME, POINTER_TIME, SHIFT, MASK,
) = range(16)  # fmt: skip
MACHINE = 16

# Columns of `shared`: state that all threads see, and counts.
(
    NOW, DRAM_FREE, CURSOR, ITEM_END, FILL, STREAM_LEFT, STREAM_DONE, LIVE, PROBES, INSTRUCTIONS,
    DRAM_BYTES, BANK_WAIT, COLUMN_LOW, COLUMN_HIGH, FIRST_ROW, SPAN, PRODUCTS, FINISH,
) = range(18)  # fmt: skip
SHARED = 18

RING = 1 << 11
DRAM_SCALE = 64
"""Parts of a cycle in which DRAM time is counted."""

POINTER_BYTES = 8
"""A pair of 4-byte row pointers, or one native access."""

ITEM_BYTES = 16
"""Row, first and last entry of an item."""

AHEAD = 16
"""Slots between asking for a line of the table and using it."""

PROBE_RUN = 32
"""Collisions in a row that are handled as one event."""

STREAM_BYTES = 64
"""What the engine moves at a time."""

PROBE_BINS = 64
"""Products that took this many probes or more share the last place of the histogram."""


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _push(threads: Any, heads: Any, tails: Any, thread: int, now: int, time: int) -> None:
    """Queue a thread's next event; one beyond the ring waits at its end and is queued again."""
    threads[thread, TIME] = time
    bucket = min(time, now + RING - 1) & (RING - 1)
    threads[thread, LINK] = -1
    if heads[bucket] < 0:
        heads[bucket] = thread
    else:
        threads[tails[bucket], LINK] = thread
    tails[bucket] = thread


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _issue(
    threads: Any, pipes: Any, machine: Any, shared: Any, thread: int, now: int, ready: int
) -> Any:
    """Issue the instructions that the thread owes; returns the cycle of its next operation.

    They take their latencies after `ready`, and slots of the pipeline that are counted from `now`:
    the thread goes on only when the pipeline has worked off all that was asked of it until now.
    """
    owed = threads[thread, OWED]
    threads[thread, OWED] = 0
    pipe = threads[thread, PIPE]
    shared[INSTRUCTIONS] += owed
    pipes[pipe] = max(pipes[pipe], now) + owed
    return max(ready + owed * machine[LATENCY], pipes[pipe])


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _dram(shared: Any, now: int, size: int, scaled_cycles: int) -> Any:
    """Queue an access of `size` bytes; returns the cycle in which its last byte has moved."""
    shared[DRAM_FREE] = max(shared[DRAM_FREE], now * DRAM_SCALE) + scaled_cycles
    shared[DRAM_BYTES] += size
    return (shared[DRAM_FREE] + DRAM_SCALE - 1) // DRAM_SCALE


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _bank(machine: Any, shared: Any, banks: Any, now: int, slot: int) -> Any:
    """Queue an atomic operation at the bank of a slot; returns the cycles until its answer."""
    bank = slot & (machine[BANKS] - 1)
    start = max(banks[bank], now)
    shared[BANK_WAIT] += start - now
    banks[bank] = start + machine[ATOMIC]
    return start - now + machine[ATOMIC] + machine[PAD_LATENCY]


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _granules(at: int, first: bool, element_bytes: int, access_bytes: int) -> Any:
    """Return 1 if the element at index `at` begins an access that is not loaded yet, else 0."""
    return 1 if first or (at * element_bytes) & (access_bytes - 1) == 0 else 0


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _take_item(threads: Any, machine: Any, shared: Any, items: Any, thread: int) -> bool:
    """Give the thread its next item; False if there is none."""
    if machine[DYNAMIC]:
        item = shared[CURSOR]
        shared[CURSOR] += 1
    else:
        item = threads[thread, ITEM]
        threads[thread, ITEM] += len(threads) - 1
    if item >= shared[ITEM_END]:
        return False
    row = items[item, 0]
    threads[thread, ROW] = row
    threads[thread, ENTRY] = items[item, 1] - 1
    threads[thread, LAST] = items[item, 2]
    threads[thread, BASE] = (row - shared[FIRST_ROW]) * shared[SPAN] - shared[COLUMN_LOW]
    threads[thread, AT] = 0
    threads[thread, END] = 0
    threads[thread, STEPS] = 0
    return True


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _narrow(b_columns: Any, low: int, high: int, target: int) -> Any:
    """Return the first position in [low, high) whose column is at least `target`."""
    while low < high:
        middle = (low + high) // 2
        if b_columns[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _next_entry(threads: Any, machine: Any, thread: int) -> bool:
    """Move to the next entry of A and count the loads for it; False at the end of the item."""
    entry = threads[thread, ENTRY] + 1
    threads[thread, ENTRY] = entry
    if entry >= threads[thread, LAST]:
        return False
    access = machine[ACCESS]
    first = threads[thread, STEPS] == 0
    threads[thread, STEPS] = 1
    threads[thread, LOADS] = _granules(entry, first, 4, access) + _granules(entry, first, 8, access)
    return True


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _enter_row(
    threads: Any,
    shared: Any,
    a_columns: Any,
    b_starts: Any,
    b_columns: Any,
    width: int,
    thread: int,
) -> int:
    """Set the range of B for the thread's entry of A; returns the steps of a search, if any."""
    k = a_columns[threads[thread, ENTRY]]
    at, end = b_starts[k], b_starts[k + 1]
    steps = 0
    if shared[COLUMN_LOW] > 0 or shared[COLUMN_HIGH] < width:
        length = end - at
        while length > 0:
            steps += 2
            length //= 2
        at = _narrow(b_columns, at, end, shared[COLUMN_LOW])
        end = _narrow(b_columns, at, end, shared[COLUMN_HIGH])
    threads[thread, AT] = at
    threads[thread, END] = end
    threads[thread, KEY] = -1
    return steps


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _probe(
    threads: Any, machine: Any, shared: Any, banks: Any, tags: Any, order: Any, thread: int,
    now: int,
) -> Any:  # fmt: skip
    """Compare and swap at the thread's slot and, on a collision, at those that follow.

    A claim also counts the new entry: at the one counter of the dense arrays (v3), or at that of
    its row. Returns the cycle of the answer, and whether the slot was found: not after `PROBE_RUN`
    collisions, so that others get their turn.
    """
    slot = threads[thread, SLOT]
    tag = threads[thread, KEY] + 1
    ready = now
    for _ in range(PROBE_RUN):
        found = tags[2 * slot]
        ready += _bank(machine, shared, banks, now, slot)
        threads[thread, STEPS] += 1
        threads[thread, OWED] += machine[PER_PROBE]
        if found == tag or found == 0:
            break
        slot = (slot + 1) & machine[MASK]
    threads[thread, SLOT] = slot
    if found == 0:
        tags[2 * slot] = tag
        order[shared[FILL]] = slot
        shared[FILL] += 1
        counter = 0 if machine[FRAGMENTED] else threads[thread, ROW]
        ready += _bank(machine, shared, banks, now, counter)
        threads[thread, OWED] += 3 if machine[FRAGMENTED] else 1
    return ready, found == tag or found == 0


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _accumulate(
    threads: Any, machine: Any, shared: Any, banks: Any, totals: Any, histogram: Any,
    product: float, thread: int, now: int,
) -> Any:  # fmt: skip
    """Add the product to its slot and leave the element of B behind; returns its cycles."""
    slot = threads[thread, SLOT]
    steps = threads[thread, STEPS]
    totals[2 * slot + 1] += product
    histogram[min(steps, PROBE_BINS) - 1] += 1
    shared[PROBES] += steps
    shared[PRODUCTS] += 1
    threads[thread, AT] += 1
    threads[thread, OWED] += 1
    return _bank(machine, shared, banks, now, slot)


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _load(threads: Any, machine: Any, shared: Any, thread: int, now: int) -> Any:
    """Load one access of a stream or of an item; the last one decides what follows."""
    following = threads[thread, NEXT]
    if following == AFTER_ITEM:
        ready = _dram(shared, now, POINTER_BYTES, machine[POINTER_TIME])
    else:
        ready = _dram(shared, now, machine[ACCESS], machine[ACCESS_TIME])
    ready += machine[DRAM_LATENCY]
    threads[thread, LOADS] -= 1
    if threads[thread, LOADS] > 0 or following == AFTER_ITEM:
        return ready
    if following == AFTER_ENTRY:
        threads[thread, OPERATION] = POINTER
        return ready
    threads[thread, OPERATION] = PROBE
    threads[thread, OWED] += machine[PER_PRODUCT]
    return ready


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _pointer(
    threads: Any, machine: Any, shared: Any, a_columns: Any, b_starts: Any, b_columns: Any,
    width: int, thread: int, now: int,
) -> Any:  # fmt: skip
    """Load where the row of B begins and ends; a window of some columns searches inside it."""
    ready = _dram(shared, now, POINTER_BYTES, machine[POINTER_TIME]) + machine[DRAM_LATENCY]
    steps = _enter_row(threads, shared, a_columns, b_starts, b_columns, width, thread)
    for _ in range(steps):
        moved = _dram(shared, now, POINTER_BYTES, machine[POINTER_TIME])
        ready = max(ready, moved) + machine[DRAM_LATENCY]
    threads[thread, OWED] += machine[PER_ENTRY] + 2 * steps
    return ready


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _stream(machine: Any, shared: Any, now: int) -> Any:
    """Move the next bytes of the window before this one to DRAM; returns the cycle it is done."""
    moved = min(shared[STREAM_LEFT], STREAM_BYTES)
    done = _dram(shared, now, moved, moved * DRAM_SCALE // machine[DRAM_RATE])
    shared[STREAM_LEFT] -= moved
    shared[STREAM_DONE] = done
    return done


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _start_product(
    threads: Any, machine: Any, b_columns: Any, multiplier: Any, tags: Any, thread: int
) -> None:
    """Form the key of the thread's element of B; probe next if its operands are loaded."""
    at = threads[thread, AT]
    access = machine[ACCESS]
    begins = threads[thread, KEY] < 0
    loads = _granules(at, begins, 4, access) + _granules(at, begins, 8, access)
    key = threads[thread, BASE] + b_columns[at]
    product = np.uint64(key) * multiplier
    slot = np.int64(product >> np.uint64(machine[SHIFT])) & machine[MASK]
    prefetch(tags, 2 * slot)
    threads[thread, KEY] = key
    threads[thread, SLOT] = slot
    threads[thread, STEPS] = 0
    if loads > 0:
        threads[thread, OPERATION] = LOAD
        threads[thread, LOADS] = loads
        threads[thread, NEXT] = AFTER_PRODUCT
        return
    threads[thread, OPERATION] = PROBE
    threads[thread, OWED] += machine[PER_PRODUCT]


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _start_item(threads: Any, machine: Any, shared: Any, items: Any, thread: int) -> None:
    """Load the next item, whose number is known."""
    threads[thread, OWED] += 2
    if _take_item(threads, machine, shared, items, thread):
        threads[thread, OPERATION] = LOAD
        threads[thread, LOADS] = ITEM_BYTES // POINTER_BYTES
        threads[thread, NEXT] = AFTER_ITEM
    else:
        threads[thread, OPERATION] = IDLE


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _go_on(
    threads: Any, machine: Any, shared: Any, b_columns: Any, items: Any, multiplier: Any,
    tags: Any, thread: int,
) -> None:  # fmt: skip
    """Find what the thread does next: an element of B, an entry of A, or a new item."""
    if threads[thread, AT] < threads[thread, END]:
        _start_product(threads, machine, b_columns, multiplier, tags, thread)
        return
    if threads[thread, NEXT] == AFTER_ITEM:
        threads[thread, STEPS] = 0
    if _next_entry(threads, machine, thread):
        threads[thread, OPERATION] = LOAD if threads[thread, LOADS] > 0 else POINTER
        threads[thread, NEXT] = AFTER_ENTRY
    elif machine[DYNAMIC]:
        threads[thread, OPERATION] = TOKEN
    else:
        _start_item(threads, machine, shared, items, thread)


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _step(
    a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any, items: Any,
    threads: Any, banks: Any, machine: Any, shared: Any, multiplier: Any, tags: Any, totals: Any,
    order: Any, histogram: Any, width: int, thread: int, now: int,
) -> Any:  # fmt: skip
    """Do a thread's operation at cycle `now` and choose its next; returns the cycle of its answer.

    Instructions up to the next operation are left owed.
    """
    operation = threads[thread, OPERATION]
    if operation == PROBE:
        ready, found = _probe(threads, machine, shared, banks, tags, order, thread, now)
        if not found:
            return ready
        product = a_values[threads[thread, ENTRY]] * b_values[threads[thread, AT]]
        ready += _accumulate(
            threads, machine, shared, banks, totals, histogram, product, thread, now
        )
    elif operation == LOAD:
        ready = _load(threads, machine, shared, thread, now)
        if threads[thread, NEXT] != AFTER_ITEM or threads[thread, LOADS] > 0:
            return ready
    elif operation == POINTER:
        ready = _pointer(
            threads, machine, shared, a_columns, b_starts, b_columns, width, thread, now
        )
    else:
        ready = now + _bank(machine, shared, banks, now, machine[BANKS] - 1)
        _start_item(threads, machine, shared, items, thread)
        return ready
    _go_on(threads, machine, shared, b_columns, items, multiplier, tags, thread)
    return ready


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _schedule(
    threads: Any, heads: Any, tails: Any, pipes: Any, machine: Any, shared: Any, thread: int,
    now: int, ready: int,
) -> None:  # fmt: skip
    """Queue the thread's next operation, or note that it has ended."""
    time = _issue(threads, pipes, machine, shared, thread, now, ready)
    if threads[thread, OPERATION] != IDLE:
        _push(threads, heads, tails, thread, now, time)
        return
    threads[thread, BUSY] = time
    shared[LIVE] -= 1
    shared[FINISH] = max(shared[FINISH], time)


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def _begin(
    threads: Any, heads: Any, tails: Any, pipes: Any, machine: Any, shared: Any, items: Any
) -> None:
    """Queue the first event of every thread and of the engine that streams."""
    now = shared[NOW]
    count = len(threads) - 1
    heads[:] = -1
    shared[LIVE] = count
    shared[FINISH] = now
    shared[STREAM_DONE] = now
    first = shared[CURSOR]
    for thread in range(count):
        threads[thread, ITEM] = first + thread
        threads[thread, OPERATION] = TOKEN
        threads[thread, OWED] = 2
        if not machine[DYNAMIC]:
            _start_item(threads, machine, shared, items, thread)
        _schedule(threads, heads, tails, pipes, machine, shared, thread, now, now)
    if shared[STREAM_LEFT] > 0:
        _push(threads, heads, tails, count, now, now)


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def run_window(
    a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any, items: Any,
    threads: Any, heads: Any, tails: Any, pipes: Any, banks: Any, machine: Any, shared: Any,
    multiplier: Any, tags: Any, totals: Any, order: Any, histogram: Any, width: int,
) -> None:  # fmt: skip
    """Hash one window from cycle `shared[NOW]` on, and move it to the cycle in which it ends.

    That is when the last thread has ended and the window before this one is streamed out
    (`shared[STREAM_LEFT]` bytes, v3). `tags` (key + 1, 0 if empty) and `totals` are even and odd
    places of the same table, `order` receives the slots in the order in which they were claimed.
    The last row of `threads` is the engine that streams. `threads[:, BUSY]` are the cycles in which
    the threads ended.
    """
    _begin(threads, heads, tails, pipes, machine, shared, items)
    engine = len(threads) - 1
    now = shared[NOW]
    while shared[LIVE] > 0:
        bucket = now & (RING - 1)
        thread = heads[bucket]
        if thread < 0:
            now += 1
            continue
        heads[bucket] = threads[thread, LINK]
        if threads[thread, TIME] > now:
            _push(threads, heads, tails, thread, now, threads[thread, TIME])
        elif thread == engine:
            done = _stream(machine, shared, now)
            if shared[STREAM_LEFT] > 0:
                _push(threads, heads, tails, thread, now, done)
        else:
            ready = _step(
                a_columns, a_values, b_starts, b_columns, b_values, items, threads, banks,
                machine, shared, multiplier, tags, totals, order, histogram, width, thread, now,
            )  # fmt: skip
            _schedule(threads, heads, tails, pipes, machine, shared, thread, now, ready)
    while shared[STREAM_LEFT] > 0:
        _stream(machine, shared, shared[FINISH])
    shared[NOW] = max(shared[FINISH], shared[STREAM_DONE])


@njit(cache=True, _nrt=False)  # type: ignore[call-overload]
def collect_window(
    tags: Any, totals: Any, order: Any, fill: int, first_row: int, first_column: int, span: int,
    counts: Any, places: Any, columns: Any, values: Any, offset: int,
) -> None:  # fmt: skip
    """Move a window's entries to rows of the result from `offset` on, and empty the table.

    `counts` gets the entries of each row of the window; `places` is room for one more number.
    """
    counts[:] = 0
    for t in range(fill):
        if t + AHEAD < fill:
            prefetch(tags, 2 * order[t + AHEAD])
        counts[(tags[2 * order[t]] - 1) // span] += 1
    places[0] = offset
    for row in range(len(counts)):
        places[row + 1] = places[row] + counts[row]
    for t in range(fill):
        if t + AHEAD < fill:
            prefetch(tags, 2 * order[t + AHEAD])
        slot = order[t]
        key = tags[2 * slot] - 1
        row = key // span
        at = places[row]
        columns[at] = key - row * span + first_column
        values[at] = totals[2 * slot + 1]
        places[row] = at + 1
        tags[2 * slot] = 0
        totals[2 * slot + 1] = 0.0
