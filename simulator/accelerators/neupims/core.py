"""One side of the core: its instruction queues, the state of its operator, and its units.

Source: published NeuPIMs simulator. At the start of an operator all its loads are sent. Matrix and
vector instructions issue in program order, one a clock, as soon as their operands are there; stores
are sent in order when their result is there. The operator ends when loads, instructions and stores
are answered.

Two matrix units exist in the published branches. The overlapped one starts a step 16 clocks after
the step before it (128 if it changes the stationary block), whether or not its operands were there
by then; into an empty pipeline, a new block costs 255 more. In the serial one (NPU-only) a new
stationary block starts when everything before has finished.
"""

from __future__ import annotations

import numpy as np

from simulator.accelerators.neupims.program import (
    AFTER,
    BOUNDS_AT,
    EARLY_LOAD,
    GAP,
    GATES_AT,
    GROUP_FROM,
    GROUPED,
    GROUPS_AT,
    LATENCY,
    LOAD_FROM,
    LOADS_AT,
    MATRIX_NEW_BLOCK,
    NEEDS_FIRST,
    NEEDS_LAST,
    OPERATOR_FIELDS,
    OPERATORS_AT,
    PER_CLOCK,
    RESULT,
    RESULTS,
    SIMULATED,
    STEP_FIELDS,
    STEP_FROM,
    STEP_KIND,
    STEPS_AT,
    STORE_ELEMENTS,
    STORE_FIELDS,
    STORE_FROM,
    STORE_RESULT,
    STORES_AT,
    VECTOR,
    Ints,
)
from simulator.dram import lines
from simulator.dram.lines import ANSWER_TO, ELEMENTS, FIRST, SENT_AT, STORE, STREAM_FIELDS
from simulator.dram.pim import TIME
from simulator.dram.state import (
    CHANNELS,
    DEVICE_CHANNELS,
    FIRST_RECORD,
    NEVER,
    NUMBER,
    PIM_END,
    PIM_HEAD,
    PIM_QUEUED,
    PIM_SENT,
    SPAN_BYTES,
    STRIDE,
    kernel,
)

VECTOR_PIPELINES = 8
ROWS = 128
"""Rows of one systolic array, and columns."""
STEP_CLOCKS = 16
"""Clocks in which eight arrays take the 128 rows of a step."""

(
    OPERATOR,
    OPERATORS_END,
    NEXT_LOAD,
    NEXT_STEP,
    NEXT_STORE,
    ANSWERS_LEFT,
    STEPS_LEFT,
    WRITES_LEFT,
    LAST_START,
    LAST_FINISH,
    RUNNING,
    BUSY,
    SERIAL,
    LOADS_LEFT_AT,
    RESULTS_LEFT_AT,
    FLIGHTS_AT,
    FLIGHT_ROOM,
    ENDS_AT,
    SENT_AT_END,
    LEAST_LATENCY,
) = range(20)
"""Fields of an engine, the state of one side of the core; then offsets of its tables, the last two
with the clock at which each operator ended and the transfers sent by then; and the least latency of
the operator's instructions."""
PIPE_HEAD = 20
PIPE_TAIL = PIPE_HEAD + VECTOR_PIPELINES + 1
ENGINE_HEADER = PIPE_TAIL + VECTOR_PIPELINES + 1


def engine(program: Ints, operators: int, *, serial: bool) -> Ints:
    """Return an idle engine with room for the largest operator of the packed program."""
    table = program[program[OPERATORS_AT] :][: (operators + 1) * OPERATOR_FIELDS]
    table = table.reshape(operators + 1, OPERATOR_FIELDS)
    most = np.diff(table, axis=0).max(axis=0, initial=0)
    loads = int(max(most[LOAD_FROM], table[-1, GROUP_FROM])) + 1
    results, steps = int(table[:, RESULTS].max()) + 1, int(most[STEP_FROM]) + 1
    sizes = (loads, results, 2 * (VECTOR_PIPELINES + 1) * steps, operators, operators)
    starts = ENGINE_HEADER + np.cumsum([0, *sizes])
    state = np.zeros(starts[-1], np.int64)
    state[[LOADS_LEFT_AT, RESULTS_LEFT_AT, FLIGHTS_AT, ENDS_AT, SENT_AT_END]] = starts[:5]
    state[FLIGHT_ROOM] = steps
    state[SERIAL] = serial
    return state


def stream(transfers: int) -> Ints:
    """Return an empty stream with room for `transfers`."""
    return np.zeros((transfers + 1, STREAM_FIELDS), np.int64)


@kernel
def part_of(p: Ints, operator: int, field: int) -> int:
    """Return a field of an operator of a packed program."""
    return p[p[OPERATORS_AT] + operator * OPERATOR_FIELDS + field]


