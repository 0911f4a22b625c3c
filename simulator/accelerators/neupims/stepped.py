"""The preset `published-simulator`: the plan's stages, run clock by clock on every channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simulator.accelerators.neupims import attention, core, device, npu
from simulator.accelerators.neupims.config import Config
from simulator.accelerators.neupims.outcome import Outcome
from simulator.accelerators.neupims.plan import AllReduce, Attention, Operator, Plan, Product, Stage
from simulator.accelerators.neupims.program import Ints, OperatorProgram, pack
from simulator.dram import state
from simulator.dram.lines import ACCESSES

OUTSTANDING = 4352
OUTSTANDING_NPU_ONLY = 96
"""Requests of a channel without an answer, in the PIM branches and in the NPU-only branch."""

SCHEDULING_CLOCKS = 1
"""The scheduler needs a clock before a stage starts."""


_SIDES = (lambda stage: stage.npu, lambda stage: stage.pim)
"""What each side of the core works on in a stage."""


def run(config: Config, plan: Plan, *, lead: int = device.LONGEST_WINDOW) -> Outcome:
    """Run the stages one after the other on one device.

    `lead` bounds how far channels run ahead of the core; it changes nothing but the time it takes.
    """
    serial = config.system == "npu-only"
    sides = [[_program(config, plan, op) for s in plan.stages for op in part(s)] for part in _SIDES]
    pim_program, bounds = attention.join_pim(sides[1], config.channels)
    programs = (
        pack(sides[0], _no_bounds(sides[0]), loads_per_clock=serial, grouped=False, simulated=0),
        pack(sides[1], bounds, loads_per_clock=False, grouped=True, simulated=config.channels),
    )
    engines = (
        core.engine(programs[0], len(sides[0]), serial=serial),
        core.engine(programs[1], len(sides[1]), serial=False),
    )
    streams = [
        core.stream(sum(len(op.loads) + len(op.stores) for op in operators)) for operators in sides
    ]
    memory = _memory(config, sides[0] + sides[1])
    cursor = np.zeros(1, np.int64)
    clock, stages, operators = 0, dict[str, int](), dict[str, int]()
    for stage in plan.stages:
        before = [int(engine[core.OPERATOR]) for engine in engines]
        engines[0][core.OPERATORS_END] += len(stage.npu)
        engines[1][core.OPERATORS_END] += len(stage.pim)
        end = device.run_stage(
            memory,
            engines[0],
            programs[0],
            engines[1],
            programs[1],
            pim_program,
            *streams,
            cursor,
            clock,
            clock + SCHEDULING_CLOCKS,
            lead,
        )
        for engine, first, work in zip(engines, before, (stage.npu, stage.pim), strict=True):
            operators |= _durations(engine, first, stage, work, clock)
        stages[stage.name] = end - clock
        clock = end
    return Outcome(
        stages=stages,
        operators=operators,
        moved_bytes=_moved(config, plan, sides, engines, streams),
        commands=state.counts(memory),
        matrix_busy=int(engines[0][core.BUSY]),
        pim_busy=state.mean(memory, state.PIM_CLOCKS),
        active_clocks=state.active_clocks(memory, clock),
    )


def _no_bounds(operators: list[OperatorProgram]) -> Ints:
    return np.zeros((len(operators), 0, 2), np.int64)


def _memory(config: Config, operators: list[OperatorProgram]) -> Ints:
    """Return idle channels. Addresses wrap where the published simulator's do: 10 width^2 bytes."""
    return state.device_state(
        config.timing,
        dual=config.dual,
        refresh=config.refresh,
        device_channels=config.channels,
        channels=range(config.channels),
        span_bytes=10 * config.decoder.width**2 // config.tensor_parallel,
        elements_per_transfer=max(
            int(part.max(initial=1)) for op in operators for part in (op.loads, op.stores[:, 1])
        ),
        outstanding=OUTSTANDING_NPU_ONLY if config.system == "npu-only" else OUTSTANDING,
    )


def _durations(
    engine: Ints, first: int, stage: Stage, work: tuple[Operator, ...], started: int
) -> Mapping[str, int]:
    ends = engine[engine[core.ENDS_AT] + first :][: len(work)]
    clocks = np.diff(ends, prepend=started).tolist()
    return {f"{stage.name}.{op.name}": c for op, c in zip(work, clocks, strict=True)}


def _moved(
    config: Config,
    plan: Plan,
    sides: list[list[OperatorProgram]],
    engines: tuple[Ints, Ints],
    streams: list[Ints],
) -> dict[str, int]:
    """Return the bytes of each operator: those of its accesses, and of its answers from the PIM."""
    moved = dict[str, int]()
    for part, operators, engine, stream in zip(_SIDES, sides, engines, streams, strict=True):
        names = [f"{stage.name}.{op.name}" for stage in plan.stages for op in part(stage)]
        last = engine[engine[core.SENT_AT_END] :][: len(operators)]
        accesses = np.diff(np.cumsum(stream[:, ACCESSES])[last], prepend=0)
        answers = [int(op.groups.sum()) for op in operators]
        transfers = (accesses + np.array(answers, np.int64)).tolist()
        bytes_each = config.timing.access_bytes
        moved |= {name: n * bytes_each for name, n in zip(names, transfers, strict=True)}
    return moved


def _program(config: Config, plan: Plan, operator: Operator) -> OperatorProgram:
    """Translate an operator of the plan into the instructions of the published simulator."""
    serial = config.system == "npu-only"
    if isinstance(operator, Product):
        return npu.gemm(
            operator.name, operator.rows, operator.depth, operator.columns, serial=serial
        )
    assert not isinstance(operator, AllReduce), "the published simulator has one device"
    if not isinstance(operator, Attention):
        return npu.by_row(operator.name, operator.rows, operator.width, operator.kind)
    lengths = [plan.batch.lengths[i] for i in operator.requests]
    if serial:
        heads = plan.layout.heads * plan.layout.groups
        return npu.fused_attention(operator.name, lengths, heads, plan.layout.head_width)
    build = attention.logit if "Logit" in operator.name else attention.attend
    streams = attention.Streams(
        range(config.channels), dual=config.dual, dispatch_limit=config.limits_dispatch
    )
    channels_of = [plan.channels_of[i] for i in operator.requests]
    return build(lengths, channels_of, plan.layout, streams)
