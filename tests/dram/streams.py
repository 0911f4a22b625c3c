"""PIM streams for the tests, stepped by the controller of one channel."""

import numpy as np

from dataflow.dram_timing import DramTiming
from simulator.dram import closed_form, controller, state
from simulator.dram.closed_form import TILE_ITEM
from simulator.dram.lines import STREAM_FIELDS
from simulator.dram.pim import GEMV_OP, GWRITE_OP, HEADER_OP, PIM_FIELDS

NO_TRANSFERS = np.zeros((1, STREAM_FIELDS), np.int64)


def program(items: np.ndarray) -> np.ndarray:
    """Return the instructions of `items`, all handed over at clock 0; row 0 is not used."""
    rows, tile_row = [[0] * PIM_FIELDS], 1 << 20
    for kind, gemvs, comps, announced, results in items.tolist():
        if kind != TILE_ITEM:
            rows.append([GWRITE_OP, 0, 0, 0, 0, 0, 0])
            continue
        tile_row += 1
        rows.append([HEADER_OP, tile_row, announced, results, 0, 0, 0])
        rows += [[GEMV_OP, tile_row, comps, 1, 0, int(i == gemvs - 1), 0] for i in range(gemvs)]
    return np.array(rows, np.int64)


def channel(timing: DramTiming, instructions: np.ndarray, *, refresh: bool) -> tuple:
    """Return the state of a channel to which a program was sent, and its offset."""
    s = state.device_state(
        timing,
        dual=True,
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


def stepped_clocks(timing: DramTiming, items: np.ndarray, *, refresh: bool) -> int:
    """Return the clock of the last GEMV, one clock of the controller after the other."""
    instructions = program(items)
    s, ch = channel(timing, instructions, refresh=refresh)
    clock = 0
    while s[ch + state.PIM_HEAD] < len(instructions):
        controller.run(s, ch, NO_TRANSFERS, NO_TRANSFERS, instructions, clock, clock + 1)
        clock += 1
        s[state.WHEEL : state.FIRST_RECORD : state.WHEEL_ROOM] = 0
    return clock - 1


def law(timing: DramTiming, items: np.ndarray, *, refresh: bool) -> int:
    """Return what the closed form makes of `items`."""
    return closed_form.stream_clocks(timing, items, refresh=refresh)
