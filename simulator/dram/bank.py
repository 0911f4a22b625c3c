"""Timing state of the banks of a channel: when a command may issue, and what issuing it does.

`s` is the state array, `ch` the offset of the channel's record, see `simulator.dram.state`.
"""

from __future__ import annotations

from dataflow import dram_timing as dt
from simulator.dram.state import (
    ACTIVATIONS,
    ACTIVE_CLOCKS,
    ACTIVE_SINCE,
    BANK,
    BANK_BITS,
    BANK_FIELDS,
    CHANGED,
    CHANNEL_BITS,
    COLUMN_BITS,
    COMMAND_COUNT,
    COMMAND_QUEUE,
    COUNT,
    COUNTS,
    DELAY_FROM,
    FAW,
    GROUP_READY,
    HEAD,
    HIT_MASK,
    HITS,
    HITS_QUEUED,
    LINE_MASK,
    MAX_RANKS,
    OPEN_BANKS,
    OPEN_ROW,
    PIM_OPEN,
    PIM_ROW,
    QUEUE,
    RANK_OF,
    RANK_READY,
    RANKS,
    READY_BANK,
    READY_RANK,
    ROW_MASK,
    STUCK,
    WRITE_BIT,
    WRITES_QUEUED,
    Ints,
    kernel,
)

ACT, PRE, PPRE = dt.ACT, dt.PRE, dt.PPRE
ROW_HITS_BEFORE_CONFLICT = 4
"""Accesses after which a conflicting row may close one that still has requests."""


@kernel
def earliest(s: Ints, ch: int, bank: int, command: int) -> int:
    """Return the first clock at which the timing constraints allow `command` in `bank`."""
    clock = s[ch + READY_BANK + bank * COMMAND_COUNT + command]
    other = s[ch + s[GROUP_READY + bank] + command]
    if other > clock:
        clock = other
    other = s[ch + s[RANK_READY + bank] + command]
    if other > clock:
        clock = other
    if command == ACT:
        clock = max(clock, s[ch + ACTIVATIONS + 4 * s[RANK_OF + bank]] + s[FAW])
    return clock


@kernel
def note(s: Ints, ch: int, bank: int, command: int, clock: int) -> None:
    """Record that `command` issued in `bank`: what may follow it, and when."""
    rank = s[RANK_OF + bank]
    for at in range(s[DELAY_FROM + command], s[DELAY_FROM + command + 1], 3):
        scope, second, ready = s[at], s[at + 1], clock + s[at + 2]
        if scope == dt.BANK:
            place = ch + READY_BANK + bank * COMMAND_COUNT + second
        elif scope == dt.GROUP:
            place = ch + s[GROUP_READY + bank] + second
        elif scope == dt.RANK:
            place = ch + s[RANK_READY + bank] + second
        else:
            for other in range(s[RANKS]):
                place = ch + READY_RANK + other * COMMAND_COUNT + second
                if other != rank and ready > s[place]:
                    s[place] = ready
            continue
        if ready > s[place]:
            s[place] = ready
    if command == ACT:
        last = ch + ACTIVATIONS + 4 * rank
        for i in range(3):
            s[last + i] = s[last + i + 1]
        s[last + 3] = clock
    s[ch + COUNTS + command] += 1
    s[ch + CHANGED] = 1


@kernel
def count_open(s: Ints, ch: int, bank: int, buffer: int, change: int, clock: int) -> None:
    """Account for banks that opened or closed: a rank is active while any of its banks is open."""
    at = ch + OPEN_BANKS + buffer * MAX_RANKS + s[RANK_OF + bank]
    since = at - OPEN_BANKS + ACTIVE_SINCE
    if s[at] == 0:
        s[since] = clock
    s[at] += change
    if s[at] == 0:
        s[at - OPEN_BANKS + ACTIVE_CLOCKS] += clock - s[since]


@kernel
def close_row(s: Ints, ch: int, bank: int, clock: int) -> None:
    """Issue PRE."""
    note(s, ch, bank, PRE, clock)
    count_open(s, ch, bank, 0, -1, clock)
    b = ch + BANK + bank * BANK_FIELDS
    s[b + OPEN_ROW] = -1
    s[b + HITS] = 0
    s[b + HITS_QUEUED] = 0
    classify(s, ch, bank)


