"""The device clock by clock: both sides of the core, and every DRAM channel.

Source: published NeuPIMs simulator. Each clock runs the core, then every channel's controller, then
the interconnect. A stage runs the NPU's operators and the PIM's side by side and ends when both
have.
"""

from __future__ import annotations

from simulator.accelerators.neupims import core, program
from simulator.accelerators.neupims.core import part_of
from simulator.accelerators.neupims.npu import VECTOR_UNITS
from simulator.accelerators.neupims.program import Ints
from simulator.dram import controller, state
from simulator.dram.responses import ANSWERS_PER_CLOCK, BACK_CLOCKS
from simulator.dram.state import kernel

LONGEST_WINDOW = 128
"""Clocks that channels may run ahead of the core; an answer must not meet its slot's last one."""


@kernel
def _answers(s: Ints, npu: Ints, other: Ints, clock: int) -> None:
    """Hand the core the data and acknowledgements that reach it with this clock."""
    slot = state.WHEEL + (clock & (state.WHEEL_SLOTS - 1)) * state.WHEEL_ROOM
    for i in range(s[slot]):
        tag = s[slot + 1 + i]
        if tag <= state.PIM_ANSWER:
            other[other[core.LOADS_LEFT_AT] + state.PIM_ANSWER - tag] -= 1
            other[core.ANSWERS_LEFT] -= 1
            continue
        if tag == state.WRITE_ANSWER:
            npu[core.WRITES_LEFT] -= 1
        elif tag < 0:
            other[core.WRITES_LEFT] -= 1
        else:
            npu[npu[core.LOADS_LEFT_AT] + tag] -= 1
            npu[core.ANSWERS_LEFT] -= 1
    s[slot] = 0


@kernel
def _silence(s: Ints, e: Ints, p: Ints, clock: int) -> int:
    """Return for how many clocks a side sends nothing for sure, whatever it is answered.

    A lower bound: it takes at least as long until the gate of the next load opens, the next store
    has its result, and the operator ends.
    """
    if core.ended(e):
        return LONGEST_WINDOW
    operator = e[core.OPERATOR]
    if not e[core.RUNNING]:
        return 0
    bound = _least_rest(s, e)
    if e[core.NEXT_LOAD] < part_of(p, operator + 1, program.LOAD_FROM):
        steps = part_of(p, operator + 1, program.STEP_FROM) - part_of(
            p, operator, program.STEP_FROM
        )
        waits_for = p[p[program.GATES_AT] + e[core.NEXT_LOAD]] - (steps - e[core.STEPS_LEFT])
        bound = min(bound, max(0, waits_for - 1) // (VECTOR_UNITS + 1))
    store, end = e[core.NEXT_STORE], part_of(p, operator + 1, program.STORE_FROM)
    turns = 0
    while store < end and turns < LONGEST_WINDOW and not p[_store_at(p, store)]:
        store += 1
        turns += 1
    if store < end:
        bound = min(bound, turns + _least_wait(s, e, p, store, clock))
    return bound


@kernel
def _store_at(p: Ints, store: int) -> int:
    return p[program.STORES_AT] + program.STORE_FIELDS * store + program.STORE_ELEMENTS


@kernel
def _least_rest(s: Ints, e: Ints) -> int:
    """Return the least number of clocks until the operator ends."""
    at_once = s[state.CHANNELS] * ANSWERS_PER_CLOCK
    rest = max(e[core.ANSWERS_LEFT] - 1, e[core.WRITES_LEFT] - 1) // at_once
    return max(rest, (e[core.STEPS_LEFT] - 1) // (VECTOR_UNITS + 1))


@kernel
def _least_wait(s: Ints, e: Ints, p: Ints, store: int, clock: int) -> int:
    """Return the least number of clocks until a store may go."""
    at = p[program.STORES_AT] + program.STORE_FIELDS * store
    left, early = (
        e[e[core.RESULTS_LEFT_AT] + p[at + program.STORE_RESULT]],
        p[at + program.EARLY_LOAD],
    )
    if left == 0 or (left < 0 and early >= 0):
        return 0
    if left > 0:
        soonest = clock + LONGEST_WINDOW
        for pipe in range(VECTOR_UNITS + 1):
            head = e[core.PIPE_HEAD + pipe]
            if head < e[core.PIPE_TAIL + pipe]:
                flight = e[core.FLIGHTS_AT] + 2 * (pipe * e[core.FLIGHT_ROOM] + head)
                soonest = min(soonest, e[flight])
        return max(0, soonest - clock)
    wait = e[core.LEAST_LATENCY]
    if p[program.GROUPED] and e[core.NEXT_STEP] < part_of(
        p, e[core.OPERATOR] + 1, program.STEP_FROM
    ):
        step = p[program.STEPS_AT] + e[core.NEXT_STEP] * program.STEP_FIELDS
        missing = 0
        for group in range(p[step + program.NEEDS_FIRST], p[step + program.NEEDS_LAST] + 1):
            missing += e[e[core.LOADS_LEFT_AT] + group]
        wait += max(0, missing - 1) * s[state.COMP_STEP] // s[state.CHANNELS]
    return wait


@kernel
def run_stage(
    s: Ints,
    npu: Ints,
    npu_program: Ints,
    other: Ints,
    other_program: Ints,
    pim_program: Ints,
    npu_stream: Ints,
    other_stream: Ints,
    cursor: Ints,
    clock: int,
    start: int,
    lead: int,
) -> int:
    """Run both sides up to their OPERATORS_END; return the clock when both ended.

    The channels go on from `clock`, the core begins at `start`. While the core sends nothing for
    sure, the channels run ahead of it, up to `lead` clocks (0 to LONGEST_WINDOW); else they follow
    some clocks behind, as no answer is faster than BACK_CLOCKS.
    """
    for i in range(s[state.CHANNELS]):
        ch = state.FIRST_RECORD + i * s[state.STRIDE]
        controller.run(s, ch, npu_stream, other_stream, pim_program, clock, start)
    clock = start
    while True:
        now = clock
        ahead = min(_silence(s, npu, npu_program, clock), _silence(s, other, other_program, clock))
        ahead = min(ahead, lead)
        if ahead > BACK_CLOCKS:
            for i in range(s[state.CHANNELS]):
                ch = state.FIRST_RECORD + i * s[state.STRIDE]
                controller.run(s, ch, npu_stream, other_stream, pim_program, clock, clock + ahead)
        while now < clock + max(ahead, BACK_CLOCKS):
            _answers(s, npu, other, now)
            core.advance(s, npu, npu_program, pim_program, npu_stream, cursor, now)
            core.advance(s, other, other_program, pim_program, other_stream, cursor, now)
            now += 1
            if core.ended(npu) and core.ended(other):
                break
        if ahead <= BACK_CLOCKS:
            for i in range(s[state.CHANNELS]):
                ch = state.FIRST_RECORD + i * s[state.STRIDE]
                controller.run(s, ch, npu_stream, other_stream, pim_program, clock, now)
        clock = now
        if core.ended(npu) and core.ended(other):
            return clock
