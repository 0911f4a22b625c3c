"""Issue of the PIM commands of a channel, with two row buffers per bank or with one.

Source: published NeuPIMs simulator. The controller looks only at the head of the PIM command queue.
A tile starts with a header that names its row and says how much follows; it issues nothing on the
bus, but it waits until the row buffers are closed (closing one bank a clock), and until the tile
fits before the next refresh by an estimate (`tile_estimate`). If it does not fit, no PIM command
issues until the refresh is over.

Each function returns 1 if it issued a command (the command bus carries one a clock), else 0.
"""

from __future__ import annotations

from dataflow import dram_timing as dt
from simulator.dram import state
from simulator.dram.bank import close_pim_row, close_row, count_open, earliest, note, open_row
from simulator.dram.responses import answer
from simulator.dram.state import Ints, kernel

GWRITE_OP, HEADER_OP, GEMV_OP, COMP_OP, READRES_OP = range(5)
"""Kinds of instruction in a PIM program."""

KIND, TILE_ROW, COMPS, RESULTS, GROUP, LAST, TIME, PIM_FIELDS = range(8)
"""Columns of a PIM program, one row per instruction: its kind; the row of its tile; COMP of a GEMV,
or those that a header's estimate assumes; READRES that a header announces; the group that a READRES
answers to; 1 for the last READRES of a tile; the clock at which the core hands it over."""


@kernel
def gwrite_estimate(s: Ints, ch: int) -> int:
    """Return the controller's estimate of the clocks that a GWRITE takes."""
    row = s[ch + state.BANK + dt.GWRITE_BANK * state.BANK_FIELDS + state.OPEN_ROW]
    clocks = s[state.GWRITE_CLOCKS]
    if row != dt.GWRITE_ROW:
        clocks += s[state.RP] + s[state.RCD_READ]
        if row >= 0:
            clocks += s[state.RTP]
    return int(clocks)