@kernel
def close_pim_row(s: Ints, ch: int, bank: int, clock: int) -> None:
    """Issue PPRE."""
    note(s, ch, bank, PPRE, clock)
    count_open(s, ch, bank, 1, -1, clock)
    s[ch + BANK + bank * BANK_FIELDS + PIM_ROW] = -1
    s[ch + PIM_OPEN] &= ~(1 << bank)


@kernel
def open_row(s: Ints, ch: int, bank: int, row: int, clock: int) -> None:
    """Issue ACT, and count the queued accesses that the row serves."""
    note(s, ch, bank, ACT, clock)
    count_open(s, ch, bank, 0, 1, clock)
    b = ch + BANK + bank * BANK_FIELDS
    s[b + OPEN_ROW] = row
    s[b + HITS] = 0
    hits = 0
    for i in range(s[b + COUNT]):
        hits += row_of(s, s[entry(s, ch, bank, i)]) == row
    s[b + HITS_QUEUED] = hits
    classify(s, ch, bank)


@kernel
def entry(s: Ints, ch: int, bank: int, position: int) -> int:
    """Return the offset of the queued access at `position` from the head of its bank's queue."""
    head = s[ch + BANK + bank * BANK_FIELDS + HEAD]
    return ch + QUEUE + bank * COMMAND_QUEUE + ((head + position) & (COMMAND_QUEUE - 1))


@kernel
def row_of(s: Ints, word: int) -> int:
    """Return the row of an access in its bank."""
    return (word & LINE_MASK) >> (s[CHANNEL_BITS] + s[COLUMN_BITS] + s[BANK_BITS])


@kernel
def classify(s: Ints, ch: int, bank: int) -> None:
    """Set the bits that say whether a bank waits for ACT or PRE, and whether it has row hits."""
    bit = 1 << bank
    row_mask = s[ch + ROW_MASK] & ~bit
    hit_mask = s[ch + HIT_MASK] & ~bit
    b = ch + BANK + bank * BANK_FIELDS
    if s[b + COUNT]:
        row, hits = s[b + OPEN_ROW], s[b + HITS_QUEUED]
        if row < 0:
            row_mask |= bit
        else:
            if row_of(s, s[entry(s, ch, bank, 0)]) != row and (
                hits == 0 or s[b + HITS] >= ROW_HITS_BEFORE_CONFLICT
            ):
                row_mask |= bit
            if hits:
                hit_mask |= bit
    s[ch + ROW_MASK] = row_mask
    s[ch + HIT_MASK] = hit_mask


@kernel
def enqueue(s: Ints, ch: int, bank: int, word: int) -> None:
    """Append an access to the queue of its bank, which has room."""
    b = ch + BANK + bank * BANK_FIELDS
    s[entry(s, ch, bank, s[b + COUNT])] = word
    s[b + COUNT] += 1
    s[b + WRITES_QUEUED] += (word & WRITE_BIT) != 0
    s[b + HITS_QUEUED] += row_of(s, word) == s[b + OPEN_ROW]
    s[ch + CHANGED] = 1
    classify(s, ch, bank)


@kernel
def dequeue(s: Ints, ch: int, bank: int, position: int) -> None:
    """Remove the access at `position` from the head, a row hit that has just issued."""
    b = ch + BANK + bank * BANK_FIELDS
    s[b + WRITES_QUEUED] -= (s[entry(s, ch, bank, position)] & WRITE_BIT) != 0
    for i in range(position, 0, -1):
        s[entry(s, ch, bank, i)] = s[entry(s, ch, bank, i - 1)]
    if s[ch + STUCK] >> bank & 1:
        s[ch + STUCK] = 0
    s[b + HEAD] = (s[b + HEAD] + 1) & (COMMAND_QUEUE - 1)
    s[b + COUNT] -= 1
    s[b + HITS_QUEUED] -= 1
    s[b + HITS] += 1
    classify(s, ch, bank)
