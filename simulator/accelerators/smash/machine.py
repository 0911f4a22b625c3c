"""State of the block that `kernel` steps, and what its resources do: queue, pipelines, DRAM, banks.

Pending events are kept in a ring of cycles with one queue each, and one bit that says whether it
holds any. The state of the threads is one vector of integers, `FIELDS` for each; a thread is named
by the place where its own begin; at `NOBODY` is none. Shared state is another vector. The places
of both are named here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from simulator.accelerators.smash.bits import lowest_bit

# The loops allocate nothing, so arrays need no reference counts (`_nrt`); counting them, or passing
# this many arrays to functions that are not inlined, would take most of the time.
compiled: Any = njit(cache=True, _nrt=False)  # type: ignore[call-overload]
inlined: Any = njit(cache=True, _nrt=False, forceinline=True)  # type: ignore[call-overload]

# Places of a thread's state; `TIME` is that of its next event, and in the end of its last.
(
    TIME, OPERATION, LINK, SLOT, KEY, STEPS, AT, END, BASE, PIPE, ENTRY, ROW, LOADS, NEXT, LAST,
    ITEM,
) = range(16)  # fmt: skip
FIELDS = 16
NOBODY = 0

# Operations: what the event of a thread does.
TOKEN, LOAD, POINTER, PROBE, IDLE = range(5)

# What a thread goes on with after its loads.
AFTER_ITEM, AFTER_ENTRY, AFTER_PRODUCT = range(3)

# Places of `shared`: state that all threads see, and counts.
(
    NOW, DRAM_FREE, CURSOR, ITEM_END, FILL, STREAM_LEFT, STREAM_DONE, LIVE, PROBES, INSTRUCTIONS,
    DRAM_BYTES, BANK_WAIT, COLUMN_LOW, COLUMN_HIGH, FIRST_ROW, SPAN, FINISH,
) = range(17)  # fmt: skip
SHARED = 17


class Constants(NamedTuple):
    """What does not change while a window is hashed; compiled code keeps it in registers.

    Latencies, times and `atomic` are cycles (times of DRAM in parts of `DRAM_SCALE`), rates and
    `access` bytes, `per_...` instructions; `shift` and `mask` turn a hash into a slot.
    """

    latency: int
    pad_latency: int
    atomic: int
    dram_latency: int
    dram_rate: int
    access: int
    banks: int
    dynamic: int
    fragmented: int
    per_product: int
    per_probe: int
    per_entry: int
    per_claim: int
    access_time: int
    pointer_time: int
    shift: int
    mask: int


RING = 1 << 11
DRAM_SCALE = 64
"""Parts of a cycle in which DRAM time is counted."""

POINTER_BYTES = 8
"""A pair of 4-byte row pointers, or one native access."""

ITEM_BYTES = 16
"""Row, first and last entry of an item."""

AHEAD = 16
"""Slots between asking for a line of the table and using it."""

BEGIN_INSTRUCTIONS = 2
"""Of a thread before its first item or token. Assumed."""

ITEM_INSTRUCTIONS = 2
"""Of a thread for the number of its next item: comparison and branch. Counted."""

SEARCH_INSTRUCTIONS = 2
"""Of an access of the search in a row of B, of which a halving takes two: comparison and branch.
Counted."""

ACCUMULATE_INSTRUCTIONS = 1
"""Of a product that has found its slot: the atomic addition. Counted."""

DENSE_CLAIM_INSTRUCTIONS = 3
"""Of a claim of v3: counter of the dense arrays, store of the key, store of the offset. Counted; v1
and v2 take one, the counter of the row."""

PROBE_RUN = 32
"""Collisions in a row that are handled as one event."""

STREAM_BYTES = 64
"""What the engine moves at a time."""

ROW_PLACE = 32
"""Where an entry of the order of claims holds its row in the window, above its slot."""

PROBE_BINS = 64
"""Products that took this many probes or more share the last place of the histogram."""


@inlined
def push(
    threads: Any, heads: Any, tails: Any, pending: Any, thread: int, now: int, time: int
) -> None:
    """Queue a thread's next event; one beyond the ring waits at its end and is queued again."""
    threads[thread + TIME] = time
    bucket = min(time, now + RING - 1) & (RING - 1)
    threads[thread + LINK] = NOBODY
    first = np.int64(heads[bucket])
    heads[bucket] = thread if first == NOBODY else first
    threads[(NOBODY if first == NOBODY else np.int64(tails[bucket])) + LINK] = thread
    pending[bucket >> 6] |= np.uint64(1) << np.uint64(bucket & 63)
    tails[bucket] = thread


