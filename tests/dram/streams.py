"""PIM streams for the tests, stepped by the controller of one channel."""

from collections.abc import Sequence

import numpy as np

from dataflow.dram_timing import DramTiming
from simulator.dram import controller, state
from simulator.dram.closed_form import Run
from simulator.dram.lines import STREAM_FIELDS
from simulator.dram.pim import (
    COMP_OP,
    GEMV_OP,
    GWRITE_OP,
    HEADER_OP,
    PIM_FIELDS,
    READRES_OP,
)

NO_TRANSFERS = np.zeros((1, STREAM_FIELDS), np.int64)


def program(runs: Sequence[Run], *, dual: bool = True) -> np.ndarray:
    """Return the instructions of `runs`, all handed over at clock 0; row 0 is not used."""
    rows, tile_row = [[0] * PIM_FIELDS], 1 << 20
    for run in runs:
        if not run.gemvs:
            rows.append([GWRITE_OP, 0, 0, 0, 0, 0, 0])
            continue
        for _ in range(run.count):
            tile_row += 1
            rows.append([HEADER_OP, tile_row, run.announced_comps, run.announced_results, 0, 0, 0])
            for i in range(run.gemvs):
                last = int(i == run.gemvs - 1)
                if dual:
                    rows.append([GEMV_OP, tile_row, run.comps, 1, 0, last, 0])
                    continue
                rows += [[COMP_OP, tile_row, 1, 0, 0, 0, 0]] * run.comps
                rows.append([READRES_OP, tile_row, 0, 1, 0, last, 0])
    return np.array(rows, np.int64)


def channel(
    timing: DramTiming, instructions: np.ndarray, *, refresh: bool, dual: bool = True
) -> tuple:
    """Return the state of a channel to which a program was sent, and its offset."""
    s = state.device_state(
        timing,
        dual=dual,
        refresh=refresh,
        device_channels=1,
        channels=[0],
        span_bytes=1 << 16,
        outstanding=1 << 30,
        elements_per_transfer=16,
    )
    ch = state.record(s, 0)
    s[ch + state.PIM_SENT] = s[ch + state.PIM_QUEUED] = s[ch + state.PIM_HEAD] = 1
    s[ch + state.PIM_END] = len(instructions)
    return s, ch


def stepped_clocks(
    timing: DramTiming, runs: Sequence[Run], *, refresh: bool, dual: bool = True
) -> int:
    """Return the clock of the last sums' command, one clock of the controller after the other."""
    instructions = program(runs, dual=dual)
    s, ch = channel(timing, instructions, refresh=refresh, dual=dual)
    clock = 0
    while s[ch + state.PIM_HEAD] < len(instructions):
        controller.run(s, ch, NO_TRANSFERS, NO_TRANSFERS, instructions, clock, clock + 1)
        clock += 1
        s[state.WHEEL : state.FIRST_RECORD : state.WHEEL_ROOM] = 0
    return clock - 1
