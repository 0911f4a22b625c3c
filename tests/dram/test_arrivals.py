"""The path from the core to a channel: one request leaves it in a cycle of the interconnect."""

import numpy as np

from simulator.dram import arrivals, state
from tests.dram.test_controller import device, transfers

NO_PROGRAM = np.zeros((1, 8), np.int64)


def arrivals_by_cycle(npu: np.ndarray, other: np.ndarray, cycles: int) -> list[list[int]]:
    """Return the cycles at which a channel that takes all at once gets each side's requests."""
    s, ch = device(refresh=False)
    found: list[list[int]] = [[], []]
    for cycle in range(cycles):
        for side in (0, 1):
            if arrivals.arrived(s, ch, side, npu, other, NO_PROGRAM, cycle):
                s[ch + state.ARRIVED + side] -= 1
                found[side].append(cycle)
    return found


def test_a_side_alone_has_the_path_for_itself() -> None:
    npu, other = transfers([(3, 1, 4, False)]), transfers([])
    assert arrivals_by_cycle(npu, other, 40) == [[8, 9, 10, 11], []]


def test_sides_that_send_at_once_take_turns() -> None:
    npu, other = transfers([(3, 1, 4, False)]), transfers([(3, 8, 4, True)])
    assert arrivals_by_cycle(npu, other, 40) == [[8, 10, 12, 14], [9, 11, 13, 15]]


def test_who_comes_later_queues_behind_what_both_gave_at_once() -> None:
    npu = transfers([(3, 1, 6, False)])
    other = transfers([(3, 8, 2, True), (2, 12, 1, True)])
    assert arrivals_by_cycle(npu, other, 40) == [[8, 10, 12, 13, 14, 16], [9, 11, 15]]
