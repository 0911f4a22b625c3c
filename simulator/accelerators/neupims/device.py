"""The device clock by clock: both sides of the core, and every DRAM channel.

Source: published NeuPIMs simulator. Each clock runs the core, then every channel's controller, then
the interconnect. A stage runs the NPU's operators and the PIM's side by side and ends when both
have.
"""

from __future__ import annotations

from simulator.accelerators.neupims import core
from simulator.accelerators.neupims.core import (
    ANSWERS_LEFT,
    FLIGHT_ROOM,
    FLIGHTS_AT,
    LEAST_LATENCY,
    LOADS_LEFT_AT,
    NEXT_LOAD,
    NEXT_STEP,
    NEXT_STORE,
    OPERATOR,
    OPERATORS_END,
    PIPE_HEAD,
    PIPE_TAIL,
    RESULTS_LEFT_AT,
    RUNNING,
    STEPS_LEFT,
    VECTOR_PIPELINES,
    WRITES_LEFT,
    part_of,
)
from simulator.accelerators.neupims.program import (
    EARLY_LOAD,
    GATES_AT,
    GROUPED,
    LOAD_FROM,
    NEEDS_FIRST,
    NEEDS_LAST,
    STEP_FIELDS,
    STEP_FROM,
    STEPS_AT,
    STORE_ELEMENTS,
    STORE_FIELDS,
    STORE_FROM,
    STORE_RESULT,
    STORES_AT,
    Ints,
)
from simulator.dram import controller
from simulator.dram.responses import ANSWERS_PER_CLOCK, BACK_CLOCKS
from simulator.dram.state import (
    CHANNELS,
    COMP_STEP,
    FIRST_RECORD,
    PIM_ANSWER,
    STRIDE,
    WHEEL,
    WHEEL_ROOM,
    WHEEL_SLOTS,
    WRITE_ANSWER,
    kernel,
)

LONGEST_WINDOW = 128
"""Clocks that channels may run ahead of the core; an answer must not meet its slot's last one."""


@kernel
def _answers(s: Ints, npu: Ints, other: Ints, clock: int) -> None:
    """Hand the core the data and acknowledgements that reach it with this clock."""
    slot = WHEEL + (clock & (WHEEL_SLOTS - 1)) * WHEEL_ROOM
    for i in range(s[slot]):
        tag = s[slot + 1 + i]
        if tag <= PIM_ANSWER:
            other[other[LOADS_LEFT_AT] + PIM_ANSWER - tag] -= 1
            other[ANSWERS_LEFT] -= 1
            continue
        if tag == WRITE_ANSWER:
            npu[WRITES_LEFT] -= 1
        elif tag < 0:
            other[WRITES_LEFT] -= 1
        else:
            npu[npu[LOADS_LEFT_AT] + tag] -= 1
            npu[ANSWERS_LEFT] -= 1
    s[slot] = 0


@kernel
def _silence(s: Ints, e: Ints, p: Ints, clock: int) -> int:
    """Return for how many clocks a side sends nothing for sure, whatever it is answered.

    A lower bound: it takes at least as long until the gate of the next load opens, the next store
    has its result, and the operator ends.
    """
    operator = e[OPERATOR]
    if operator == e[OPERATORS_END]:
        return LONGEST_WINDOW
    if not e[RUNNING]:
        return 0
    bound = _least_rest(s, e)
    if e[NEXT_LOAD] < part_of(p, operator + 1, LOAD_FROM):
        steps = part_of(p, operator + 1, STEP_FROM) - part_of(p, operator, STEP_FROM)
        waits_for = p[p[GATES_AT] + e[NEXT_LOAD]] - (steps - e[STEPS_LEFT])
        bound = min(bound, max(0, waits_for - 1) // (VECTOR_PIPELINES + 1))
    store, end = e[NEXT_STORE], part_of(p, operator + 1, STORE_FROM)
    turns = 0
    while store < end and turns < LONGEST_WINDOW and not p[_store_at(p, store)]:
        store += 1
        turns += 1
    if store < end:
        bound = min(bound, turns + _least_wait(s, e, p, store, clock))
    return bound


@kernel
def _store_at(p: Ints, store: int) -> int:
    return p[STORES_AT] + STORE_FIELDS * store + STORE_ELEMENTS


@kernel
def _least_rest(s: Ints, e: Ints) -> int:
    """Return the least number of clocks until the operator ends."""
    at_once = s[CHANNELS] * ANSWERS_PER_CLOCK
    rest = max(e[ANSWERS_LEFT] - 1, e[WRITES_LEFT] - 1) // at_once
    return max(rest, (e[STEPS_LEFT] - 1) // (VECTOR_PIPELINES + 1))


@kernel
def _least_wait(s: Ints, e: Ints, p: Ints, store: int, clock: int) -> int:
    """Return the least number of clocks until a store may go."""
    at = p[STORES_AT] + STORE_FIELDS * store
    left, early = e[e[RESULTS_LEFT_AT] + p[at + STORE_RESULT]], p[at + EARLY_LOAD]
    if left == 0 or (left < 0 and early >= 0):
        return 0
    if left > 0:
        soonest = clock + LONGEST_WINDOW
        for pipe in range(VECTOR_PIPELINES + 1):
            head = e[PIPE_HEAD + pipe]
            if head < e[PIPE_TAIL + pipe]:
                flight = e[FLIGHTS_AT] + 2 * (pipe * e[FLIGHT_ROOM] + head)
                soonest = min(soonest, e[flight])
        return max(0, soonest - clock)
    wait = e[LEAST_LATENCY]
    if p[GROUPED] and e[NEXT_STEP] < part_of(p, e[OPERATOR] + 1, STEP_FROM):
        step = p[STEPS_AT] + e[NEXT_STEP] * STEP_FIELDS
        missing = 0
        for group in range(p[step + NEEDS_FIRST], p[step + NEEDS_LAST] + 1):
            missing += e[e[LOADS_LEFT_AT] + group]
        wait += max(0, missing - 1) * s[COMP_STEP] // s[CHANNELS]
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
    for i in range(s[CHANNELS]):
        ch = FIRST_RECORD + i * s[STRIDE]
        controller.run(s, ch, npu_stream, other_stream, pim_program, clock, start)
    clock = start
    while True:
        now = clock
        ahead = min(_silence(s, npu, npu_program, clock), _silence(s, other, other_program, clock))
        ahead = min(ahead, lead)
        if ahead > BACK_CLOCKS:
            for i in range(s[CHANNELS]):
                ch = FIRST_RECORD + i * s[STRIDE]
                controller.run(s, ch, npu_stream, other_stream, pim_program, clock, clock + ahead)
        while now < clock + max(ahead, BACK_CLOCKS):
            _answers(s, npu, other, now)
            core.advance(s, npu, npu_program, pim_program, npu_stream, cursor, now)
            core.advance(s, other, other_program, pim_program, other_stream, cursor, now)
            now += 1
            if npu[OPERATOR] == npu[OPERATORS_END] and other[OPERATOR] == other[OPERATORS_END]:
                break
        if ahead <= BACK_CLOCKS:
            for i in range(s[CHANNELS]):
                ch = FIRST_RECORD + i * s[STRIDE]
                controller.run(s, ch, npu_stream, other_stream, pim_program, clock, now)
        clock = now
        if npu[OPERATOR] == npu[OPERATORS_END] and other[OPERATOR] == other[OPERATORS_END]:
            return clock
