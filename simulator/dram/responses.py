"""The way back from a channel: answers queue up, and two of them leave in a clock.

Source: published NeuPIMs simulator. Everything that a channel was sent is answered, PIM commands
too, and all answers of a channel share one queue to the interconnect. So an acknowledged write or a
COMP can hold up the data of a read.
"""

from __future__ import annotations

from simulator.dram import state
from simulator.dram.state import Ints, kernel

ANSWERS_PER_CLOCK = 2
"""Answers that leave a channel in a clock, at most: the interconnect runs twice as fast."""
BACK_CLOCKS = 2
"""Clocks from the one in which an answer leaves to the one in which the core sees it."""


@kernel
def answer(s: Ints, ch: int, tag: int, clock: int) -> None:
    """Let an answer fall due at `clock`, less than ANSWER_SLOTS ahead; UNHEARD if none waits."""
    at = ch + state.DUE + (clock & (state.ANSWER_SLOTS - 1)) * state.DUE_ROOM
    s[at] += 1
    s[at + s[at]] = tag
    s[ch + state.ANSWERS_DUE] += 1


@kernel
def answer_now(s: Ints, ch: int, tag: int) -> None:
    """Append an answer that falls due in this clock to the queue."""
    s[ch + state.ANSWERS_DUE] += 1
    _queue(s, ch, tag)


@kernel
def fall_due(s: Ints, ch: int, clock: int) -> None:
    """Queue the answers that fall due at `clock`."""
    at = ch + state.DUE + (clock & (state.ANSWER_SLOTS - 1)) * state.DUE_ROOM
    for i in range(s[at]):
        _queue(s, ch, s[at + 1 + i])
    s[at] = 0


@kernel
def leave(s: Ints, ch: int, clock: int) -> None:
    """Send the first answer of the queue to the core, if there is one."""
    if s[ch + state.RESPONSES] == 0:
        return
    tag = s[ch + state.RESPONSE_QUEUE + s[ch + state.RESPONSE_HEAD]]
    s[ch + state.RESPONSE_HEAD] = (s[ch + state.RESPONSE_HEAD] + 1) & (state.RESPONSE_ROOM - 1)
    s[ch + state.RESPONSES] -= 1
    s[ch + state.ANSWERS_DUE] -= 1
    if tag == state.UNHEARD:
        return
    if tag > state.PIM_ANSWER:
        s[ch + state.OUTSTANDING] -= 1
    slot = state.WHEEL + ((clock + BACK_CLOCKS) & (state.WHEEL_SLOTS - 1)) * state.WHEEL_ROOM
    s[slot] += 1
    s[slot + s[slot]] = tag


@kernel
def _queue(s: Ints, ch: int, tag: int) -> None:
    last = (s[ch + state.RESPONSE_HEAD] + s[ch + state.RESPONSES]) & (state.RESPONSE_ROOM - 1)
    s[ch + state.RESPONSE_QUEUE + last] = tag
    s[ch + state.RESPONSES] += 1
