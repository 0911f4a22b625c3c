"""The memory controller of a channel, clock by clock: open page, a queue per bank, row hits first.

Source: published NeuPIMs simulator (its fork of DRAMsim3). A clock issues at most one command, in
this order: what a due refresh needs, the head of the PIM queue, then the bank queues in turn. One
transaction a clock moves from the read queue or the write buffer to its bank's queue. A read takes
its data at the end of the burst; a write is acknowledged when it enters the buffer (posted).
"""

from __future__ import annotations

from dataflow import dram_timing as dt
from simulator.dram import arrivals, pim, requests, state
from simulator.dram.bank import (
    close_pim_row,
    close_row,
    dequeue,
    earliest,
    entry,
    note,
    open_row,
    row_of,
)
from simulator.dram.responses import ANSWERS_PER_CLOCK, answer, answer_now, fall_due, leave
from simulator.dram.state import Ints, kernel


@kernel
def run(s: Ints, ch: int, npu: Ints, other: Ints, program: Ints, clock: int, end: int) -> None:
    """Advance a channel from `clock` to `end`, with the requests sent so far."""
    if _idle(s, ch, npu, other, end):
        return
    now = clock
    while now < end:
        s[ch + state.CHANGED] = 0
        tick(s, ch, program, now)
        requests.accept(s, ch, npu, other, program, now)
        now += 1
        if not s[ch + state.CHANGED]:
            wake = _wake(s, ch, npu, other, program, now, end)
            _settle(s, ch, now, wake)
            now = wake


@kernel
def _wake(s: Ints, ch: int, npu: Ints, other: Ints, program: Ints, clock: int, end: int) -> int:
    """Return the clock until which nothing can happen, as nothing happened in the clock before.

    What changes with time alone is a refresh, the end of GWRITE, a constraint that runs out, and a
    request that was sent earlier. Where it is not plain that nothing happens, return `clock`.
    """
    if s[ch + state.REFRESH_DUE] >= 0 or s[ch + state.OUTSTANDING] >= s[state.OUTSTANDING_LIMIT]:
        return clock
    wake = min(end, s[ch + state.REFRESH_AT])
    if s[ch + state.GWRITING]:
        if s[ch + state.GWRITE_DONE] < 0:
            return clock
        wake = min(wake, s[ch + state.GWRITE_DONE])
    elif s[ch + state.PIM_HEAD] < s[ch + state.PIM_QUEUED] and not s[ch + state.SKIP_PIM]:
        wake = min(wake, s[ch + state.PIM_NOT_BEFORE])
    wake = min(wake, _next_arrival(s, ch, 0, npu, program))
    wake = min(wake, _next_arrival(s, ch, 1, other, program))
    if wake > clock:
        wake = min(wake, _next_access(s, ch))
    return max(wake, clock)


@kernel
def _next_arrival(s: Ints, ch: int, side: int, stream: Ints, program: Ints) -> int:
    """Return a clock before which no request of a side arrives, NEVER if one waits already."""
    if s[ch + state.ARRIVED + side]:
        return state.NEVER
    given = arrivals.next_given(s, ch, side, stream, program)
    return state.NEVER if given == state.NEVER else (given + 2) // arrivals.CYCLES_PER_CLOCK


@kernel
def _next_access(s: Ints, ch: int) -> int:
    """Return a clock before which no bank queue may issue a command."""
    soonest, hits = state.NEVER, s[ch + state.HIT_MASK]
    per_rank = s[state.BANKS] * s[state.GROUPS]
    for rank in range(s[state.RANKS]):
        if hits >> (rank * per_rank) & ((1 << per_rank) - 1):
            at = ch + state.READY_RANK + rank * dt.COMMAND_COUNT
            soonest = min(soonest, s[at + dt.RD], s[at + dt.WR])
    mask, bank = s[ch + state.ROW_MASK], 0
    while mask:
        if mask & 1:
            closed = s[ch + state.BANK + bank * state.BANK_FIELDS + state.OPEN_ROW] < 0
            soonest = min(soonest, earliest(s, ch, bank, dt.ACT if closed else dt.PRE))
        mask >>= 1
        bank += 1
    return soonest


@kernel
def _settle(s: Ints, ch: int, clock: int, end: int) -> None:
    """Let answers leave and PIM clocks pass while nothing happens from `clock` to `end`."""
    if s[ch + state.PIM_HEAD] < s[ch + state.PIM_QUEUED]:
        s[ch + state.PIM_CLOCKS] += end - clock
    now = clock
    while now < end and s[ch + state.ANSWERS_DUE]:
        fall_due(s, ch, now)
        for _ in range(ANSWERS_PER_CLOCK):
            leave(s, ch, now)
        now += 1


