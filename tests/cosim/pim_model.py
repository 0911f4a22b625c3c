"""The simulator's kernel as the model of the PIM hardware: what is legal, and what it issues."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dataflow.dram_rules import BROADCAST, Issued, Rows, banks_of, refusal, rows_after
from dataflow.dram_timing import (
    ACT,
    COMMANDS,
    COMP,
    G_ACT,
    GEMV,
    HBM2,
    PIM_PIPELINE_STEPS,
    READRES,
    REF,
    DramTiming,
    gemv_clocks,
)
from simulator.dram import bank as kernel
from simulator.dram import controller, pim, state
from simulator.dram.state import FIRST_RECORD

SMALL = replace(HBM2, ranks=2, groups=2, banks=2, rows=16, row_bytes=256)
"""Eight banks with rows of four accesses: 128 values, eight COMP."""

UNLIKE = replace(
    SMALL,
    source="every number another, so that none can stand for its neighbour",
    burst=3,
    read_latency=19,
    write_latency=7,
    rcd_read=17,
    rcd_write=13,
    rp=11,
    ras=37,
    rrd_s=5,
    rrd_l=9,
    faw=41,
    ccd_s=2,
    ccd_l=6,
    wtr_s=8,
    wtr_l=12,
    wr=21,
    rtp=10,
    rtrs=4,
    rfc=71,
)


def idle_state(timing: DramTiming, *, dual: bool, refresh: bool = False) -> np.ndarray:
    """Return one idle channel of the simulator."""
    return state.device_state(
        timing,
        dual=dual,
        refresh=refresh,
        device_channels=1,
        channels=[0],
        span_bytes=1 << 16,
        outstanding=64,
        elements_per_transfer=64,
    )


def bank_fields(timing: DramTiming, s: np.ndarray) -> np.ndarray:
    """Return the fields of every bank, a view."""
    first = FIRST_RECORD + state.BANK
    rows = s[first : first + timing.banks_total * state.BANK_FIELDS]
    return rows.reshape(-1, state.BANK_FIELDS)


@dataclass
class Legality:
    """The simulator's timing state of a channel, and the rows that the commands leave open."""

    timing: DramTiming
    dual: bool
    history: list[Issued] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = idle_state(self.timing, dual=self.dual)
        self.rows: Rows = rows_after(self.timing, [], dual=self.dual)
        self.filling = False

    def earliest(self, command: int, bank: int) -> int:
        """Return the first clock that the kernel allows, for all the banks of the command."""
        banks = banks_of(self.timing, command, bank)
        return max(int(kernel.earliest(self.state, FIRST_RECORD, b, command)) for b in banks)

    def allows(self, command: int, bank: int, row: int, clock: int) -> bool:
        """Say whether the command may issue now."""
        if command >= len(COMMANDS):
            return False
        why = refusal(self.timing, self.rows, command, bank, row, dual=self.dual)
        return not why and self.earliest(command, bank) <= clock

    def issue(self, done: Issued) -> None:
        """Tell the kernel; what its PIM controller adds to the table is added here alike."""
        s, ch = self.state, FIRST_RECORD
        at = 0 if done.command in BROADCAST else done.bank
        kernel.note(s, ch, at, done.command, done.clock)
        ranks = [ch + state.READY_RANK + r * len(COMMANDS) for r in range(self.timing.ranks)]
        if done.command == GEMV:
            for rank in ranks:
                s[rank + GEMV] = done.clock + gemv_clocks(self.timing, done.comps)
        if done.command == COMP and not self.filling:
            self.filling = True
            for rank in ranks:
                s[rank + READRES] = max(s[rank + READRES], done.clock + PIM_PIPELINE_STEPS)
        if done.command == READRES:
            self.filling = False
        self.history.append(done)
        self.rows.follow(self.timing, done)


def run_program(
    timing: DramTiming, program: np.ndarray, *, dual: bool, refresh: bool, first_clock: int = 0
) -> tuple[list[Issued], list[int]]:
    """Run a PIM program in the simulator's controller, alone in a channel that was idle till then.

    Returns the commands, and the clock in which each instruction leaves the queue.
    """
    s, ch = idle_state(timing, dual=dual, refresh=refresh), FIRST_RECORD
    s[[ch + state.PIM_SENT, ch + state.PIM_QUEUED, ch + state.PIM_END]] = len(program)
    commands: list[Issued] = []
    left: list[int] = []
    clock = first_clock
    while len(left) < len(program):
        before = s.copy()
        controller.tick(s, ch, program, clock)
        head = int(before[ch + state.PIM_HEAD])
        found = _issued(timing, before, s, program[min(head, len(program) - 1)], clock)
        commands += [found] if found else []
        left += [clock] if s[ch + state.PIM_HEAD] > head else []
        clock += 1
        assert clock < first_clock + 50_000, "the program does not end"
    return commands, left


def _issued(
    timing: DramTiming, before: np.ndarray, after: np.ndarray, instruction: np.ndarray, clock: int
) -> Issued | None:
    """Find the command of a clock by what changed: counts, open rows, the rank due."""
    ch = FIRST_RECORD
    counts = slice(ch + state.COUNTS, ch + state.COUNTS + len(COMMANDS))
    new = np.flatnonzero(after[counts] - before[counts])
    if not len(new):
        return None
    command = GEMV if GEMV in new else int(new[0])
    if command == GEMV:
        return Issued(clock, GEMV, 0, 0, int(instruction[pim.COMPS]))
    if command == REF:
        due = int(before[ch + state.REFRESH_DUE])
        rank = due if due >= 0 else int(before[ch + state.REFRESH_RANK])
        return Issued(clock, REF, rank * timing.groups * timing.banks)
    fields = [state.OPEN_ROW, state.PIM_ROW]
    old, held = (bank_fields(timing, s)[:, fields] for s in (before, after))
    changed = np.flatnonzero((old != held).any(axis=1))
    bank = int(changed[0]) if len(changed) else 0
    row = max(0, int(held[bank, int((old != held)[bank].argmax())]))
    return Issued(clock, command, bank, row if command in (ACT, G_ACT) else 0)