@inlined
def pop(threads: Any, heads: Any, pending: Any, now: int) -> Any:
    """Take the first event from cycle `now` on; returns its cycle and its thread."""
    word = pending[(now & (RING - 1)) >> 6] >> np.uint64(now & 63)
    while word == 0:
        now = (now | 63) + 1
        word = pending[(now & (RING - 1)) >> 6]
    now += lowest_bit(word)  # type: ignore[call-arg]
    bucket = now & (RING - 1)
    thread = np.int64(heads[bucket])
    following = threads[thread + LINK]
    heads[bucket] = following
    pending[bucket >> 6] ^= np.uint64(following == NOBODY) << np.uint64(bucket & 63)
    return now, thread


@inlined
def issue(
    threads: Any, pipes: Any, machine: Any, shared: Any, thread: int, now: int, ready: int,
    owed: int,
) -> Any:  # fmt: skip
    """Issue `owed` instructions of the thread; returns the cycle of its next operation.

    They take their latencies after `ready`, and slots of the pipeline that are counted from `now`:
    the thread goes on only when the pipeline has worked off all that was asked of it until now.
    """
    pipe = threads[thread + PIPE]
    shared[INSTRUCTIONS] += owed
    pipes[pipe] = max(pipes[pipe], now) + owed
    return max(ready + owed * machine.latency, pipes[pipe])


@inlined
def move_bytes(shared: Any, now: int, size: int, scaled_cycles: int) -> Any:
    """Queue an access of `size` bytes; returns the cycle in which its last byte has moved."""
    shared[DRAM_FREE] = max(shared[DRAM_FREE], now * DRAM_SCALE) + scaled_cycles
    shared[DRAM_BYTES] += size
    return (shared[DRAM_FREE] + DRAM_SCALE - 1) // DRAM_SCALE


@inlined
def wait_at_bank(machine: Any, shared: Any, banks: Any, now: int, slot: int, asked: int = 1) -> Any:
    """Queue an atomic operation at the bank of a slot; returns the cycles until its answer.

    Nothing is queued, and 0 returned, if `asked` is 0.
    """
    bank = slot & (machine.banks - 1)
    free = banks[bank]
    start = max(free, now)
    shared[BANK_WAIT] += asked * (start - now)
    banks[bank] = start + machine.atomic if asked else free
    return asked * (start - now + machine.atomic + machine.pad_latency)


@inlined
def wait_at_banks(machine: Any, shared: Any, banks: Any, now: int, slot: int, count: int) -> Any:
    """Queue atomic operations at `count` slots from `slot` on; returns the cycles of their answers.

    Operations at different banks do not wait for each other, so all rounds over the banks are
    added up bank after bank, and only what is left over goes from slot to slot.
    """
    if count == 1:
        return wait_at_bank(machine, shared, banks, now, slot)
    rounds = count // machine.banks
    left = count & (machine.banks - 1)
    waited = 0
    if rounds > 0:
        again = rounds * (rounds - 1) // 2 * machine.atomic
        held = rounds * machine.atomic
        for bank in range(len(banks)):
            start = max(banks[bank], now)
            waited += rounds * (start - now) + again
            banks[bank] = start + held
        shared[BANK_WAIT] += waited
    ready = waited + rounds * machine.banks * (machine.atomic + machine.pad_latency)
    for at in range(slot, slot + left):
        ready += wait_at_bank(machine, shared, banks, now, at)
    return ready


@inlined
def granules(at: int, first: bool, element_bytes: int, access_bytes: int) -> Any:
    """Return 1 if the element at index `at` begins an access that is not loaded yet, else 0."""
    return 1 if first or (at * element_bytes) & (access_bytes - 1) == 0 else 0


@inlined
def narrow(b_columns: Any, low: int, high: int, target: int) -> Any:
    """Return the first position in [low, high) whose column is at least `target`."""
    while low < high:
        middle = (low + high) // 2
        if b_columns[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low