@kernel
def _idle(s: Ints, ch: int, npu: Ints, other: Ints, end: int) -> bool:
    """Say whether nothing can happen in a channel before `end`."""
    if (
        s[ch + state.ROW_MASK] | s[ch + state.HIT_MASK]
        or s[ch + state.READS]
        or s[ch + state.WRITES]
    ):
        return False
    if s[ch + state.REFRESH_AT] < end or s[ch + state.REFRESH_DUE] >= 0:
        return False
    if (
        s[ch + state.PIM_HEAD] < s[ch + state.PIM_END]
        or s[ch + state.GWRITING]
        or s[ch + state.ANSWERS_DUE]
    ):
        return False
    for side in range(2):
        sent = npu[0, 0] if side == 0 else other[0, 0]
        on_way = s[ch + state.ARRIVED + side] or s[ch + state.TO_GIVE + side]
        if on_way or s[ch + state.ENTERED + side] < sent:
            return False
    return True


@kernel
def tick(s: Ints, ch: int, program: Ints, clock: int) -> None:
    """Advance the controller of a channel by one clock: one command, one scheduled transaction."""
    fall_due(s, ch, clock)
    if clock == s[ch + state.REFRESH_AT]:
        _refresh_falls_due(s, ch)
    if s[ch + state.GWRITING] and 0 <= s[ch + state.GWRITE_DONE] <= clock:
        s[ch + state.GWRITING] = 0
        s[ch + state.CHANGED] = 1
        answer_now(s, ch, state.UNHEARD)
    issued = False
    if s[ch + state.REFRESH_DUE] >= 0:
        issued = _refresh(s, ch, program, clock)
    if not issued:
        _issue(s, ch, program, clock)
    requests.schedule(s, ch)
    s[ch + state.PIM_CLOCKS] += s[ch + state.PIM_HEAD] < s[ch + state.PIM_QUEUED]


@kernel
def _issue(s: Ints, ch: int, program: Ints, clock: int) -> None:
    waiting = s[ch + state.PIM_HEAD] < s[ch + state.PIM_QUEUED]
    refreshing = s[ch + state.REFRESHING] >= 0
    if s[state.DUAL]:
        if waiting and not s[ch + state.SKIP_PIM] and not refreshing:
            if pim.step(s, ch, program, clock):
                return
            if s[ch + state.SLACK] < dt.SLACK_FOR_NORMAL:
                return
    elif not s[ch + state.SKIP_PIM]:
        idle = (s[ch + state.ROW_MASK] | s[ch + state.HIT_MASK]) == 0
        if idle or s[ch + state.PIM_MODE]:
            if waiting and not refreshing:
                pim.step(s, ch, program, clock)
            return
    _access(s, ch, clock)


@kernel
def _refresh_falls_due(s: Ints, ch: int) -> None:
    rank = s[ch + state.REFRESH_RANK]
    if s[ch + state.REFRESH_DUE] < 0:
        s[ch + state.REFRESH_DUE] = rank
    else:
        s[ch + state.REFRESH_DUE_2] = rank
    s[ch + state.REFRESH_RANK] = (rank + 1) % s[state.RANKS]
    s[ch + state.REFRESH_AT] += s[state.INTERVAL]
    s[ch + state.CHANGED] = 1


@kernel
def _refresh(s: Ints, ch: int, program: Ints, clock: int) -> bool:
    """Issue what the due refresh needs: close one of the rank's banks, or REF.

    In a device with one row buffer that closes the rows of a tile under way, whose next COMP opens
    them again. Before a READRES the refresh waits: the sums would be lost (the published simulator
    ends with an error there).
    """
    if not s[state.DUAL] and pim.must_read_sums(s, ch, program):
        return False
    rank = s[ch + state.REFRESH_DUE]
    s[ch + state.REFRESHING] = rank
    per_rank = s[state.BANKS] * s[state.GROUPS]
    ready = True
    for bank in range(rank * per_rank, (rank + 1) * per_rank):
        b = ch + state.BANK + bank * state.BANK_FIELDS
        if s[b + state.OPEN_ROW] >= 0:
            ready = False
            if earliest(s, ch, bank, dt.PRE) <= clock:
                close_row(s, ch, bank, clock)
                return True
        elif s[b + state.PIM_ROW] >= 0:
            ready = False
            if earliest(s, ch, bank, dt.PPRE) <= clock:
                close_pim_row(s, ch, bank, clock)
                return True
        elif earliest(s, ch, bank, dt.REF) > clock:
            ready = False
    if not ready:
        return False
    note(s, ch, rank * per_rank, dt.REF, clock)
    s[ch + state.REFRESH_DUE] = s[ch + state.REFRESH_DUE_2]
    s[ch + state.REFRESH_DUE_2] = -1
    s[ch + state.REFRESHING] = -1
    s[ch + state.SKIP_PIM] = 0
    s[ch + state.SLACK] = 0
    s[ch + state.RESERVED_ROW] = -1
    return True


