"""One side of the core: its instruction queues, the state of its operator, and its units.

Source: published NeuPIMs simulator. At the start of an operator its loads are sent, those of a tile
when the tile before the last one is done (NPU-only: one load a clock). Matrix and vector
instructions issue in program order, one a clock, as soon as their operands are there; stores are
sent in order when their result is there. The operator ends when loads, instructions and stores are
answered.

Two matrix units exist in the published branches. The overlapped one starts a step 16 clocks after
the step before it (128 if it changes the stationary block), whether or not its operands were there
by then; into an empty pipeline, a new block costs 255 more. In the serial one (NPU-only) a new
stationary block starts when everything before has finished.
"""

from __future__ import annotations

import numpy as np

from simulator.accelerators.neupims import program
from simulator.accelerators.neupims.npu import ARRAYS, SIZE, VECTOR_UNITS
from simulator.accelerators.neupims.program import Ints
from simulator.dram import lines, state
from simulator.dram.lines import ANSWER_TO, ELEMENTS, FIRST, SENT_AT, STORE, STREAM_FIELDS
from simulator.dram.pim import TIME
from simulator.dram.state import kernel

STEP_CLOCKS = SIZE // ARRAYS
"""Clocks in which all arrays together take the rows of a step."""

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
PIPE_TAIL = PIPE_HEAD + VECTOR_UNITS + 1
ENGINE_HEADER = PIPE_TAIL + VECTOR_UNITS + 1


def engine(packed: Ints, operators: int, *, serial: bool) -> Ints:
    """Return an idle engine with room for the largest operator of the packed program."""
    table = packed[packed[program.OPERATORS_AT] :][: (operators + 1) * program.OPERATOR_FIELDS]
    table = table.reshape(operators + 1, program.OPERATOR_FIELDS)
    most = np.diff(table, axis=0).max(axis=0, initial=0)
    loads = int(max(most[program.LOAD_FROM], table[-1, program.GROUP_FROM])) + 1
    results, steps = int(table[:, program.RESULTS].max()) + 1, int(most[program.STEP_FROM]) + 1
    sizes = (loads, results, 2 * (VECTOR_UNITS + 1) * steps, operators, operators)
    starts = ENGINE_HEADER + np.cumsum([0, *sizes])
    fields = np.zeros(starts[-1], np.int64)
    fields[[LOADS_LEFT_AT, RESULTS_LEFT_AT, FLIGHTS_AT, ENDS_AT, SENT_AT_END]] = starts[:5]
    fields[FLIGHT_ROOM] = steps
    fields[SERIAL] = serial
    return fields


def stream(transfers: int) -> Ints:
    """Return an empty stream with room for `transfers`."""
    return np.zeros((transfers + 1, STREAM_FIELDS), np.int64)


@kernel
def part_of(p: Ints, operator: int, field: int) -> int:
    """Return a field of an operator of a packed program."""
    return p[p[program.OPERATORS_AT] + operator * program.OPERATOR_FIELDS + field]


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
        start, run = lines.run_length(address, left, s[state.SPAN_BYTES])
        address = start + 2 * (run - 1)
        left -= run
        low, high = start >> lines.LINE_BITS, address >> lines.LINE_BITS
        if s[state.CHANNELS] == s[state.DEVICE_CHANNELS]:
            count += high - low + 1
            continue
        for i in range(s[state.CHANNELS]):
            count += lines.share(
                s, s[state.FIRST_RECORD + i * s[state.STRIDE] + state.NUMBER], low, high
            )
    cursor[0] = address
    return count


@kernel
def _start(s: Ints, e: Ints, p: Ints, q: Ints, clock: int) -> None:
    """Start the next operator of a side, and open its PIM programs."""
    operator = e[OPERATOR]
    e[NEXT_LOAD] = part_of(p, operator, program.LOAD_FROM)
    e[NEXT_STEP] = part_of(p, operator, program.STEP_FROM)
    e[NEXT_STORE] = part_of(p, operator, program.STORE_FROM)
    e[STEPS_LEFT] = part_of(p, operator + 1, program.STEP_FROM) - e[NEXT_STEP]
    e[ANSWERS_LEFT] = 0
    e[WRITES_LEFT] = 0
    e[RUNNING] = 1
    e[PIPE_HEAD:ENGINE_HEADER] = 0
    e[LEAST_LATENCY] = state.NEVER
    for step in range(e[NEXT_STEP], part_of(p, operator + 1, program.STEP_FROM)):
        latency = p[p[program.STEPS_AT] + step * program.STEP_FIELDS + program.LATENCY]
        e[LEAST_LATENCY] = min(e[LEAST_LATENCY], latency)
    first_result = e[RESULTS_LEFT_AT]
    e[first_result : first_result + part_of(p, operator, program.RESULTS)] = -1
    for group in range(
        part_of(p, operator, program.GROUP_FROM), part_of(p, operator + 1, program.GROUP_FROM)
    ):
        size = p[p[program.GROUPS_AT] + group]
        e[e[LOADS_LEFT_AT] + group] = size
        e[ANSWERS_LEFT] += size
    for i in range(p[program.SIMULATED]):
        bounds = p[program.BOUNDS_AT] + 2 * (operator * p[program.SIMULATED] + i)
        ch = state.FIRST_RECORD + i * s[state.STRIDE]
        if p[bounds] == p[bounds + 1]:
            continue
        for j in range(p[bounds], p[bounds + 1]):
            q[j, TIME] += clock
        s[ch + state.PIM_SENT] = p[bounds]
        s[ch + state.PIM_QUEUED] = p[bounds]
        s[ch + state.PIM_HEAD] = p[bounds]
        s[ch + state.PIM_END] = p[bounds + 1]


