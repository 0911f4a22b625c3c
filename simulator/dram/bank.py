"""Timing state of the banks of a channel: when a command may issue, and what issuing it does.

`s` is the state array, `ch` the offset of the channel's record, see `simulator.dram.state`.
"""

from __future__ import annotations

from dataflow import dram_timing as dt
from simulator.dram import state
from simulator.dram.state import Ints, kernel

ROW_HITS_BEFORE_CONFLICT = 4
"""Accesses after which a conflicting row may close one that still has requests."""


@kernel
def earliest(s: Ints, ch: int, bank: int, command: int) -> int:
    """Return the first clock at which the timing constraints allow `command` in `bank`."""
    clock = s[ch + state.READY_BANK + bank * dt.COMMAND_COUNT + command]
    other = s[ch + s[state.GROUP_READY + bank] + command]
    if other > clock:
        clock = other
    other = s[ch + s[state.RANK_READY + bank] + command]
    if other > clock:
        clock = other
    if command == dt.ACT:
        clock = max(clock, s[ch + state.ACTIVATIONS + 4 * s[state.RANK_OF + bank]] + s[state.FAW])
    return clock


@kernel
def note(s: Ints, ch: int, bank: int, command: int, clock: int) -> None:
    """Record that `command` issued in `bank`: what may follow it, and when."""
    rank = s[state.RANK_OF + bank]
    for at in range(s[state.DELAY_FROM + command], s[state.DELAY_FROM + command + 1], 3):
        scope, second, ready = s[at], s[at + 1], clock + s[at + 2]
        if scope == dt.BANK:
            place = ch + state.READY_BANK + bank * dt.COMMAND_COUNT + second
        elif scope == dt.GROUP:
            place = ch + s[state.GROUP_READY + bank] + second
        elif scope == dt.RANK:
            place = ch + s[state.RANK_READY + bank] + second
        else:
            for other in range(s[state.RANKS]):
                place = ch + state.READY_RANK + other * dt.COMMAND_COUNT + second
                if other != rank and ready > s[place]:
                    s[place] = ready
            continue
        if ready > s[place]:
            s[place] = ready
    if command == dt.ACT:
        last = ch + state.ACTIVATIONS + 4 * rank
        for i in range(3):
            s[last + i] = s[last + i + 1]
        s[last + 3] = clock
    s[ch + state.COUNTS + command] += 1
    s[ch + state.CHANGED] = 1


@kernel
def count_open(s: Ints, ch: int, bank: int, buffer: int, change: int, clock: int) -> None:
    """Account for banks that opened or closed: a rank is active while any of its banks is open."""
    at = ch + state.OPEN_BANKS + buffer * state.MAX_RANKS + s[state.RANK_OF + bank]
    since = at - state.OPEN_BANKS + state.ACTIVE_SINCE
    if s[at] == 0:
        s[since] = clock
    s[at] += change
    if s[at] == 0:
        s[at - state.OPEN_BANKS + state.ACTIVE_CLOCKS] += clock - s[since]


@kernel
def close_row(s: Ints, ch: int, bank: int, clock: int) -> None:
    """Issue PRE."""
    note(s, ch, bank, dt.PRE, clock)
    count_open(s, ch, bank, 0, -1, clock)
    b = ch + state.BANK + bank * state.BANK_FIELDS
    s[b + state.OPEN_ROW] = -1
    s[b + state.HITS] = 0
    s[b + state.HITS_QUEUED] = 0
    classify(s, ch, bank)


@kernel
def close_pim_row(s: Ints, ch: int, bank: int, clock: int) -> None:
    """Issue PPRE."""
    note(s, ch, bank, dt.PPRE, clock)
    count_open(s, ch, bank, 1, -1, clock)
    s[ch + state.BANK + bank * state.BANK_FIELDS + state.PIM_ROW] = -1
    s[ch + state.PIM_OPEN] &= ~(1 << bank)


@kernel
def open_row(s: Ints, ch: int, bank: int, row: int, clock: int) -> None:
    """Issue ACT, and count the queued accesses that the row serves."""
    note(s, ch, bank, dt.ACT, clock)
    count_open(s, ch, bank, 0, 1, clock)
    b = ch + state.BANK + bank * state.BANK_FIELDS
    s[b + state.OPEN_ROW] = row
    s[b + state.HITS] = 0
    hits = 0
    for i in range(s[b + state.COUNT]):
        hits += row_of(s, s[entry(s, ch, bank, i)]) == row
    s[b + state.HITS_QUEUED] = hits
    classify(s, ch, bank)


@kernel
def entry(s: Ints, ch: int, bank: int, position: int) -> int:
    """Return the offset of the queued access at `position` from the head of its bank's queue."""
    head = s[ch + state.BANK + bank * state.BANK_FIELDS + state.HEAD]
    return (
        ch
        + state.QUEUE
        + bank * state.COMMAND_QUEUE
        + ((head + position) & (state.COMMAND_QUEUE - 1))
    )


@kernel
def row_of(s: Ints, word: int) -> int:
    """Return the row of an access in its bank."""
    return (word & state.LINE_MASK) >> (
        s[state.CHANNEL_BITS] + s[state.COLUMN_BITS] + s[state.BANK_BITS]
    )


@kernel
def classify(s: Ints, ch: int, bank: int) -> None:
    """Set the bits that say whether a bank waits for ACT or PRE, and whether it has row hits."""
    bit = 1 << bank
    row_mask = s[ch + state.ROW_MASK] & ~bit
    hit_mask = s[ch + state.HIT_MASK] & ~bit
    b = ch + state.BANK + bank * state.BANK_FIELDS
    if s[b + state.COUNT]:
        row, hits = s[b + state.OPEN_ROW], s[b + state.HITS_QUEUED]
        if row < 0:
            row_mask |= bit
        else:
            if row_of(s, s[entry(s, ch, bank, 0)]) != row and (
                hits == 0 or s[b + state.HITS] >= ROW_HITS_BEFORE_CONFLICT
            ):
                row_mask |= bit
            if hits:
                hit_mask |= bit
    s[ch + state.ROW_MASK] = row_mask
    s[ch + state.HIT_MASK] = hit_mask


@kernel
def enqueue(s: Ints, ch: int, bank: int, word: int) -> None:
    """Append an access to the queue of its bank, which has room."""
    b = ch + state.BANK + bank * state.BANK_FIELDS
    s[entry(s, ch, bank, s[b + state.COUNT])] = word
    s[b + state.COUNT] += 1
    s[b + state.WRITES_QUEUED] += (word & state.WRITE_BIT) != 0
    s[b + state.HITS_QUEUED] += row_of(s, word) == s[b + state.OPEN_ROW]
    s[ch + state.CHANGED] = 1
    classify(s, ch, bank)


@kernel
def dequeue(s: Ints, ch: int, bank: int, position: int) -> None:
    """Remove the access at `position` from the head, a row hit that has just issued."""
    b = ch + state.BANK + bank * state.BANK_FIELDS
    s[b + state.WRITES_QUEUED] -= (s[entry(s, ch, bank, position)] & state.WRITE_BIT) != 0
    for i in range(position, 0, -1):
        s[entry(s, ch, bank, i)] = s[entry(s, ch, bank, i - 1)]
    if s[ch + state.STUCK] >> bank & 1:
        s[ch + state.STUCK] = 0
    s[b + state.HEAD] = (s[b + state.HEAD] + 1) & (state.COMMAND_QUEUE - 1)
    s[b + state.COUNT] -= 1
    s[b + state.HITS_QUEUED] -= 1
    s[b + state.HITS] += 1
    classify(s, ch, bank)
