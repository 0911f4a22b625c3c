"""The lines of a transfer, and the order in which they are sent: that of a hash set.

Source: published NeuPIMs simulator. It collects the lines of a transfer in a robin-hood hash set
(Celis, 1986; Ankerl's robin_hood.h) and sends them in the order of the set's slots. A line's home
is the slot that its hash names, and lines lie in the order of their homes; those of one home in the
order of the five lowest bits of the hash, the larger first. The set doubles when four slots in five
are taken. A slot keeps eight bits for those five and for the distance from home: when a line comes
to lie too far from its home, the set drops one of the five, and orders what follows by the rest.
"""

from __future__ import annotations

import numpy as np

from simulator.dram import state
from simulator.dram.state import Ints, kernel

SENT_AT, FIRST, ELEMENTS, STORE, ANSWER_TO, ACCESSES, CAPACITY, COARSER = range(8)
STREAM_FIELDS = COARSER + 4
"""Columns of a stream of transfers: clock at which the core sends it, address of the element before
its first, number of elements, whether it is a store, what a read answers to; the accesses that its
lines became, those left out that one already waiting serves. The rest is filled by `collect`: slots
of its hash set, 0 before, and four counts of lines, after which the set dropped a bit of its order,
0 never. Row 0 holds the number of transfers sent so far, which follow from row 1 on."""

LINE_BITS = 6
"""Bits of an address within a line, which one access moves: 64 bytes."""

UNIT = 32
"""Distance 1 in a slot; below it are the five lowest bits of the hash."""