@kernel
def _load(s: Ints, e: Ints, p: Ints, transfers: Ints, cursor: Ints, clock: int) -> None:
    """Send the loads of the operator whose gate is open: all at once, or one a clock."""
    operator = e[OPERATOR]
    first, end = (
        part_of(p, operator, program.LOAD_FROM),
        part_of(p, operator + 1, program.LOAD_FROM),
    )
    steps = part_of(p, operator + 1, program.STEP_FROM) - part_of(p, operator, program.STEP_FROM)
    while e[NEXT_LOAD] < end:
        load = e[NEXT_LOAD]
        if p[p[program.GATES_AT] + load] > steps - e[STEPS_LEFT]:
            return
        touched = _send(s, transfers, cursor, p[p[program.LOADS_AT] + load], 0, load - first, clock)
        e[e[LOADS_LEFT_AT] + load - first] = touched
        e[ANSWERS_LEFT] += touched
        e[NEXT_LOAD] = load + 1
        if p[program.PER_CLOCK]:
            return


@kernel
def _complete(e: Ints, clock: int) -> None:
    """Take at most one finished instruction from the end of each pipeline."""
    for pipe in range(VECTOR_UNITS + 1):
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
    if store == part_of(p, e[OPERATOR] + 1, program.STORE_FROM):
        return
    at = p[program.STORES_AT] + program.STORE_FIELDS * store
    left, early = e[e[RESULTS_LEFT_AT] + p[at + program.STORE_RESULT]], p[at + program.EARLY_LOAD]
    if left > 0 or (left < 0 and (early < 0 or e[e[LOADS_LEFT_AT] + early])):
        return
    if p[at + program.STORE_ELEMENTS]:
        e[WRITES_LEFT] += _send(s, transfers, cursor, p[at + program.STORE_ELEMENTS], 1, 0, clock)
    e[NEXT_STORE] = store + 1


@kernel
def _ready(e: Ints, p: Ints, step_at: int) -> bool:
    first, last, after = (
        p[step_at + program.NEEDS_FIRST],
        p[step_at + program.NEEDS_LAST],
        p[step_at + program.AFTER],
    )
    if after >= 0 and e[e[RESULTS_LEFT_AT] + after] != 0:
        return False
    left = e[LOADS_LEFT_AT]
    if p[program.GROUPED]:
        missing = 0
        for group in range(first, last + 1):
            missing += e[left + group]
        return missing == 0
    sent = e[NEXT_LOAD] - part_of(p, e[OPERATOR], program.LOAD_FROM)
    if first >= 0 and (first >= sent or e[left + first]):
        return False
    return not (last >= 0 and (last >= sent or e[left + last]))


@kernel
def _issue(e: Ints, p: Ints, clock: int) -> None:
    """Issue the next instruction if what it needs is there."""
    step = e[NEXT_STEP]
    if step == part_of(p, e[OPERATOR] + 1, program.STEP_FROM):
        return
    at = p[program.STEPS_AT] + step * program.STEP_FIELDS
    if not _ready(e, p, at):
        return
    result = e[RESULTS_LEFT_AT] + p[at + program.RESULT]
    e[result] = max(e[result], 0) + 1
    pipe = 0
    if p[at + program.STEP_KIND] == program.VECTOR:
        pipe = 1
        for candidate in range(1, VECTOR_UNITS + 1):
            if e[PIPE_HEAD + candidate] == e[PIPE_TAIL + candidate]:
                pipe = candidate
                break
        finish = clock + p[at + program.LATENCY]
    else:
        start = _matrix_start(
            e, p[at + program.STEP_KIND] == program.MATRIX_NEW_BLOCK, p[at + program.GAP], clock
        )
        finish = start + p[at + program.LATENCY]
        e[LAST_START] = start
        e[LAST_FINISH] = finish
    flight = e[FLIGHTS_AT] + 2 * (pipe * e[FLIGHT_ROOM] + e[PIPE_TAIL + pipe])
    e[flight] = finish
    e[flight + 1] = p[at + program.RESULT]
    e[PIPE_TAIL + pipe] += 1
    e[NEXT_STEP] = step + 1


@kernel
def _matrix_start(e: Ints, new_block: bool, gap: int, clock: int) -> int:
    """Return the clock at which the array starts a step."""
    idle = e[PIPE_HEAD] == e[PIPE_TAIL]
    if e[SERIAL]:
        if new_block:
            return clock + gap if idle else e[LAST_FINISH]
        return clock if idle else max(clock, e[LAST_FINISH] - 2 * SIZE + 1)
    if idle:
        return clock + 2 * SIZE - 1 if new_block else clock
    return e[LAST_START] + (SIZE if new_block else STEP_CLOCKS)


@kernel
def ended(e: Ints) -> bool:
    """Say whether a side has no operator left."""
    return e[OPERATOR] == e[OPERATORS_END]


@kernel
def advance(s: Ints, e: Ints, p: Ints, q: Ints, transfers: Ints, cursor: Ints, clock: int) -> None:
    """Run one side of the core for a clock."""
    if ended(e):
        return
    operator = e[OPERATOR]
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
        and e[NEXT_STORE] == part_of(p, operator + 1, program.STORE_FROM)
        and e[NEXT_LOAD] == part_of(p, operator + 1, program.LOAD_FROM)
    ):
        e[e[ENDS_AT] + operator] = clock + 1
        e[e[SENT_AT_END] + operator] = transfers[0, 0]
        e[OPERATOR] = operator + 1
        e[RUNNING] = 0
