"""From a plan to a report: clocks from the preset's model, work, traffic and energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataflow import pim_arithmetic
from simulator import decoding
from simulator.accelerators.neupims.config import Config
from simulator.accelerators.neupims.npu import ARRAYS, SIZE, VECTOR_UNITS
from simulator.accelerators.neupims.outcome import Outcome
from simulator.accelerators.neupims.plan import (
    OUTPUT,
    AllReduce,
    Attention,
    Operator,
    Plan,
    Product,
    RowWork,
)
from simulator.dram import energy as dram_energy
from simulator.energy import FP16_MULTIPLY_PJ, FP32_ADD_PJ, sram_byte_pj
from simulator.report import Report
from simulator.run_options import RunOption
from workloads import numerals
from workloads.errors import InputError
from workloads.llm import RequestBatch, read_requests
from workloads.llm.requests import DATASETS, warm_batch
from workloads.rounding import ceil_div

NPU_MACS = ARRAYS * SIZE * SIZE
"""Multiply-accumulates a clock of the systolic arrays."""
MOST_REQUESTS = 10_000_000  # of a drawn batch; no cache holds as many

LANES = {"systolic arrays": "array", "vector units": "vector", "pim": "pim", "link": "link"}
"""Lane of the timeline by what works."""

WITH_TIME = ("dram standby", "dram REF")
"""Parts of the energy that go with time, not with work."""

RUN_OPTIONS = (
    RunOption(name="--model", help="Decoder, such as gpt3-7b or llama3-8b.", field="model"),
    RunOption(name="--tp", help="Tensor-parallel devices.", field="tensor_parallel"),
    RunOption(name="--pp", help="Pipeline-parallel groups.", field="pipeline_parallel"),
    RunOption(name="--system", help="npu-only, npu-pim or neupims.", field="system"),
    RunOption(
        name="--sub-batch", help="Interleaved sub-batches: on, off, auto.", field="sub_batch"
    ),
    RunOption(
        name="--no-refresh", help="No refresh.", values=(), field="refresh", flag_value="off"
    ),
    RunOption(name="--preset", help="paper (default) or published-simulator.", field="preset"),
    RunOption(
        name="--requests",
        help="seq_len,ch_idx CSV, or alpaca|sharegpt[:BATCH[:SEED]].",
        shared=("batch",),
    ),
)


def workload_from_options(options: Mapping[str, tuple[str, ...]]) -> RequestBatch:
    """Read `--requests`: a trace, or a data set's name with the size of a batch drawn from it.

    `--batch` is another way to say that size.
    """
    (text,) = options["requests"]
    if "batch" in options:
        if text not in DATASETS:
            raise InputError(
                f"--batch sizes a batch drawn from {' or '.join(DATASETS)}, not --requests {text}"
            )
        (size,) = options["batch"]
        if numerals.whole(size) < 1:
            raise InputError(f"--batch must be at least 1 request, not {size}")
        text = f"{text}:{size}"
    name, *numbers = text.split(":")
    if name not in DATASETS:
        return read_requests(Path(text))
    try:
        batch, seed, *rest = [*(numerals.whole(n) for n in numbers), *(256, 0)[len(numbers) :]]
    except ValueError:
        batch, seed, rest = 0, 0, [0]
    if rest or batch < 1 or seed < 0:
        raise InputError(f"--requests must be a CSV file or {name}:BATCH:SEED, not {text!r}")
    if batch > MOST_REQUESTS:
        raise InputError(f"a batch has at most {MOST_REQUESTS} requests, not {batch}")
    return warm_batch(name, batch, np.random.default_rng(seed))


def simulate(config: Config, plan: Plan) -> Report:
    """Return clocks, traffic and energy of the simulated layers: one, or two with sub-batches.

    The headline of the report is that of one layer and of one iteration in either case.
    """
    outcome = _outcome(config, plan)
    columns = _columns(config, plan, outcome)
    cycles = sum(outcome.stages.values())
    energy = _energy(config, outcome, columns)
    return Report(
        accelerator="neupims",
        config=config,
        workload=plan.batch.name,
        method=config.system,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=NPU_MACS + pim_macs(config),
        columns=columns,
        cycles_total=cycles,
        energy_pj=energy,
        extra={
            **_iteration(config, plan, outcome, columns, energy),
            "stages": outcome.stages,
            "operators": _operators(plan, outcome.operators),
            "commands": outcome.commands,
            "npu_utilisation": outcome.matrix_busy / cycles,
            "pim_utilisation": outcome.pim_busy / cycles,
            "bandwidth_utilisation": _bandwidth(config, outcome.commands, cycles),
        },
        headline=decoding.HEADLINE,
        notes=(_covers(config, plan), *_borrowed(config)),
    )


def _columns(config: Config, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    starts = _starts(plan, outcome)
    rows = [
        {
            **_row(config, plan, op, name := f"{stage.name}.{op.name}", outcome),
            "start_cycles": starts[name],
        }
        for stage in plan.stages
        for op in (*stage.npu, *stage.pim)
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _iteration(
    config: Config,
    plan: Plan,
    outcome: Outcome,
    columns: Mapping[str, Any],
    energy: Mapping[str, float],
) -> dict[str, Any]:
    """Return the headline: of two layers in sub-batches half; of the output layer what it adds.

    Every layer between the first and the last takes the stages C and D, half of the work of all
    six: half of their bytes and of their energy, but for standby and refresh, which go with time.
    """
    before = replace(plan, stages=tuple(s for s in plan.stages if s.name != OUTPUT))
    total_pj = sum(energy.values())
    if before != plan:
        outcome_before = _outcome(config, before)
        columns = _columns(config, before, outcome_before)
        energy = _energy(config, outcome_before, columns)
    output_cycles = outcome.stages.get(OUTPUT, 0)
    cycles = sum(outcome.stages.values()) - output_cycles
    layer_cycles = outcome.stages["C"] + outcome.stages["D"] if plan.split else cycles
    layers = 2 if plan.split else 1
    return decoding.iteration(
        layers=config.decoder.layers,
        devices=config.tensor_parallel,
        requests=len(plan.channels_of),
        clock_hz=config.clock_hz,
        layer_cycles=layer_cycles,
        layer_pj=sum(
            pj * layer_cycles / cycles if name in WITH_TIME else pj / layers
            for name, pj in energy.items()
        ),
        layer_bytes=sum(columns["dram_bytes"]) // layers,
        output_cycles=output_cycles,
        output_pj=total_pj - sum(energy.values()),
    )


def _covers(config: Config, plan: Plan) -> str:
    """Say what time, traffic and energy of a report stand for."""
    layers = "two decoder layers of interleaved sub-batches" if plan.split else "one decoder layer"
    output = " and the output layer" if config.output_layer else ""
    return decoding.covers(
        layers + output, layers=config.decoder.layers, devices=config.tensor_parallel
    )


def _borrowed(config: Config) -> tuple[str, ...]:
    """Say where the energy of a memory rests on the currents of another one."""
    if config.memory == "hbm2":
        return ()
    return (f"energy of the DRAM rests on the currents of HBM2, not of {config.memory}",)


def _starts(plan: Plan, outcome: Outcome) -> dict[str, int]:
    """Return the clock at which each operator starts: one after the other on either side."""
    starts, begun = dict[str, int](), 0
    for stage in plan.stages:
        for side in (stage.npu, stage.pim):
            clock = begun
            for op in side:
                name = f"{stage.name}.{op.name}"
                starts[name] = clock
                clock += outcome.operators[name]
        begun += outcome.stages[stage.name]
    return starts


def _outcome(config: Config, plan: Plan) -> Outcome:
    if config.preset == "paper":
        from simulator.accelerators.neupims import analytic

        return analytic.run(config, plan)
    from simulator.accelerators.neupims import stepped

    return stepped.run(config, plan)


def pim_macs(config: Config) -> int:
    """Return the multiply-accumulates a clock of the banks, each busy at every COMP."""
    if config.system == "npu-only":
        return 0
    timing = config.timing
    return config.channels * timing.banks_total * pim_arithmetic.LANES // timing.comp_step


def _operators(plan: Plan, clocks: Mapping[str, int]) -> dict[str, int]:
    """Return clocks by operator; with sub-batches an operator occurs in several stages."""
    if plan.split:
        return dict(clocks)
    return {name.partition(".")[2]: value for name, value in clocks.items()}


def _bandwidth(config: Config, commands: Mapping[str, int], cycles: int) -> float:
    moved = commands.get("RD", 0) + commands.get("WR", 0) + commands.get("READRES", 0)
    return moved * config.timing.burst / (config.channels * cycles)


def _row(config: Config, plan: Plan, op: Operator, name: str, outcome: Outcome) -> dict[str, Any]:
    cycles, moved = outcome.operators[name], outcome.moved_bytes[name]
    compulsory = moved
    match op:
        case Product():
            shape = op.rows, op.depth, op.columns
            useful = op.rows * op.depth * op.columns
            blocks = [ceil_div(v, SIZE) for v in shape]
            issued, rate = int(np.prod(blocks)) * SIZE**3, NPU_MACS
            once = config.weight_bytes(op.depth, op.columns) + 2 * op.rows * (op.depth + op.columns)
            compulsory = min(moved, once)  # the published simulator writes a corner of its results
            kind, array = "linear", "systolic arrays"
        case Attention():
            shape = len(op.requests), plan.layout.width, 1
            useful, issued = _attention_work(config, plan, op)
            rate = NPU_MACS if config.system == "npu-only" else pim_macs(config)
            kind, array = "attention", "systolic arrays" if rate == NPU_MACS else "pim"
        case RowWork():
            shape, useful, issued, rate = (op.rows, 0, 0), 0, 0, NPU_MACS
            kind, array = op.kind, "vector units"
        case AllReduce():
            shape, useful, issued, rate = (op.rows, 0, 0), 0, 0, NPU_MACS
            kind, array = "all-reduce", "link"
    compute = min(cycles, ceil_div(issued, rate))
    if isinstance(op, AllReduce):
        compute = cycles
    if isinstance(op, RowWork):
        compute = min(cycles, ceil_div(op.rows * ceil_div(op.width, SIZE), VECTOR_UNITS))
    memory = ceil_div(moved, int(config.channels * config.timing.bytes_per_clock))
    return {
        "name": name,
        "layer": name.split(".")[1],
        "pass": "FF",
        "kind": kind,
        "m": shape[0],
        "k": shape[1],
        "n": shape[2],
        "cycles": cycles,
        "compute_cycles": compute,
        "memory_cycles": memory,
        "useful_macs": min(useful, compute * rate),
        "issued_macs": min(issued, compute * rate),
        "dram_bytes": moved,
        "compulsory_bytes": compulsory,
        "bottleneck": "dram" if memory > compute else array,
        "resource": LANES[array],
    }


def _attention_work(config: Config, plan: Plan, op: Attention) -> tuple[int, int]:
    """Return useful and issued multiply-accumulates."""
    layout = plan.layout
    lengths = [plan.batch.lengths[i] for i in op.requests]
    tokens = sum(lengths)
    both = 2 if config.system == "npu-only" else 1
    useful = both * tokens * layout.width * layout.groups
    if config.system == "npu-only":
        return useful, useful
    if "Logit" in op.name:
        tiles = sum(layout.key_tiles(length) for length in lengths)
        issued = tiles * layout.banks * layout.row_elements * layout.groups
    else:
        issued = sum(
            ceil_div(part, layout.multipliers) * layout.multipliers
            for length in lengths
            for part in layout.value_chunks(length)
        )
        issued *= layout.heads * layout.value_rows * layout.banks * layout.groups
    return min(useful, issued), issued


def _energy(config: Config, outcome: Outcome, columns: Mapping[str, Any]) -> dict[str, float]:
    timing, currents = config.timing, dram_energy.HBM2_CURRENTS
    cycles = sum(outcome.stages.values())
    found = dram_energy.energy_pj(outcome.commands, timing, currents)
    found["dram standby"] = dram_energy.standby_pj(
        timing,
        currents,
        rank_clocks=float(cycles * timing.ranks * config.channels),
        active_rank_clocks=outcome.active_clocks,
        dual=config.system == "neupims",
    )
    on_npu = [resource != "pim" for resource in columns["resource"]]
    linear = [kind == "linear" or config.system == "npu-only" for kind in columns["kind"]]
    macs = int(np.sum(np.array(columns["useful_macs"])[np.array(linear)]))
    moved = int(np.sum(np.array(columns["dram_bytes"])[np.array(on_npu)]))
    found["npu arithmetic"] = macs * (FP16_MULTIPLY_PJ + FP32_ADD_PJ)
    found["npu scratchpads"] = 2 * moved * sram_byte_pj(config.scratchpad_bytes)
    return found


def example() -> RequestBatch:
    """Return a small batch for the tests that every accelerator passes."""
    return RequestBatch(name="example", lengths=(40, 700, 96, 33), channels=(0, 1, 1, 31))