@kernel
def _send(
    s: Ints, transfers: Ints, cursor: Ints, elements: int, store: int, tag: int, clock: int
) -> int:
    """Append a transfer to the stream; return the answers that the simulated channels will give."""
    index = transfers[0, 0] + 1
    transfers[index, SENT_AT] = clock
    transfers[index, FIRST] = cursor[0]
    transfers[index, ELEMENTS] = elements
    transfers[index, STORE] = store
    transfers[index, ANSWER_TO] = tag
    transfers[0, 0] = index
    count, address, left = 0, cursor[0], elements
    while left > 0:
        start, run = lines.run_length(address, left, s[SPAN_BYTES])
        address = start + 2 * (run - 1)
        left -= run
        low, high = start // 64, address // 64
        if s[CHANNELS] == s[DEVICE_CHANNELS]:
            count += high - low + 1
            continue
        for i in range(s[CHANNELS]):
            count += lines.share(s, s[FIRST_RECORD + i * s[STRIDE] + NUMBER], low, high)
    cursor[0] = address
    return count


@kernel
def _start(s: Ints, e: Ints, p: Ints, q: Ints, clock: int) -> None:
    """Start the next operator of a side, and open its PIM programs."""
    operator = e[OPERATOR]
    e[NEXT_LOAD] = part_of(p, operator, LOAD_FROM)
    e[NEXT_STEP] = part_of(p, operator, STEP_FROM)
    e[NEXT_STORE] = part_of(p, operator, STORE_FROM)
    e[STEPS_LEFT] = part_of(p, operator + 1, STEP_FROM) - e[NEXT_STEP]
    e[ANSWERS_LEFT] = 0
    e[WRITES_LEFT] = 0
    e[RUNNING] = 1
    e[PIPE_HEAD:ENGINE_HEADER] = 0
    e[LEAST_LATENCY] = NEVER
    for step in range(e[NEXT_STEP], part_of(p, operator + 1, STEP_FROM)):
        latency = p[p[STEPS_AT] + step * STEP_FIELDS + LATENCY]
        e[LEAST_LATENCY] = min(e[LEAST_LATENCY], latency)
    first_result = e[RESULTS_LEFT_AT]
    e[first_result : first_result + part_of(p, operator, RESULTS)] = -1
    for group in range(part_of(p, operator, GROUP_FROM), part_of(p, operator + 1, GROUP_FROM)):
        size = p[p[GROUPS_AT] + group]
        e[e[LOADS_LEFT_AT] + group] = size
        e[ANSWERS_LEFT] += size
    for i in range(p[SIMULATED]):
        bounds = p[BOUNDS_AT] + 2 * (operator * p[SIMULATED] + i)
        ch = FIRST_RECORD + i * s[STRIDE]
        if p[bounds] == p[bounds + 1]:
            continue
        for j in range(p[bounds], p[bounds + 1]):
            q[j, TIME] += clock
        s[ch + PIM_SENT] = p[bounds]
        s[ch + PIM_QUEUED] = p[bounds]
        s[ch + PIM_HEAD] = p[bounds]
        s[ch + PIM_END] = p[bounds + 1]


@kernel
def _load(s: Ints, e: Ints, p: Ints, transfers: Ints, cursor: Ints, clock: int) -> None:
    """Send the loads of the operator whose gate is open: all at once, or one a clock."""
    operator = e[OPERATOR]
    first, end = part_of(p, operator, LOAD_FROM), part_of(p, operator + 1, LOAD_FROM)
    steps = part_of(p, operator + 1, STEP_FROM) - part_of(p, operator, STEP_FROM)
    while e[NEXT_LOAD] < end:
        load = e[NEXT_LOAD]
        if p[p[GATES_AT] + load] > steps - e[STEPS_LEFT]:
            return
        touched = _send(s, transfers, cursor, p[p[LOADS_AT] + load], 0, load - first, clock)
        e[e[LOADS_LEFT_AT] + load - first] = touched
        e[ANSWERS_LEFT] += touched
        e[NEXT_LOAD] = load + 1
        if p[PER_CLOCK]:
            return


@kernel
def _complete(e: Ints, clock: int) -> None:
    """Take at most one finished instruction from the end of each pipeline."""
    for pipe in range(VECTOR_PIPELINES + 1):
        head = e[PIPE_HEAD + pipe]
        if head == e[PIPE_TAIL + pipe]:
            continue
        flight = e[FLIGHTS_AT] + 2 * (pipe * e[FLIGHT_ROOM] + head)
        if e[flight] <= clock:
            e[e[RESULTS_LEFT_AT] + e[flight + 1]] -= 1
            e[PIPE_HEAD + pipe] = head + 1
            e[STEPS_LEFT] -= 1


