"""Requests on their way to a channel: transfers become lines, lines become queued accesses.

Source: published NeuPIMs simulator. A transfer is a run of consecutive elements of the address
space, two bytes each; it touches whole lines, which the core sends in the order of a hash set
(`simulator.dram.lines`): that order decides which of two rows is asked for first, and with it the
time of small operators. Consecutive lines lie in consecutive channels; in a channel, rows go to
banks, bank groups and ranks in turn.
"""

from __future__ import annotations

from simulator.dram import state
from simulator.dram.arrivals import CYCLES_PER_CLOCK, arrived
from simulator.dram.bank import enqueue
from simulator.dram.lines import ACCESSES, ANSWER_TO, SENT_AT, STORE, expand, lines_of
from simulator.dram.pim import TIME
from simulator.dram.responses import answer, leave
from simulator.dram.state import Ints, kernel

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
            if s[ch + state.PIM_ARRIVED] and _pim_first(s, ch, other, program):
                _accept_pim(s, ch)
            else:
                _accept_line(s, ch, 1, other, clock)
        leave(s, ch, clock)


@kernel
def _pim_first(s: Ints, ch: int, other: Ints, program: Ints) -> bool:
    """Say whether the first PIM instruction that waits goes before the first line."""
    if s[ch + state.ARRIVED + 1] == s[ch + state.PIM_ARRIVED]:
        return True
    if s[ch + state.LINE_NEXT + 1] < s[ch + state.LINE_COUNT + 1]:
        index = s[ch + state.TRANSFER_NEXT + 1]
    else:
        index = s[ch + state.TRANSFER_NEXT + 1] + 1
        while lines_of(s, s[ch + state.NUMBER], other, index) == 0:
            index += 1
    return program[s[ch + state.PIM_SENT], TIME] <= other[index, SENT_AT]


@kernel
def _accept_pim(s: Ints, ch: int) -> None:
    """Move a PIM instruction into its transaction queue, if that has room."""
    queued = s[ch + state.PIM_SENT] - s[ch + state.PIM_QUEUED]
    if not s[state.DUAL]:
        queued += s[ch + state.READS]
    if queued < state.TRANSACTION_QUEUE:
        s[ch + state.PIM_SENT] += 1
        s[ch + state.PIM_ARRIVED] -= 1
        s[ch + state.ARRIVED + 1] -= 1
        s[ch + state.CHANGED] = 1


@kernel
def _accept_line(s: Ints, ch: int, side: int, stream: Ints, clock: int) -> None:
    """Move the next line of a side in, if its queue has room."""
    while s[ch + state.LINE_NEXT + side] == s[ch + state.LINE_COUNT + side]:
        index = s[ch + state.TRANSFER_NEXT + side] + 1
        expand(s, ch, side, stream, index)
        s[ch + state.TRANSFER_NEXT + side] = index
    index = s[ch + state.TRANSFER_NEXT + side]
    if s[ch + state.OUTSTANDING] >= s[state.OUTSTANDING_LIMIT]:
        return
    at = ch + s[state.LINES_AT] + side * s[state.LINES_ROOM] + s[ch + state.LINE_NEXT + side]
    waiting = s[ch + state.READS] + s[ch + state.WRITES]
    if stream[index, STORE]:
        taken = _accept_write(s, ch, s[at] & 0xFFFFFFFF, side, clock)
    else:
        taken = _accept_read(s, ch, s[at] & 0xFFFFFFFF, stream[index, ANSWER_TO], clock)
    if taken:
        stream[index, ACCESSES] += s[ch + state.READS] + s[ch + state.WRITES] - waiting
        s[ch + state.LINE_NEXT + side] += 1
        s[ch + state.ARRIVED + side] -= 1
        s[ch + state.CHANGED] = 1


@kernel
def _accept_write(s: Ints, ch: int, line: int, side: int, clock: int) -> bool:
    count = s[ch + state.WRITES]
    if count == state.TRANSACTION_QUEUE:
        return False
    pending = ch + state.PENDING + (line >> s[state.CHANNEL_BITS])
    if not s[pending] & WRITE_PENDING:
        s[pending] |= WRITE_PENDING
        s[ch + state.WRITE_BUFFER + count] = line
        s[ch + state.WRITES] = count + 1
    s[ch + state.OUTSTANDING] += 1
    answer(s, ch, state.WRITE_ANSWER - side, clock + POSTED_CLOCKS)
    return True