@kernel
def run_length(address: int, left: int, span: int) -> tuple[int, int]:
    """Return the address of the element after `address`, and how many of `left` follow in a row."""
    first = address + 2
    if first >= span:
        first = 0
    return first, min(left, (span - first + 1) // 2)


@kernel
def line_hash(s: Ints, line: int) -> int:
    """Return the hash of a line: of its address, where channel and column have changed places."""
    row = line >> (s[state.CHANNEL_BITS] + s[state.COLUMN_BITS])
    column = (line >> s[state.CHANNEL_BITS]) & ((1 << s[state.COLUMN_BITS]) - 1)
    channel = line & ((1 << s[state.CHANNEL_BITS]) - 1)
    h = np.uint64(
        ((row << s[state.CHANNEL_BITS] | channel) << s[state.COLUMN_BITS] | column) << LINE_BITS
    )
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return np.int64(h & np.uint64(0xFFFFFFFF))


@kernel
def collect(s: Ints, stream: Ints, index: int) -> None:
    """Insert the lines of transfer `index` into its set, and note how the set orders them.

    The set has its last size from the start: doubling inserts anew, so what came before does not
    show, but up to then no bit is dropped.
    """
    capacity = state.SET_LEAST
    while capacity * 8 // 10 < _touched(s, stream, index):
        capacity *= 2
    stream[index, CAPACITY] = capacity
    for slot in range(s[state.SET_AT], s[state.SET_AT] + capacity + state.SET_LARGEST):
        s[slot] = 0
    moved = capacity // 2 * 8 // 10 if capacity > state.SET_LEAST else 0
    count, unit, crowded = 0, UNIT, False
    left, address = stream[index, ELEMENTS], stream[index, FIRST]
    while left > 0:
        first, run = run_length(address, left, s[state.SPAN_BYTES])
        address = first + 2 * (run - 1)
        left -= run
        for line in range(first >> LINE_BITS, (address >> LINE_BITS) + 1):
            if crowded and count >= moved and unit > 2:
                unit >>= 1
                _drop_bit(s, stream, index, count)
                crowded = False
            crowded |= _insert(s, line_hash(s, line), capacity, unit)
            count += 1


@kernel
def share(s: Ints, number: int, low: int, high: int) -> int:
    """Return how many of the lines `low` to `high` lie in channel `number`."""
    channels = s[state.DEVICE_CHANNELS]
    return (high - number) // channels - (low - 1 - number) // channels


@kernel
def lines_of(s: Ints, number: int, stream: Ints, index: int) -> int:
    """Return the lines of transfer `index` in channel `number`."""
    left, address, count = stream[index, ELEMENTS], stream[index, FIRST], 0
    while left > 0:
        first, run = run_length(address, left, s[state.SPAN_BYTES])
        address = first + 2 * (run - 1)
        left -= run
        count += share(s, number, first >> LINE_BITS, address >> LINE_BITS)
    return count


@kernel
def _touched(s: Ints, stream: Ints, index: int) -> int:
    """Return the lines that a transfer touches."""
    left, address, count = stream[index, ELEMENTS], stream[index, FIRST], 0
    while left > 0:
        first, run = run_length(address, left, s[state.SPAN_BYTES])
        address = first + 2 * (run - 1)
        left -= run
        count += (address >> LINE_BITS) - (first >> LINE_BITS) + 1
    return count


@kernel
def _insert(s: Ints, h: int, capacity: int, unit: int) -> bool:
    """Insert a line by its hash; say whether a slot could not hold one more step from home."""
    slot = s[state.SET_AT] + (h // UNIT & (capacity - 1))
    info = unit + (h & (UNIT - 1)) * unit // UNIT
    while info <= s[slot] & state.SET_LARGEST:
        slot += 1
        info += unit
    word, crowded = h << 8 | info, False
    while word:
        crowded |= (word & state.SET_LARGEST) + unit > state.SET_LARGEST
        s[slot], word = word, s[slot]
        word += unit if word else 0
        slot += 1
    return crowded


@kernel
def _drop_bit(s: Ints, stream: Ints, index: int, count: int) -> None:
    """Order the lines that follow by one bit less."""
    for slot in range(
        s[state.SET_AT], s[state.SET_AT] + stream[index, CAPACITY] + state.SET_LARGEST
    ):
        s[slot] = s[slot] & ~state.SET_LARGEST | (s[slot] & state.SET_LARGEST) >> 1
    place = COARSER
    while stream[index, place]:
        place += 1
    stream[index, place] = count


@kernel
def expand(s: Ints, ch: int, side: int, stream: Ints, index: int) -> None:
    """List the lines of transfer `index` in this channel, in the order in which they are sent.

    A place is its home slot and the complement of its five bits, as the larger go first.
    """
    if stream[index, CAPACITY] == 0:
        collect(s, stream, index)
    channels = s[state.DEVICE_CHANNELS]
    left, address = stream[index, ELEMENTS], stream[index, FIRST]
    lines = ch + s[state.LINES_AT] + side * s[state.LINES_ROOM]
    count, before = 0, 0
    while left > 0:
        first, run = run_length(address, left, s[state.SPAN_BYTES])
        address = first + 2 * (run - 1)
        left -= run
        line = first >> LINE_BITS
        before -= line
        line += (s[ch + state.NUMBER] - line) & (channels - 1)
        while line <= address >> LINE_BITS:
            dropped = _dropped_bits(stream, index, before + line)
            place = line_hash(s, line) & (UNIT * stream[index, CAPACITY] - 1) ^ (UNIT - 1)
            at = lines + count
            while at > lines and s[at - 1] >> 32 + dropped > place >> dropped:
                s[at] = s[at - 1]
                at -= 1
            s[at] = place << 32 | line
            count += 1
            line += channels
        before += (address >> LINE_BITS) + 1
    s[ch + state.LINE_NEXT + side] = 0
    s[ch + state.LINE_COUNT + side] = count


@kernel
def _dropped_bits(stream: Ints, index: int, before: int) -> int:
    """Return by how many bits less the line after `before` others was ordered."""
    dropped = 0
    for place in range(COARSER, STREAM_FIELDS):
        dropped += 0 < stream[index, place] <= before
    return dropped
