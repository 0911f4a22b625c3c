"""The order of a transfer's lines: an own robin-hood set, and what its slots say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.dram_timing import HBM2
from simulator.dram import lines, state

CHANNELS = 4
SPAN = 1 << 22


def device(elements: int) -> np.ndarray:
    return state.device_state(
        HBM2,
        dual=True,
        refresh=False,
        device_channels=CHANNELS,
        channels=range(CHANNELS),
        span_bytes=SPAN,
        outstanding=4352,
        elements_per_transfer=elements,
    )


class RobinHoodSet:
    """A set of hashes: slots of [distance and bits, line], by the rules that `lines` names."""

    def __init__(self) -> None:
        self.capacity, self.bits = 8, 5
        self.slots: dict[int, tuple[int, int, int]] = {}

    def crowded(self) -> bool:
        """Say whether a line lies too far from home to be moved on."""
        return any(d + 1 > (256 >> self.bits) - 1 for d, _, _ in self.slots.values())

    def insert(self, line: int, h: int) -> None:
        if len(self.slots) >= self.capacity * 8 // 10:
            old = [self.slots[i] for i in sorted(self.slots)]
            self.capacity, self.bits, self.slots = 2 * self.capacity, 5, {}
            for _, _, (moved, key) in old:
                self._place(moved, key)
        if self.crowded():
            self.bits -= 1
            self.slots = {i: (d, b >> 1, kept) for i, (d, b, kept) in self.slots.items()}
        self._place(line, h)

    def _place(self, line: int, h: int) -> None:
        slot, distance = (h >> 5) % self.capacity, 1
        new = (distance, (h & 31) >> (5 - self.bits), (line, h))
        while slot in self.slots and new[:2] <= self.slots[slot][:2]:
            slot, new = slot + 1, (new[0] + 1, *new[1:])
        while new:
            self.slots[slot], new = new, self.slots.get(slot)
            new = new and (new[0] + 1, *new[1:])
            slot += 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, SPAN // 64 - 1), st.integers(1, 1024), st.integers(0, 31))
def test_lines_leave_in_the_order_of_a_robin_hood_set(first: int, count: int, offset: int) -> None:
    elements = 32 * count
    s = device(elements)
    stream = np.zeros((2, lines.STREAM_FIELDS), np.int64)
    stream[1, : lines.ANSWER_TO] = 0, 64 * first + 2 * offset - 2, elements, 0
    addresses = (64 * first + 2 * offset + 2 * np.arange(elements)) % SPAN // 64
    expected = RobinHoodSet()
    for line in dict.fromkeys(addresses.tolist()):
        expected.insert(line, int(lines.line_hash(s, line)))
    order = [expected.slots[i][2][0] for i in sorted(expected.slots)]
    for i in range(CHANNELS):
        ch = state.record(s, i)
        lines.expand(s, ch, 0, stream, 1)
        found = s[ch + s[state.LINES_AT] :][: s[ch + state.LINE_COUNT]] & 0xFFFFFFFF
        assert found.tolist() == [line for line in order if line % CHANNELS == i]


@pytest.mark.parametrize(("count", "slots"), [(6, 8), (7, 16), (25, 32), (26, 64)])
def test_a_set_doubles_when_four_slots_in_five_are_taken(count: int, slots: int) -> None:
    s = device(32 * count)
    stream = np.zeros((2, lines.STREAM_FIELDS), np.int64)
    stream[1, : lines.ANSWER_TO] = 0, -2, 32 * count, 0
    lines.collect(s, stream, 1)
    assert stream[1, lines.CAPACITY] == slots