@kernel
def tile_estimate(s: Ints, ch: int, row: int, comps: int, results: int) -> int:
    """Return the controller's estimate of the clocks from a header to its last READRES.

    tRTP for each bank to close, half of the activations tFAW apart, tRCD, then the COMP and the
    READRES.
    """
    activations, closes = 0, 0
    buffer = state.PIM_ROW if s[state.DUAL] else state.OPEN_ROW
    per_group = s[state.BANKS]
    for group in range(s[state.GROUPS] * s[state.RANKS]):
        right, wrong = 0, 0
        for bank in range(group * per_group, (group + 1) * per_group):
            held = s[ch + state.BANK + bank * state.BANK_FIELDS + buffer]
            right += held == row
            wrong += held >= 0 and held != row
        if right < per_group:
            closes += wrong
            activations += 1
    steps = s[state.COMP_STEP] * max(comps, dt.PIM_PIPELINE_STEPS)
    reads = max(s[state.COMP_STEP], s[state.CCD_L]) * (results - 1)
    opening = s[state.FAW] * (activations // 2 - 1) + s[state.RCD_READ]
    return int(closes * s[state.RTP] + opening + steps + reads)


@kernel
def step(s: Ints, ch: int, program: Ints, clock: int) -> int:
    """Issue the command that the head of the PIM command queue needs, if it may issue."""
    head = s[ch + state.PIM_HEAD]
    if head >= s[ch + state.PIM_QUEUED] or clock < s[ch + state.PIM_NOT_BEFORE]:
        return 0
    kind = program[head, KIND]
    if kind == GWRITE_OP:
        return _gwrite(s, ch, clock)
    if s[ch + state.GWRITING]:
        return 0
    row = program[head, TILE_ROW]
    if kind == HEADER_OP:
        return _header(s, ch, row, program[head, COMPS], program[head, RESULTS], clock)
    if kind == GEMV_OP:
        return _gemv(s, ch, row, program[head, COMPS], program[head, GROUP], clock)
    if kind == COMP_OP:
        return _comp(s, ch, row, clock)
    return _readres(s, ch, program[head, GROUP], program[head, LAST], clock)


@kernel
def must_read_sums(s: Ints, ch: int, program: Ints) -> bool:
    """Say whether sums wait in the banks for the READRES at the head of the PIM queue."""
    head = s[ch + state.PIM_HEAD]
    return head < s[ch + state.PIM_QUEUED] and program[head, KIND] == READRES_OP


@kernel
def _fits(s: Ints, ch: int, estimate: int, clock: int) -> bool:
    slack = s[ch + state.REFRESH_AT] - clock - 1
    if slack == 0:
        slack = s[state.INTERVAL]
    slack -= estimate
    s[ch + state.SLACK] = max(slack, 0)
    s[ch + state.CHANGED] = 1
    if slack <= 0:
        s[ch + state.SKIP_PIM] = 1
    return slack > 0


@kernel
def _gwrite(s: Ints, ch: int, clock: int) -> int:
    if not s[ch + state.GWRITING]:
        if not _fits(s, ch, gwrite_estimate(s, ch), clock):
            return 0
        s[ch + state.GWRITING] = 1
        s[ch + state.GWRITE_DONE] = -1
    row = s[ch + state.BANK + dt.GWRITE_BANK * state.BANK_FIELDS + state.OPEN_ROW]
    if row == dt.GWRITE_ROW:
        if earliest(s, ch, dt.GWRITE_BANK, dt.GWRITE) > clock:
            return 0
        note(s, ch, dt.GWRITE_BANK, dt.GWRITE, clock)
        s[ch + state.GWRITE_DONE] = clock + s[state.GWRITE_CLOCKS]
        s[ch + state.PIM_HEAD] += 1
        return 1
    if row >= 0:
        if earliest(s, ch, dt.GWRITE_BANK, dt.PRE) > clock:
            return 0
        close_row(s, ch, dt.GWRITE_BANK, clock)
        return 1
    if earliest(s, ch, dt.GWRITE_BANK, dt.ACT) > clock:
        return 0
    open_row(s, ch, dt.GWRITE_BANK, dt.GWRITE_ROW, clock)
    return 1


@kernel
def _header(s: Ints, ch: int, row: int, comps: int, results: int, clock: int) -> int:
    if not _fits(s, ch, tile_estimate(s, ch, row, comps, results), clock):
        return 0
    s[ch + state.RESERVED_ROW] = row
    s[ch + state.PIM_MODE] = 1
    closed = True
    if s[state.DUAL]:
        open_banks, bank = s[ch + state.PIM_OPEN], 0
        while open_banks >> bank:
            held = s[ch + state.BANK + bank * state.BANK_FIELDS + state.PIM_ROW]
            if held >= 0 and held != row:
                closed = False
                if earliest(s, ch, bank, dt.PPRE) <= clock:
                    close_pim_row(s, ch, bank, clock)
                    return 1
            bank += 1
    else:
        for bank in range(s[state.BANKS] * s[state.GROUPS] * s[state.RANKS]):
            held = s[ch + state.BANK + bank * state.BANK_FIELDS + state.OPEN_ROW]
            if held < 0 or held == row:
                continue
            closed = False
            if earliest(s, ch, bank, dt.PRE) <= clock:
                close_row(s, ch, bank, clock)
                return 1
    if closed:
        s[ch + state.PIM_HEAD] += 1
        return 1
    return 0


@kernel
def _activate_groups(s: Ints, ch: int, row: int, clock: int) -> int:
    """Issue G_ACT in the first group that is closed and may open; 1 done, 0 wait, 2 all open."""
    buffer = s[state.DUAL]
    field = state.PIM_ROW if buffer else state.OPEN_ROW
    soonest = state.NEVER
    for first in range(0, s[state.BANKS] * s[state.GROUPS] * s[state.RANKS], s[state.BANKS]):
        if not _any_closed(s, ch, first, field):
            continue
        ready = _latest(s, ch, first, dt.G_ACT)
        soonest = min(soonest, ready)
        if ready <= clock:
            note(s, ch, first, dt.G_ACT, clock)
            count_open(s, ch, first, buffer, s[state.BANKS], clock)
            for bank in range(first, first + s[state.BANKS]):
                s[ch + state.BANK + bank * state.BANK_FIELDS + field] = row
                s[ch + state.PIM_OPEN] |= buffer << bank
            return 1
    if soonest == state.NEVER:
        return 2
    s[ch + state.PIM_NOT_BEFORE] = soonest
    return 0


@kernel
def _any_closed(s: Ints, ch: int, first: int, field: int) -> bool:
    """Say whether a bank of the group from `first` on has no row in that buffer."""
    for bank in range(first, first + s[state.BANKS]):
        if s[ch + state.BANK + bank * state.BANK_FIELDS + field] < 0:
            return True
    return False


@kernel
def _latest(s: Ints, ch: int, first: int, command: int) -> int:
    """Return the first clock at which every bank of the group from `first` on may take a command.

    Rows close one bank a clock: the last bank of a group may be ready later than the first.
    """
    clock = earliest(s, ch, first, command)
    for bank in range(first + 1, first + s[state.BANKS]):
        clock = max(clock, earliest(s, ch, bank, command))
    return clock


@kernel
def _everywhere(s: Ints, ch: int, command: int, clock: int) -> bool:
    """Say whether all banks may take the command, and note from when on they may."""
    latest = 0
    for bank in range(
        0, s[state.BANKS] * s[state.GROUPS] * s[state.RANKS], s[state.BANKS] if s[state.DUAL] else 1
    ):
        latest = max(latest, earliest(s, ch, bank, command))
    s[ch + state.PIM_NOT_BEFORE] = latest
    return latest <= clock


@kernel
def gemv_clocks(s: Ints, comps: int) -> int:
    """Return `dataflow.dram_timing.gemv_clocks`."""
    return s[state.COMP_STEP] * (max(comps, dt.PIM_PIPELINE_STEPS) + 1)


@kernel
def _gemv(s: Ints, ch: int, row: int, comps: int, tag: int, clock: int) -> int:
    opened = _activate_groups(s, ch, row, clock)
    if opened < 2:
        return opened
    if not _everywhere(s, ch, dt.GEMV, clock):
        return 0
    note(s, ch, 0, dt.GEMV, clock)
    for rank in range(s[state.RANKS]):
        at = ch + state.READY_RANK + rank * dt.COMMAND_COUNT + dt.GEMV
        s[at] = clock + gemv_clocks(s, comps)
    s[ch + state.COUNTS + dt.COMP] += comps
    s[ch + state.COUNTS + dt.READRES] += 1
    _answer(s, ch, tag, clock)
    return 1


@kernel
def _comp(s: Ints, ch: int, row: int, clock: int) -> int:
    opened = _activate_groups(s, ch, row, clock)
    if opened < 2:
        return opened
    if not _everywhere(s, ch, dt.COMP, clock):
        return 0
    note(s, ch, 0, dt.COMP, clock)
    if s[ch + state.FIRST_COMP]:
        s[ch + state.FIRST_COMP] = 0
        for rank in range(s[state.RANKS]):
            filled = clock + dt.PIM_PIPELINE_STEPS
            at = ch + state.READY_RANK + rank * dt.COMMAND_COUNT + dt.READRES
            s[at] = max(s[at], filled)
    s[ch + state.PIM_HEAD] += 1
    answer(s, ch, state.UNHEARD, clock + 1)
    return 1


@kernel
def _readres(s: Ints, ch: int, tag: int, last: int, clock: int) -> int:
    if not _everywhere(s, ch, dt.READRES, clock):
        return 0
    note(s, ch, 0, dt.READRES, clock)
    s[ch + state.FIRST_COMP] = 1
    if last:
        s[ch + state.PIM_MODE] = 0
        s[ch + state.RESERVED_ROW] = -1
        s[ch + state.SLACK] = 0
    _answer(s, ch, tag, clock)
    return 1


@kernel
def _answer(s: Ints, ch: int, tag: int, clock: int) -> None:
    answer(s, ch, state.PIM_ANSWER - tag, clock + s[state.READ_DELAY])
    s[ch + state.PIM_HEAD] += 1
