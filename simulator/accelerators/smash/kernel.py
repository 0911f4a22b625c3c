"""Step the threads of a block through a sparse product, one memory operation at a time.

Every thread has at most one operation in flight. An operation is an event at the cycle in which it
reaches its memory; events are handled in order of time, first come first served, so that the token
counter, DRAM and the banks at a probe are granted exactly as they are asked for. Further probes
after a collision, the claim and the accumulate queue together with the first probe: they take the
same bank time, but their wait is that of its moment. Between two operations a thread issues
instructions: they take `latency` cycles each for the thread, and one slot each of the pipeline that
it shares. The values are accumulated in the same table, in the same order.

`machine` holds the state and what the resources do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dataflow.prefetch import prefetch
from simulator.accelerators.smash.machine import (
    AFTER_ENTRY,
    AFTER_ITEM,
    AFTER_PRODUCT,
    AT,
    BASE,
    BEGIN_INSTRUCTIONS,
    COLUMN_HIGH,
    COLUMN_LOW,
    CURSOR,
    DRAM_SCALE,
    END,
    ENTRY,
    FIELDS,
    FINISH,
    FIRST_ROW,
    IDLE,
    ITEM,
    ITEM_BYTES,
    ITEM_END,
    ITEM_INSTRUCTIONS,
    KEY,
    LAST,
    LIVE,
    LOAD,
    LOADS,
    NEXT,
    NOBODY,
    NOW,
    OPERATION,
    POINTER,
    POINTER_BYTES,
    PROBE,
    ROW,
    SEARCH_INSTRUCTIONS,
    SLOT,
    SPAN,
    STEPS,
    STREAM_BYTES,
    STREAM_DONE,
    STREAM_LEFT,
    TIME,
    TOKEN,
    compiled,
    granules,
    inlined,
    issue,
    move_bytes,
    narrow,
    pop,
    push,
    wait_at_bank,
)
from simulator.accelerators.smash.table import accumulate, probe


@inlined
def _take_item(threads: Any, machine: Any, shared: Any, items: Any, thread: int) -> bool:
    """Give the thread its next item; False if there is none."""
    if machine.dynamic:
        item = shared[CURSOR]
        shared[CURSOR] += 1
    else:
        item = threads[thread + ITEM]
        threads[thread + ITEM] += len(threads) // FIELDS - 2
    if item >= shared[ITEM_END]:
        return False
    row = items[item, 0]
    threads[thread + ROW] = row
    threads[thread + ENTRY] = items[item, 1] - 1
    threads[thread + LAST] = items[item, 2]
    threads[thread + BASE] = (row - shared[FIRST_ROW]) * shared[SPAN] - shared[COLUMN_LOW]
    threads[thread + AT] = 0
    threads[thread + END] = 0
    threads[thread + STEPS] = 0
    return True


@inlined
def _next_entry(threads: Any, machine: Any, thread: int) -> bool:
    """Move to the next entry of A and count the loads for it; False at the end of the item."""
    entry = threads[thread + ENTRY] + 1
    threads[thread + ENTRY] = entry
    if entry >= threads[thread + LAST]:
        return False
    access = machine.access
    first = threads[thread + STEPS] == 0
    threads[thread + STEPS] = 1
    threads[thread + LOADS] = granules(entry, first, 4, access) + granules(entry, first, 8, access)
    return True


@inlined
def _enter_row(
    threads: Any,
    shared: Any,
    a_columns: Any,
    b_starts: Any,
    b_columns: Any,
    width: int,
    thread: int,
) -> int:
    """Set the range of B for the thread's entry of A; returns the accesses of a search, if any."""
    k = a_columns[threads[thread + ENTRY]]
    at, end = b_starts[k], b_starts[k + 1]
    steps = 0
    if shared[COLUMN_LOW] > 0 or shared[COLUMN_HIGH] < width:
        length = end - at
        while length > 0:
            steps += 2
            length //= 2
        at = narrow(b_columns, at, end, shared[COLUMN_LOW])
        end = narrow(b_columns, at, end, shared[COLUMN_HIGH])
    threads[thread + AT] = at
    threads[thread + END] = end
    threads[thread + KEY] = -1
    return steps


@inlined
def _load(threads: Any, machine: Any, shared: Any, thread: int, now: int) -> Any:
    """Load one access of a stream or of an item; the last one decides what follows.

    Returns the cycle of the answer and the instructions that are owed after it.
    """
    following = threads[thread + NEXT]
    if following == AFTER_ITEM:
        ready = move_bytes(shared, now, POINTER_BYTES, machine.pointer_time)
    else:
        ready = move_bytes(shared, now, machine.access, machine.access_time)
    ready += machine.dram_latency
    threads[thread + LOADS] -= 1
    if threads[thread + LOADS] > 0 or following == AFTER_ITEM:
        return ready, 0
    if following == AFTER_ENTRY:
        threads[thread + OPERATION] = POINTER
        return ready, 0
    threads[thread + OPERATION] = PROBE
    return ready, machine.per_product


