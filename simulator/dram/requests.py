"""Requests on their way to a channel: transfers become lines, lines become queued accesses.

Source: published NeuPIMs simulator. A transfer is a run of consecutive elements of the address
space, two bytes each; it touches whole lines, which the core sends in the order of a hash set
(`simulator.dram.lines`): that order decides which of two rows is asked for first, and with it the
time of small operators. Consecutive lines lie in consecutive channels; in a channel, rows go to
banks, bank groups and ranks in turn.
"""

from __future__ import annotations

from simulator.dram.arrivals import CYCLES_PER_CLOCK, arrived
from simulator.dram.bank import enqueue
from simulator.dram.lines import ACCESSES, ANSWER_TO, SENT_AT, STORE, expand, lines_of
from simulator.dram.pim import TIME
from simulator.dram.responses import answer, leave
from simulator.dram.state import (
    ARRIVED,
    BANK,
    BANK_BITS,
    BANK_FIELDS,
    CHANGED,
    CHANNEL_BITS,
    COLUMN_BITS,
    COMMAND_QUEUE,
    COUNT,
    DRAIN,
    DUAL,
    HIT_MASK,
    LINE_COUNT,
    LINE_MASK,
    LINE_NEXT,
    LINES_AT,
    LINES_ROOM,
    LOCKED_LINE,
    NUMBER,
    OUTSTANDING,
    OUTSTANDING_LIMIT,
    PENDING,
    PIM_ARRIVED,
    PIM_HEAD,
    PIM_QUEUED,
    PIM_SENT,
    READ_HEAD,
    READ_QUEUE,
    READS,
    ROW_MASK,
    STUCK,
    TAG_SHIFT,
    TRANSACTION_QUEUE,
    TRANSFER_NEXT,
    WRITE_ANSWER,
    WRITE_BIT,
    WRITE_BUFFER,
    WRITES,
    Ints,
    kernel,
)

READS_PENDING, WRITE_PENDING = 15, 16
"""Bits of a line's pending word."""

POSTED_CLOCKS = 2
"""From the arrival of a write, or of a read that the write buffer serves, to when its answer falls
due."""

DRAIN_ABOVE = 8
"""Writes that are drained while no access waits in a bank queue."""


@kernel
def accept(s: Ints, ch: int, npu: Ints, other: Ints, program: Ints, clock: int) -> None:
    """Take requests off the interconnect: each side's queue gives at most one in its cycle.

    The NPU's queue holds its transfers; the other one holds the PIM instructions and the transfers
    of the side that works with them, in the order in which the core sent them. An answer on its way
    back makes room for one more request.
    """
    for cycle in range(CYCLES_PER_CLOCK * clock, CYCLES_PER_CLOCK * (clock + 1)):
        if arrived(s, ch, 0, npu, other, program, cycle):
            _accept_line(s, ch, 0, npu, clock)
        if arrived(s, ch, 1, npu, other, program, cycle):
            if s[ch + PIM_ARRIVED] and _pim_first(s, ch, other, program):
                _accept_pim(s, ch)
            else:
                _accept_line(s, ch, 1, other, clock)
        leave(s, ch, clock)


@kernel
def _pim_first(s: Ints, ch: int, other: Ints, program: Ints) -> bool:
    """Say whether the first PIM instruction that waits goes before the first line."""
    if s[ch + ARRIVED + 1] == s[ch + PIM_ARRIVED]:
        return True
    if s[ch + LINE_NEXT + 1] < s[ch + LINE_COUNT + 1]:
        index = s[ch + TRANSFER_NEXT + 1]
    else:
        index = s[ch + TRANSFER_NEXT + 1] + 1
        while lines_of(s, s[ch + NUMBER], other, index) == 0:
            index += 1
    return program[s[ch + PIM_SENT], TIME] <= other[index, SENT_AT]


@kernel
def _accept_pim(s: Ints, ch: int) -> None:
    """Move a PIM instruction into its transaction queue, if that has room."""
    queued = s[ch + PIM_SENT] - s[ch + PIM_QUEUED]
    if not s[DUAL]:
        queued += s[ch + READS]
    if queued < TRANSACTION_QUEUE:
        s[ch + PIM_SENT] += 1
        s[ch + PIM_ARRIVED] -= 1
        s[ch + ARRIVED + 1] -= 1
        s[ch + CHANGED] = 1


@kernel
def _accept_line(s: Ints, ch: int, side: int, stream: Ints, clock: int) -> None:
    """Move the next line of a side in, if its queue has room."""
    while s[ch + LINE_NEXT + side] == s[ch + LINE_COUNT + side]:
        index = s[ch + TRANSFER_NEXT + side] + 1
        expand(s, ch, side, stream, index)
        s[ch + TRANSFER_NEXT + side] = index
    index = s[ch + TRANSFER_NEXT + side]
    if s[ch + OUTSTANDING] >= s[OUTSTANDING_LIMIT]:
        return
    at = ch + s[LINES_AT] + side * s[LINES_ROOM] + s[ch + LINE_NEXT + side]
    waiting = s[ch + READS] + s[ch + WRITES]
    if stream[index, STORE]:
        taken = _accept_write(s, ch, s[at] & 0xFFFFFFFF, side, clock)
    else:
        taken = _accept_read(s, ch, s[at] & 0xFFFFFFFF, stream[index, ANSWER_TO], clock)
    if taken:
        stream[index, ACCESSES] += s[ch + READS] + s[ch + WRITES] - waiting
        s[ch + LINE_NEXT + side] += 1
        s[ch + ARRIVED + side] -= 1
        s[ch + CHANGED] = 1


