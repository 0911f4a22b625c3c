"""The way to a channel: both sides of the core share one path into the interconnect.

Source: published NeuPIMs simulator. The core has a queue for each side and channel. The
interconnect runs twice as fast as the core; in each of its cycles both queues give their first
request to one path, the NPU's first, and one request leaves that path. Behind it each side has a
queue of its own again, from which the channel takes at most one request in a cycle. So a side that
sends much holds up the other: by as many requests as both gave at the same time.
"""

from __future__ import annotations

from simulator.dram import state
from simulator.dram.lines import SENT_AT, lines_of
from simulator.dram.pim import TIME
from simulator.dram.state import Ints, kernel

CYCLES_PER_CLOCK = 2
"""Cycles of the interconnect in a clock."""


@kernel
def arrived(s: Ints, ch: int, side: int, npu: Ints, other: Ints, program: Ints, cycle: int) -> bool:
    """Say whether a request of a side waits at the channel, after what left the path before.

    The path knows nothing of what the channel does, so it is followed only as far as is asked for.
    """
    while s[ch + state.ARRIVED + side] == 0:
        given = (next_given(s, ch, 0, npu, program), next_given(s, ch, 1, other, program))
        first = 0 if given[0] <= given[1] else 1
        at = min(given[0], given[1])
        leaves = max(at, s[ch + state.LEFT_PATH_AT]) + 1
        if leaves >= cycle:
            return False
        s[ch + state.LEFT_PATH_AT] = leaves
        _give(s, ch, first, npu if first == 0 else other, program)
        s[ch + state.GIVEN_AT + first] = at
        s[ch + state.ARRIVED + first] += 1
    return True


@kernel
def next_given(s: Ints, ch: int, side: int, stream: Ints, program: Ints) -> int:
    """Return the cycle in which a side gives its next request to the path, NEVER if it has none."""
    after = s[ch + state.GIVEN_AT + side] + 1
    if s[ch + state.TO_GIVE + side]:
        return after
    sent = _next_transfer(s, ch, side, stream)
    if side == 1:
        sent = min(sent, _next_instruction(s, ch, program))
    return state.NEVER if sent == state.NEVER else max(CYCLES_PER_CLOCK * sent, after)


@kernel
def _next_transfer(s: Ints, ch: int, side: int, stream: Ints) -> int:
    """Return when the core sent the next transfer that has lines here, NEVER if there is none."""
    index = s[ch + state.ENTERED + side] + 1
    while index <= stream[0, 0] and lines_of(s, s[ch + state.NUMBER], stream, index) == 0:
        index += 1
    s[ch + state.ENTERED + side] = index - 1
    return stream[index, SENT_AT] if index <= stream[0, 0] else state.NEVER


@kernel
def _next_instruction(s: Ints, ch: int, program: Ints) -> int:
    index = s[ch + state.PIM_SENT] + s[ch + state.PIM_ARRIVED]
    return program[index, TIME] if index < s[ch + state.PIM_END] else state.NEVER


@kernel
def _give(s: Ints, ch: int, side: int, stream: Ints, program: Ints) -> None:
    """Take the next request off a side's queue: a PIM instruction goes before what follows it."""
    if s[ch + state.TO_GIVE + side]:
        s[ch + state.TO_GIVE + side] -= 1
        return
    sent = _next_transfer(s, ch, side, stream)
    if side == 1:
        instruction = _next_instruction(s, ch, program)
        if instruction <= sent and instruction < state.NEVER:
            s[ch + state.PIM_ARRIVED] += 1
            return
    index = s[ch + state.ENTERED + side] + 1
    s[ch + state.ENTERED + side] = index
    s[ch + state.TO_GIVE + side] = lines_of(s, s[ch + state.NUMBER], stream, index) - 1