@inlined
def _pointer(
    threads: Any, machine: Any, shared: Any, a_columns: Any, b_starts: Any, b_columns: Any,
    width: int, thread: int, now: int,
) -> Any:  # fmt: skip
    """Load where the row of B begins and ends; a window of some columns searches inside it."""
    ready = move_bytes(shared, now, POINTER_BYTES, machine.pointer_time) + machine.dram_latency
    steps = _enter_row(threads, shared, a_columns, b_starts, b_columns, width, thread)
    for _ in range(steps):
        moved = move_bytes(shared, now, POINTER_BYTES, machine.pointer_time)
        ready = max(ready, moved) + machine.dram_latency
    return ready, machine.per_entry + steps * SEARCH_INSTRUCTIONS


@inlined
def _stream(machine: Any, shared: Any, now: int) -> Any:
    """Move the next bytes of the window before this one to DRAM; returns the cycle it is done."""
    moved = min(shared[STREAM_LEFT], STREAM_BYTES)
    done = move_bytes(shared, now, moved, moved * DRAM_SCALE // machine.dram_rate)
    shared[STREAM_LEFT] -= moved
    shared[STREAM_DONE] = done
    return done


@inlined
def _start_product(
    threads: Any, machine: Any, b_columns: Any, b_values: Any, multiplier: Any, tags: Any,
    thread: int,
) -> Any:  # fmt: skip
    """Form the key of the thread's element of B; probe next if its operands are loaded.

    Returns the instructions that are owed.
    """
    at = threads[thread + AT]
    access = machine.access
    begins = threads[thread + KEY] < 0
    loads = granules(at, begins, 4, access) + granules(at, begins, 8, access)
    key = threads[thread + BASE] + b_columns[at]
    product = np.uint64(key) * multiplier
    slot = np.int64(product >> np.uint64(machine.shift)) & machine.mask
    prefetch(tags, 2 * slot)
    prefetch(b_columns, at + 2)
    prefetch(b_values, at + 2)
    threads[thread + KEY] = key
    threads[thread + SLOT] = slot
    threads[thread + STEPS] = 0
    threads[thread + LOADS] = loads
    threads[thread + NEXT] = AFTER_PRODUCT
    threads[thread + OPERATION] = LOAD if loads > 0 else PROBE
    return 0 if loads > 0 else machine.per_product


@inlined
def _start_item(threads: Any, machine: Any, shared: Any, items: Any, thread: int) -> int:
    """Load the next item, whose number is known; returns the instructions that are owed."""
    if _take_item(threads, machine, shared, items, thread):
        threads[thread + OPERATION] = LOAD
        threads[thread + LOADS] = ITEM_BYTES // POINTER_BYTES
        threads[thread + NEXT] = AFTER_ITEM
    else:
        threads[thread + OPERATION] = IDLE
    return ITEM_INSTRUCTIONS


@inlined
def _go_on(
    threads: Any, machine: Any, shared: Any, b_columns: Any, b_values: Any, items: Any,
    multiplier: Any, tags: Any, thread: int,
) -> Any:  # fmt: skip
    """Find what the thread does next: an element of B, an entry of A, or a new item.

    Returns the instructions that are owed.
    """
    if threads[thread + AT] < threads[thread + END]:
        return _start_product(threads, machine, b_columns, b_values, multiplier, tags, thread)
    if threads[thread + NEXT] == AFTER_ITEM:
        threads[thread + STEPS] = 0
    if _next_entry(threads, machine, thread):
        threads[thread + OPERATION] = LOAD if threads[thread + LOADS] > 0 else POINTER
        threads[thread + NEXT] = AFTER_ENTRY
        return 0
    if machine.dynamic:
        threads[thread + OPERATION] = TOKEN
        return 0
    return _start_item(threads, machine, shared, items, thread)


@inlined
def _step(
    a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any, items: Any,
    threads: Any, banks: Any, machine: Any, shared: Any, multiplier: Any, tags: Any, totals: Any,
    order: Any, histogram: Any, width: int, thread: int, now: int,
) -> Any:  # fmt: skip
    """Do a thread's operation at cycle `now` and choose its next.

    Returns the cycle of its answer and the instructions that are owed up to the next operation.
    """
    operation = threads[thread + OPERATION]
    if operation == PROBE:
        product = a_values[threads[thread + ENTRY]] * b_values[threads[thread + AT]]
        ready, owed, found = probe(threads, machine, shared, banks, tags, order, thread, now)
        if not found:
            return ready, owed
        ready += accumulate(
            threads, machine, shared, banks, totals, histogram, product, thread, now
        )
    elif operation == LOAD:
        ready, owed = _load(threads, machine, shared, thread, now)
        if threads[thread + NEXT] != AFTER_ITEM or threads[thread + LOADS] > 0:
            return ready, owed
    elif operation == POINTER:
        ready, owed = _pointer(
            threads, machine, shared, a_columns, b_starts, b_columns, width, thread, now
        )
    else:
        ready = now + wait_at_bank(machine, shared, banks, now, machine.banks - 1)
        return ready, _start_item(threads, machine, shared, items, thread)
    owed += _go_on(threads, machine, shared, b_columns, b_values, items, multiplier, tags, thread)
    return ready, owed


@inlined
def _schedule(
    threads: Any, heads: Any, tails: Any, pending: Any, pipes: Any, machine: Any, shared: Any,
    thread: int, now: int, ready: int, owed: int,
) -> None:  # fmt: skip
    """Queue the thread's next operation, or note that it has ended."""
    time = issue(threads, pipes, machine, shared, thread, now, ready, owed)
    if threads[thread + OPERATION] != IDLE:
        push(threads, heads, tails, pending, thread, now, time)
        return
    threads[thread + TIME] = time
    shared[LIVE] -= 1
    shared[FINISH] = max(shared[FINISH], time)


@inlined
def _begin(
    threads: Any, heads: Any, tails: Any, pending: Any, pipes: Any, machine: Any, shared: Any,
    items: Any,
) -> None:  # fmt: skip
    """Queue the first event of every thread and of the engine that streams."""
    now = shared[NOW]
    count = len(threads) // FIELDS - 2
    heads[:] = NOBODY
    pending[:] = 0
    shared[LIVE] = count
    shared[FINISH] = now
    shared[STREAM_DONE] = now
    first = shared[CURSOR]
    for number in range(count):
        thread = FIELDS * (number + 1)
        threads[thread + ITEM] = first + number
        threads[thread + OPERATION] = TOKEN
        owed = BEGIN_INSTRUCTIONS
        if not machine.dynamic:
            owed += _start_item(threads, machine, shared, items, thread)
        _schedule(threads, heads, tails, pending, pipes, machine, shared, thread, now, now, owed)
    if shared[STREAM_LEFT] > 0:
        push(threads, heads, tails, pending, len(threads) - FIELDS, now, now)


@compiled
def run_window(
    a_columns: Any, a_values: Any, b_starts: Any, b_columns: Any, b_values: Any, items: Any,
    threads: Any, heads: Any, tails: Any, pending: Any, pipes: Any, banks: Any, machine: Any,
    shared: Any, multiplier: Any, tags: Any, totals: Any, order: Any, histogram: Any, width: int,
) -> None:  # fmt: skip
    """Hash one window from cycle `shared[NOW]` on, and move it to the cycle in which it ends.

    That is when the last thread has ended and the window before this one is streamed out
    (`shared[STREAM_LEFT]` bytes, v3). `tags` (key + 1, 0 if empty) and `totals` are even and odd
    places of the same table, `order` receives the slots as they are claimed, each with its row
    of the window from bit `ROW_PLACE` on.
    Before the threads is room for nobody, behind them stands the engine that streams.
    """
    assert machine.mask >= 0  # as compiled code must know: no slot counts from the end,
    assert machine.banks > 0  # and no bank
    _begin(threads, heads, tails, pending, pipes, machine, shared, items)
    engine = len(threads) - FIELDS
    now = shared[NOW]
    while shared[LIVE] > 0:
        now, thread = pop(threads, heads, pending, now)
        if threads[thread + TIME] > now:
            push(threads, heads, tails, pending, thread, now, threads[thread + TIME])
        elif thread == engine:
            done = _stream(machine, shared, now)
            if shared[STREAM_LEFT] > 0:
                push(threads, heads, tails, pending, thread, now, done)
        else:
            ready, owed = _step(
                a_columns, a_values, b_starts, b_columns, b_values, items, threads, banks,
                machine, shared, multiplier, tags, totals, order, histogram, width, thread, now,
            )  # fmt: skip
            _schedule(
                threads, heads, tails, pending, pipes, machine, shared, thread, now, ready, owed
            )
    while shared[STREAM_LEFT] > 0:
        _stream(machine, shared, shared[FINISH])
    shared[NOW] = max(shared[FINISH], shared[STREAM_DONE])