@kernel
def _store(s: Ints, e: Ints, p: Ints, transfers: Ints, cursor: Ints, clock: int) -> None:
    """Send the next store if its result is there; a store of nothing only takes its turn."""
    store = e[NEXT_STORE]
    if store == part_of(p, e[OPERATOR] + 1, STORE_FROM):
        return
    at = p[STORES_AT] + STORE_FIELDS * store
    left, early = e[e[RESULTS_LEFT_AT] + p[at + STORE_RESULT]], p[at + EARLY_LOAD]
    if left > 0 or (left < 0 and (early < 0 or e[e[LOADS_LEFT_AT] + early])):
        return
    if p[at + STORE_ELEMENTS]:
        e[WRITES_LEFT] += _send(s, transfers, cursor, p[at + STORE_ELEMENTS], 1, 0, clock)
    e[NEXT_STORE] = store + 1


@kernel
def _ready(e: Ints, p: Ints, step_at: int) -> bool:
    first, last, after = p[step_at + NEEDS_FIRST], p[step_at + NEEDS_LAST], p[step_at + AFTER]
    if after >= 0 and e[e[RESULTS_LEFT_AT] + after] != 0:
        return False
    left = e[LOADS_LEFT_AT]
    if p[GROUPED]:
        missing = 0
        for group in range(first, last + 1):
            missing += e[left + group]
        return missing == 0
    sent = e[NEXT_LOAD] - part_of(p, e[OPERATOR], LOAD_FROM)
    if first >= 0 and (first >= sent or e[left + first]):
        return False
    return not (last >= 0 and (last >= sent or e[left + last]))


@kernel
def _issue(e: Ints, p: Ints, clock: int) -> None:
    """Issue the next instruction if what it needs is there."""
    step = e[NEXT_STEP]
    if step == part_of(p, e[OPERATOR] + 1, STEP_FROM):
        return
    at = p[STEPS_AT] + step * STEP_FIELDS
    if not _ready(e, p, at):
        return
    result = e[RESULTS_LEFT_AT] + p[at + RESULT]
    e[result] = max(e[result], 0) + 1
    pipe = 0
    if p[at + STEP_KIND] == VECTOR:
        pipe = 1
        for candidate in range(1, VECTOR_PIPELINES + 1):
            if e[PIPE_HEAD + candidate] == e[PIPE_TAIL + candidate]:
                pipe = candidate
                break
        finish = clock + p[at + LATENCY]
    else:
        start = _matrix_start(e, p[at + STEP_KIND] == MATRIX_NEW_BLOCK, p[at + GAP], clock)
        finish = start + p[at + LATENCY]
        e[LAST_START] = start
        e[LAST_FINISH] = finish
    flight = e[FLIGHTS_AT] + 2 * (pipe * e[FLIGHT_ROOM] + e[PIPE_TAIL + pipe])
    e[flight] = finish
    e[flight + 1] = p[at + RESULT]
    e[PIPE_TAIL + pipe] += 1
    e[NEXT_STEP] = step + 1


@kernel
def _matrix_start(e: Ints, new_block: bool, gap: int, clock: int) -> int:
    """Return the clock at which the array starts a step."""
    idle = e[PIPE_HEAD] == e[PIPE_TAIL]
    if e[SERIAL]:
        if new_block:
            return clock + gap if idle else e[LAST_FINISH]
        return clock if idle else max(clock, e[LAST_FINISH] - 2 * ROWS + 1)
    if idle:
        return clock + 2 * ROWS - 1 if new_block else clock
    return e[LAST_START] + (ROWS if new_block else STEP_CLOCKS)


@kernel
def advance(s: Ints, e: Ints, p: Ints, q: Ints, transfers: Ints, cursor: Ints, clock: int) -> None:
    """Run one side of the core for a clock."""
    operator = e[OPERATOR]
    if operator == e[OPERATORS_END]:
        return
    if not e[RUNNING]:
        _start(s, e, p, q, clock)
    e[BUSY] += e[PIPE_HEAD] < e[PIPE_TAIL]
    _complete(e, clock)
    _load(s, e, p, transfers, cursor, clock)
    _store(s, e, p, transfers, cursor, clock)
    _issue(e, p, clock)
    if (
        e[STEPS_LEFT] == 0
        and e[ANSWERS_LEFT] == 0
        and e[WRITES_LEFT] == 0
        and e[NEXT_STORE] == part_of(p, operator + 1, STORE_FROM)
        and e[NEXT_LOAD] == part_of(p, operator + 1, LOAD_FROM)
    ):
        e[e[ENDS_AT] + operator] = clock + 1
        e[e[SENT_AT_END] + operator] = transfers[0, 0]
        e[OPERATOR] = operator + 1
        e[RUNNING] = 0