@kernel
def _accept_read(s: Ints, ch: int, line: int, tag: int, clock: int) -> bool:
    count = s[ch + state.READS]
    waiting = count
    if not s[state.DUAL]:
        waiting += s[ch + state.PIM_SENT] - s[ch + state.PIM_QUEUED]
    if waiting >= state.TRANSACTION_QUEUE:
        return False
    pending = ch + state.PENDING + (line >> s[state.CHANNEL_BITS])
    s[ch + state.OUTSTANDING] += 1
    if s[pending] & WRITE_PENDING:
        answer(s, ch, tag, clock + POSTED_CLOCKS)
    elif s[pending] & READS_PENDING:
        s[pending] = s[pending] % 256 + 1 + 256 * tag
    else:
        s[pending] = 1
        s[_waiting_read(s, ch, count)] = tag << state.TAG_SHIFT | line
        s[ch + state.READS] = count + 1
        if s[ch + state.STUCK]:
            bank = bank_of(s, line)
            full = (
                s[ch + state.BANK + bank * state.BANK_FIELDS + state.COUNT] == state.COMMAND_QUEUE
            )
            s[ch + state.STUCK] = s[ch + state.STUCK] | 1 << bank if full else 0
    return True


@kernel
def bank_of(s: Ints, line: int) -> int:
    """Return the bank of a line: banks, bank groups and ranks take turns row by row."""
    return (line >> (s[state.CHANNEL_BITS] + s[state.COLUMN_BITS])) & (
        (1 << s[state.BANK_BITS]) - 1
    )


@kernel
def _waiting_read(s: Ints, ch: int, position: int) -> int:
    """Return the offset of the read at `position` of the read queue."""
    return (
        ch
        + state.READ_QUEUE
        + ((s[ch + state.READ_HEAD] + position) & (state.TRANSACTION_QUEUE - 1))
    )


@kernel
def schedule(s: Ints, ch: int) -> None:
    """Move one transaction to a command queue."""
    locked = s[ch + state.LOCKED_LINE] >= 0
    writes = s[ch + state.WRITES]
    if not locked and s[ch + state.DRAIN] == 0:
        idle = (s[ch + state.ROW_MASK] | s[ch + state.HIT_MASK]) == 0
        if writes == state.TRANSACTION_QUEUE or (writes > DRAIN_ABOVE and idle):
            s[ch + state.DRAIN] = writes
            s[ch + state.CHANGED] = 1
    draining = not locked and s[ch + state.DRAIN] > 0
    pim_waiting = s[ch + state.PIM_SENT] - s[ch + state.PIM_QUEUED]
    pim_queued = s[ch + state.PIM_QUEUED] - s[ch + state.PIM_HEAD]
    if s[state.DUAL]:
        if pim_waiting and not locked and not (draining and pim_queued >= 2):
            if pim_queued < 2 or s[ch + state.READS] == 0:
                if pim_queued < state.COMMAND_QUEUE:
                    s[ch + state.PIM_QUEUED] += 1
                    s[ch + state.CHANGED] = 1
                return
            draining = False
    elif not draining and pim_waiting:
        if pim_queued < state.COMMAND_QUEUE:
            s[ch + state.PIM_QUEUED] += 1
            s[ch + state.CHANGED] = 1
        return
    elif pim_queued:
        return
    if draining:
        _schedule_write(s, ch)
    elif s[ch + state.READS] and not s[ch + state.STUCK]:
        _schedule_read(s, ch)


@kernel
def _schedule_write(s: Ints, ch: int) -> None:
    """Move the first write whose bank has room, unless a read of its line must go first."""
    count = s[ch + state.WRITES]
    for i in range(count):
        line = s[ch + state.WRITE_BUFFER + i]
        bank = bank_of(s, line)
        if s[ch + state.BANK + bank * state.BANK_FIELDS + state.COUNT] == state.COMMAND_QUEUE:
            continue
        if s[ch + state.PENDING + (line >> s[state.CHANNEL_BITS])] & READS_PENDING:
            for j in range(s[ch + state.READS]):
                if s[_waiting_read(s, ch, j)] & state.LINE_MASK == line:
                    s[ch + state.LOCKED_LINE] = line
            s[ch + state.DRAIN] = 0
            s[ch + state.CHANGED] = 1
            return
        enqueue(s, ch, bank, state.WRITE_BIT | line)
        for j in range(ch + state.WRITE_BUFFER + i, ch + state.WRITE_BUFFER + count - 1):
            s[j] = s[j + 1]
        s[ch + state.WRITES] = count - 1
        s[ch + state.DRAIN] -= 1
        return


@kernel
def _schedule_read(s: Ints, ch: int) -> None:
    """Move the first read whose bank has room."""
    count, full = s[ch + state.READS], 0
    for i in range(count):
        word = s[_waiting_read(s, ch, i)]
        line = word & state.LINE_MASK
        bank = bank_of(s, line)
        if s[ch + state.BANK + bank * state.BANK_FIELDS + state.COUNT] == state.COMMAND_QUEUE:
            full |= 1 << bank
            continue
        if s[ch + state.LOCKED_LINE] == line:
            s[ch + state.LOCKED_LINE] = -1
        enqueue(s, ch, bank, word)
        for j in range(i, 0, -1):
            s[_waiting_read(s, ch, j)] = s[_waiting_read(s, ch, j - 1)]
        s[ch + state.READ_HEAD] = (s[ch + state.READ_HEAD] + 1) & (state.TRANSACTION_QUEUE - 1)
        s[ch + state.READS] = count - 1
        return
    s[ch + state.STUCK] = full