@kernel
def _overhead_allows(s: Ints, ch: int, is_precharge: bool) -> bool:
    """While PIM commands wait with slack, PRE and ACT may only use that slack, and use it up."""
    slack = s[ch + state.SLACK]
    if slack <= 0 or s[ch + state.PIM_QUEUED] == s[ch + state.PIM_HEAD]:
        return True
    need, used = s[state.RCD_WRITE], s[state.RCD_WRITE]
    if is_precharge:
        need, used = need + s[state.RP], s[state.RP]
    if slack <= need:
        return False
    s[ch + state.SLACK] = slack - used
    return True


@kernel
def _banks_with_free_bus(s: Ints, ch: int, clock: int) -> int:
    """Return a mask of the banks of those ranks that may use the data bus in some direction."""
    per_rank = s[state.BANKS] * s[state.GROUPS]
    mask = 0
    for rank in range(s[state.RANKS]):
        at = ch + state.READY_RANK + rank * dt.COMMAND_COUNT
        if s[at + dt.RD] <= clock or s[at + dt.WR] <= clock:
            mask |= ((1 << per_rank) - 1) << (rank * per_rank)
    return mask


@kernel
def _access(s: Ints, ch: int, clock: int) -> None:
    """Issue the first command that any bank queue may issue, queues in turn."""
    mask = s[ch + state.ROW_MASK]
    if s[ch + state.HIT_MASK]:
        mask |= s[ch + state.HIT_MASK] & _banks_with_free_bus(s, ch, clock)
    if s[ch + state.GWRITING]:
        mask &= ~1
    if mask == 0:
        return
    per_rank = s[state.BANKS] * s[state.GROUPS]
    banks = per_rank * s[state.RANKS]
    blocked = s[ch + state.REFRESHING]
    bank = s[ch + state.QUEUE_INDEX]
    for _ in range(banks):
        bank += 1
        if bank == banks:
            bank = 0
        if not mask >> bank & 1 or (blocked >= 0 and s[state.RANK_OF + bank] == blocked):
            continue
        if _access_bank(s, ch, bank, clock):
            s[ch + state.QUEUE_INDEX] = bank
            return


@kernel
def _access_bank(s: Ints, ch: int, bank: int, clock: int) -> bool:
    b = ch + state.BANK + bank * state.BANK_FIELDS
    if s[b + state.OPEN_ROW] < 0:
        if earliest(s, ch, bank, dt.ACT) > clock or not _overhead_allows(s, ch, False):
            return False
        open_row(s, ch, bank, row_of(s, s[entry(s, ch, bank, 0)]), clock)
        return True
    if (
        s[ch + state.ROW_MASK] >> bank & 1
        and earliest(s, ch, bank, dt.PRE) <= clock
        and _overhead_allows(s, ch, True)
    ):
        close_row(s, ch, bank, clock)
        return True
    if s[b + state.HITS_QUEUED] == 0:
        return False
    return _access_hit(s, ch, bank, clock)


@kernel
def _access_hit(s: Ints, ch: int, bank: int, clock: int) -> bool:
    """Issue the first queued access of the open row whose direction may go now."""
    b = ch + state.BANK + bank * state.BANK_FIELDS
    row, count, writes = s[b + state.OPEN_ROW], s[b + state.COUNT], s[b + state.WRITES_QUEUED]
    reads_ready = count > writes and earliest(s, ch, bank, dt.RD) <= clock
    writes_ready = writes > 0 and earliest(s, ch, bank, dt.WR) <= clock
    if not reads_ready and not writes_ready:
        return False
    for i in range(count):
        word = s[entry(s, ch, bank, i)]
        if row_of(s, word) == row and (writes_ready if word & state.WRITE_BIT else reads_ready):
            _transfer(s, ch, bank, word, clock)
            dequeue(s, ch, bank, i)
            return True
    return False


@kernel
def _transfer(s: Ints, ch: int, bank: int, word: int, clock: int) -> None:
    """Issue RD or WR for a queued access, and answer the reads that waited for its line."""
    pending = ch + state.PENDING + ((word & state.LINE_MASK) >> s[state.CHANNEL_BITS])
    if word & state.WRITE_BIT:
        note(s, ch, bank, dt.WR, clock)
        s[pending] &= ~requests.WRITE_PENDING
        return
    note(s, ch, bank, dt.RD, clock)
    for waiting in range(s[pending] & requests.READS_PENDING):
        tag = s[pending] >> 8 if waiting else word >> state.TAG_SHIFT
        answer(s, ch, tag, clock + s[state.READ_DELAY])
    s[pending] = 0
