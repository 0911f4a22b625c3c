"""Answers of a channel leave in the order in which they fall due, two in a clock."""

import numpy as np

from dataflow.dram_timing import HBM2
from simulator.dram import responses, state
from tests.dram.streams import channel, program


def test_answers_queue_for_the_way_back() -> None:
    s, ch = channel(HBM2, program(np.zeros((0, 5), np.int64)), refresh=False)
    s[ch + state.OUTSTANDING] = 4
    for tag, clock in ((7, 5), (8, 5), (state.UNHEARD, 5), (9, 6), (state.PIM_ANSWER, 5), (3, 4)):
        responses.answer(s, ch, tag, clock)
    seen = {}
    for clock in range(10):
        responses.fall_due(s, ch, clock)
        for _ in range(responses.ANSWERS_PER_CLOCK):
            responses.leave(s, ch, clock)
    wheel = s[state.WHEEL : state.FIRST_RECORD].reshape(state.WHEEL_SLOTS, state.WHEEL_ROOM)
    for slot in np.flatnonzero(wheel[:, 0]).tolist():
        seen[slot] = wheel[slot, 1 : 1 + wheel[slot, 0]].tolist()
    assert seen == {6: [3], 7: [7, 8], 8: [state.PIM_ANSWER], 9: [9]}
    assert s[ch + state.OUTSTANDING] == s[ch + state.ANSWERS_DUE] == 0
