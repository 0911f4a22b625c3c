"""Skipping clocks changes nothing: the controller against itself, one clock after the other."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflow.dram_timing import HBM2
from simulator.dram import controller, state
from simulator.dram.lines import ANSWER_TO, STREAM_FIELDS
from simulator.dram.striped import striped_clocks
from tests.dram.streams import NO_TRANSFERS, program
from tests.dram.test_closed_form import streams

SPAN = 1 << 20


def device(*, refresh: bool, dual: bool = True) -> tuple[np.ndarray, int]:
    s = state.device_state(
        HBM2,
        dual=dual,
        refresh=refresh,
        device_channels=1,
        channels=[0],
        span_bytes=SPAN,
        outstanding=4352,
        elements_per_transfer=4096,
    )
    return s, state.record(s, 0)


def transfers(found: list[tuple[int, int, int, bool]]) -> np.ndarray:
    """Return a stream of (clocks after the one before, line, lines, store)."""
    rows, clock = np.zeros((len(found) + 1, STREAM_FIELDS), np.int64), 0
    rows[0, 0] = len(found)
    for tag, (gap, line, lines, store) in enumerate(found):
        clock += gap
        rows[tag + 1, : ANSWER_TO + 1] = clock, 64 * line - 2, 32 * lines, int(store), tag
    return rows


def run(s, ch, npu, instructions, end: int, step: int) -> np.ndarray:
    """Advance a channel in steps of that many clocks; return its record and every answer.

    Of the record CHANGED is left out, which is of the last clock that was looked at.
    """
    answers = []
    for clock in range(0, end, step):
        controller.run(s, ch, npu, NO_TRANSFERS, instructions, clock, min(end, clock + step))
        wheel = s[state.WHEEL : state.FIRST_RECORD].reshape(state.WHEEL_SLOTS, state.WHEEL_ROOM)
        for slot in np.flatnonzero(wheel[:, 0]).tolist():
            answers += [(slot, tag) for tag in wheel[slot, 1 : 1 + wheel[slot, 0]].tolist()]
        wheel[:, 0] = 0
    s[ch + state.CHANGED] = 0
    return s[ch:].copy(), sorted(answers)


accesses = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 4000), st.integers(1, 64), st.booleans()),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(accesses, streams(rounded_down=True), st.booleans(), st.sampled_from([7, 64, 128]))
def test_a_channel_does_the_same_whatever_it_skips(found, stream, refresh, step) -> None:
    npu, instructions = transfers(found), program(stream)
    outcomes = []
    for clocks in (1, step):
        s, ch = device(refresh=refresh)
        s[ch + state.PIM_SENT] = s[ch + state.PIM_QUEUED] = s[ch + state.PIM_HEAD] = 1
        s[ch + state.PIM_END] = len(instructions)
        record, answers = run(s, ch, npu.copy(), instructions, 5_000, clocks)
        outcomes.append((record.tolist(), answers))
    assert outcomes[0] == outcomes[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 7000), st.sampled_from([4, 16, 64]), st.booleans())
@example(974, 4, True)  # a refresh falls due at the end, as a row has just opened
def test_a_striped_stream_is_as_near_to_the_controller_as_stated(lines, each, refresh) -> None:
    npu = transfers([(0, 1 + i, min(each, lines - i), False) for i in range(0, lines, each)])
    s, ch = device(refresh=refresh)
    clock, instructions = 0, np.zeros((1, 8), np.int64)
    while s[ch + state.COUNTS] < lines:
        controller.run(s, ch, npu, NO_TRANSFERS, instructions, clock, clock + 1)
        clock += 1
        s[state.WHEEL : state.FIRST_RECORD : state.WHEEL_ROOM] = 0
    clock += HBM2.read_delay
    rows = HBM2.ras + HBM2.banks_total // HBM2.ranks + HBM2.rp + HBM2.rcd_read
    accesses = HBM2.burst * HBM2.row_bytes // HBM2.access_bytes
    not_hidden = HBM2.rfc + rows + accesses if refresh else 0
    law = striped_clocks(HBM2, 64 * lines, channels=1, refresh=refresh)
    assert clock - not_hidden - 8 - clock / 200 <= law <= clock + 8 + clock / 200
