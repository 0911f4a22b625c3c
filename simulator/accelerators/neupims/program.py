"""What each side of the device executes: loads, instructions and stores of its operators, flat.

An operator is one tile of the published simulator. `pack` puts a program into one array for the
kernel in `device`, which reads it by the offsets below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MATRIX, MATRIX_NEW_BLOCK, VECTOR = range(3)
"""Kinds of instruction."""

STEP_FIELDS = 7
STEP_KIND, LATENCY, NEEDS_FIRST, NEEDS_LAST, AFTER, GAP, RESULT = range(STEP_FIELDS)
"""Fields of an instruction: its kind and latency; the loads (NPU) or the first and last group of
answers (PIM) it waits for, -1 none; an earlier result it waits for, -1 none; clocks to load its
stationary block into an idle array (`serial`); the result that it adds to."""

STORE_FIELDS = 3
STORE_RESULT, STORE_ELEMENTS, EARLY_LOAD = range(STORE_FIELDS)
"""Fields of a store: its result, its elements, and a load after which it may go before any step has
added to the result (the bias), -1 none."""

OPERATOR_FIELDS = 5
LOAD_FROM, STEP_FROM, STORE_FROM, GROUP_FROM, RESULTS = range(OPERATOR_FIELDS)
"""Fields of an operator: where its parts start, and its number of results."""

(
    OPERATORS_AT,
    LOADS_AT,
    GATES_AT,
    STEPS_AT,
    STORES_AT,
    GROUPS_AT,
    BOUNDS_AT,
    PER_CLOCK,
    GROUPED,
    SIMULATED,
) = range(10)
"""Header of a packed program: where the tables are; 1 to take one load a clock; 1 if instructions
wait for groups of answers; number of simulated channels."""
HEADER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProgram:
    """One operator: elements of each load, instructions, and stores.

    `gates` count the instructions that must have finished before a load is sent, 0 by default.
    `pim` holds, for each simulated channel, the rows of its PIM program (`simulator.dram.pim`), and
    `groups` the number of READRES that answer to each group.
    """

    name: str
    loads: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    gates: Ints | None = None
    steps: Ints = field(default_factory=lambda: np.zeros((0, STEP_FIELDS), np.int64))
    stores: Ints = field(default_factory=lambda: np.zeros((0, STORE_FIELDS), np.int64))
    results: int = 1
    groups: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    pim: tuple[Ints, ...] = ()


def pack(
    operators: Sequence[OperatorProgram],
    bounds: Ints,
    *,
    loads_per_clock: bool,
    grouped: bool,
    simulated: int,
) -> Ints:
    """Return the operators as one array; `bounds` is [operator, channel, 2] in the PIM program."""
    table = np.zeros((len(operators) + 1, OPERATOR_FIELDS), np.int64)
    for i, op in enumerate(operators):
        sizes = (len(op.loads), len(op.steps), len(op.stores), len(op.groups))
        table[i + 1, :4] = table[i, :4] + sizes
        table[i, RESULTS] = op.results
    steps = [op.steps.copy() for op in operators]
    if grouped:
        for start, part in zip(table[:, GROUP_FROM], steps, strict=False):
            part[:, (NEEDS_FIRST, NEEDS_LAST)] += start
    parts = [
        table.ravel(),
        *_joined([op.loads for op in operators]),
        *_joined([np.zeros_like(op.loads) if op.gates is None else op.gates for op in operators]),
        *_joined([part.ravel() for part in steps]),
        *_joined([op.stores.ravel() for op in operators]),
        *_joined([op.groups for op in operators]),
        bounds.ravel(),
    ]
    header = np.zeros(HEADER, np.int64)
    header[: len(parts)] = HEADER + np.cumsum([0, *(len(p) for p in parts[:-1])])
    header[[PER_CLOCK, GROUPED, SIMULATED]] = loads_per_clock, grouped, simulated
    return np.concatenate([header, *parts])


def _joined(parts: list[Ints]) -> list[Ints]:
    return [np.concatenate([np.zeros(0, np.int64), *parts])]