@kernel
def _accept_write(s: Ints, ch: int, line: int, side: int, clock: int) -> bool:
    count = s[ch + WRITES]
    if count == TRANSACTION_QUEUE:
        return False
    pending = ch + PENDING + (line >> s[CHANNEL_BITS])
    if not s[pending] & WRITE_PENDING:
        s[pending] |= WRITE_PENDING
        s[ch + WRITE_BUFFER + count] = line
        s[ch + WRITES] = count + 1
    s[ch + OUTSTANDING] += 1
    answer(s, ch, WRITE_ANSWER - side, clock + POSTED_CLOCKS)
    return True


@kernel
def _accept_read(s: Ints, ch: int, line: int, tag: int, clock: int) -> bool:
    count = s[ch + READS]
    waiting = count
    if not s[DUAL]:
        waiting += s[ch + PIM_SENT] - s[ch + PIM_QUEUED]
    if waiting >= TRANSACTION_QUEUE:
        return False
    pending = ch + PENDING + (line >> s[CHANNEL_BITS])
    s[ch + OUTSTANDING] += 1
    if s[pending] & WRITE_PENDING:
        answer(s, ch, tag, clock + POSTED_CLOCKS)
    elif s[pending] & READS_PENDING:
        s[pending] = s[pending] % 256 + 1 + 256 * tag
    else:
        s[pending] = 1
        s[_waiting_read(s, ch, count)] = tag << TAG_SHIFT | line
        s[ch + READS] = count + 1
        if s[ch + STUCK]:
            bank = bank_of(s, line)
            full = s[ch + BANK + bank * BANK_FIELDS + COUNT] == COMMAND_QUEUE
            s[ch + STUCK] = s[ch + STUCK] | 1 << bank if full else 0
    return True


@kernel
def bank_of(s: Ints, line: int) -> int:
    """Return the bank of a line: banks, bank groups and ranks take turns row by row."""
    return (line >> (s[CHANNEL_BITS] + s[COLUMN_BITS])) & ((1 << s[BANK_BITS]) - 1)


@kernel
def _waiting_read(s: Ints, ch: int, position: int) -> int:
    """Return the offset of the read at `position` of the read queue."""
    return ch + READ_QUEUE + ((s[ch + READ_HEAD] + position) & (TRANSACTION_QUEUE - 1))


@kernel
def schedule(s: Ints, ch: int) -> None:
    """Move one transaction to a command queue."""
    locked = s[ch + LOCKED_LINE] >= 0
    writes = s[ch + WRITES]
    if not locked and s[ch + DRAIN] == 0:
        idle = (s[ch + ROW_MASK] | s[ch + HIT_MASK]) == 0
        if writes == TRANSACTION_QUEUE or (writes > DRAIN_ABOVE and idle):
            s[ch + DRAIN] = writes
            s[ch + CHANGED] = 1
    draining = not locked and s[ch + DRAIN] > 0
    pim_waiting = s[ch + PIM_SENT] - s[ch + PIM_QUEUED]
    pim_queued = s[ch + PIM_QUEUED] - s[ch + PIM_HEAD]
    if s[DUAL]:
        if pim_waiting and not locked and not (draining and pim_queued >= 2):
            if pim_queued < 2 or s[ch + READS] == 0:
                if pim_queued < COMMAND_QUEUE:
                    s[ch + PIM_QUEUED] += 1
                    s[ch + CHANGED] = 1
                return
            draining = False
    elif not draining and pim_waiting:
        if pim_queued < COMMAND_QUEUE:
            s[ch + PIM_QUEUED] += 1
            s[ch + CHANGED] = 1
        return
    elif pim_queued:
        return
    if draining:
        _schedule_write(s, ch)
    elif s[ch + READS] and not s[ch + STUCK]:
        _schedule_read(s, ch)


@kernel
def _schedule_write(s: Ints, ch: int) -> None:
    """Move the first write whose bank has room, unless a read of its line must go first."""
    count = s[ch + WRITES]
    for i in range(count):
        line = s[ch + WRITE_BUFFER + i]
        bank = bank_of(s, line)
        if s[ch + BANK + bank * BANK_FIELDS + COUNT] == COMMAND_QUEUE:
            continue
        if s[ch + PENDING + (line >> s[CHANNEL_BITS])] & READS_PENDING:
            for j in range(s[ch + READS]):
                if s[_waiting_read(s, ch, j)] & LINE_MASK == line:
                    s[ch + LOCKED_LINE] = line
            s[ch + DRAIN] = 0
            s[ch + CHANGED] = 1
            return
        enqueue(s, ch, bank, WRITE_BIT | line)
        for j in range(ch + WRITE_BUFFER + i, ch + WRITE_BUFFER + count - 1):
            s[j] = s[j + 1]
        s[ch + WRITES] = count - 1
        s[ch + DRAIN] -= 1
        return


@kernel
def _schedule_read(s: Ints, ch: int) -> None:
    """Move the first read whose bank has room."""
    count, full = s[ch + READS], 0
    for i in range(count):
        word = s[_waiting_read(s, ch, i)]
        line = word & LINE_MASK
        bank = bank_of(s, line)
        if s[ch + BANK + bank * BANK_FIELDS + COUNT] == COMMAND_QUEUE:
            full |= 1 << bank
            continue
        if s[ch + LOCKED_LINE] == line:
            s[ch + LOCKED_LINE] = -1
        enqueue(s, ch, bank, word)
        for j in range(i, 0, -1):
            s[_waiting_read(s, ch, j)] = s[_waiting_read(s, ch, j - 1)]
        s[ch + READ_HEAD] = (s[ch + READ_HEAD] + 1) & (TRANSACTION_QUEUE - 1)
        s[ch + READS] = count - 1
        return
    s[ch + STUCK] = full
