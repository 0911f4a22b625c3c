"""The preset `paper`: the plan's stages by closed form, as the text describes the device.

Source: NeuPIMs (ASPLOS 2024, arXiv 2403.00579), sections 4 to 6. What it describes and its
simulator does otherwise: scratchpads of their real size; whole results written; the arrays take the
next weights while they stream; the core hands over PIM instructions as fast as they issue; softmax
of one head runs beside the PIM's work on others, so that logit and attend of a channel are one
stream of tiles.

Products: weights pass once, activations once for every group of columns whose sums fit half of the
accumulators. A step of 128 x 128 weights takes as many clocks as there are rows, at least the 128
that its weights take to load. Attention on the arrays (npu-only): caches pass once, and each 128
keys or values of a head take 128 clocks. Memory: `simulator.dram.striped`. PIM:
`simulator.dram.closed_form`. NPU and PIM of a stage work side by side and delay each other no more
than the command bus of the fullest channel forces. With one row buffer (npu-pim) a tile's rows stay
open until its last READRES and GWRITE changes rows; with two a GEMV lets them close while it runs,
as in the published simulator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from dataflow.kv_layout import KvLayout
from simulator.accelerators.neupims.config import Config
from simulator.accelerators.neupims.npu import ARRAYS, SIZE, VECTOR_UNITS, softmax_clocks
from simulator.accelerators.neupims.outcome import Outcome
from simulator.accelerators.neupims.plan import (
    AllReduce,
    Attention,
    Operator,
    Plan,
    Product,
    RowWork,
)
from simulator.collectives import Link, all_reduce_seconds
from simulator.dram.closed_form import GWRITE, Run, announced, run_ends
from simulator.dram.striped import accesses_of, striped_clocks
from workloads.rounding import ceil_div

FILL = 2 * SIZE - 1
"""Clocks from the first row into an array to its last column's first result."""

PASSES = {"layernorm": 5, "residual": 1, "gelu": 1}
"""Passes of the vector units over a row; layer norm: two adder trees (their first level), two
products and a root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an operator takes on the NPU: clocks, bytes read and written, clocks of the arrays."""

    clocks: int
    read_bytes: int
    write_bytes: int
    array_clocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PimWork:
    """What attention takes in the PIM: clocks of logit and attend, mean clocks, and commands."""

    spans: dict[str, int]
    answers: dict[str, int]
    """READRES of logit and of attend."""
    mean_clocks: float
    commands: Counter[str]
    fullest: int
    """Commands of the channel that has most, COMP and READRES left out: with two row buffers, where
    the NPU shares the command bus, a GEMV stands for both."""


def run(config: Config, plan: Plan) -> Outcome:
    """Return clocks and commands of the stages."""
    stages: dict[str, int] = {}
    operators: dict[str, int] = {}
    transfers: dict[str, int] = {}
    commands: Counter[str] = Counter()
    array_clocks, pim_clocks = 0, 0.0
    attention = {ops: pim_work(config, plan, ops) for ops in {stage.pim for stage in plan.stages}}
    for stage in plan.stages:
        npu = {op.name: npu_work(config, plan, op) for op in stage.npu}
        pim = attention[stage.pim]
        moved = {name: _accesses(config, work) for name, work in npu.items()}
        accesses = sum(moved.values(), Counter[str]())
        per_row = config.timing.row_bytes // config.timing.access_bytes
        bus = pim.fullest + sum(accesses.values()) * (per_row + 2) // (per_row * config.channels)
        npu_clocks = sum(work.clocks for work in npu.values())
        stages[stage.name] = max(npu_clocks, sum(pim.spans.values()), bus)
        operators |= {f"{stage.name}.{name}": work.clocks for name, work in npu.items()}
        operators |= {f"{stage.name}.{name}": clocks for name, clocks in pim.spans.items()}
        transfers |= {f"{stage.name}.{name}": found.total() for name, found in moved.items()}
        transfers |= {f"{stage.name}.{name}": count for name, count in pim.answers.items()}
        array_clocks += sum(work.array_clocks for work in npu.values())
        pim_clocks += pim.mean_clocks
        commands += pim.commands + accesses
    total = sum(stages.values())
    return Outcome(
        stages=stages,
        operators=operators,
        moved_bytes={name: n * config.timing.access_bytes for name, n in transfers.items()},
        commands=_with_rows(config, commands, total),
        matrix_busy=array_clocks,
        pim_busy=pim_clocks,
        active_clocks=_active(config, commands, pim_clocks),
    )


def npu_work(config: Config, plan: Plan, op: Operator) -> Work:
    """Return the work of an operator on the NPU."""
    if isinstance(op, Product):
        return product_work(config, op)
    if isinstance(op, RowWork):
        inputs = 2 if op.kind == "residual" else 1
        passes = PASSES[op.kind] * op.rows * ceil_div(op.width, SIZE)
        reads, writes = 2 * inputs * op.rows * op.width, 2 * op.rows * op.width
        clocks = max(_memory(config, reads + writes), ceil_div(passes, VECTOR_UNITS))
        return Work(clocks=clocks, read_bytes=reads, write_bytes=writes)
    if isinstance(op, AllReduce):
        return _all_reduce(config, op)
    lengths = [plan.batch.lengths[i] for i in op.requests]
    heads = plan.layout.heads
    reads = 2 * 2 * sum(lengths) * plan.layout.width
    writes = 2 * len(lengths) * plan.layout.width * plan.layout.groups
    blocks = 2 * heads * sum(ceil_div(length, SIZE) for length in lengths)
    arrays = ceil_div(blocks * SIZE * ceil_div(plan.layout.head_width, SIZE), ARRAYS)
    clocks = max(_memory(config, reads + writes), arrays + FILL)
    return Work(clocks=clocks, read_bytes=reads, write_bytes=writes, array_clocks=arrays)


def _all_reduce(config: Config, op: AllReduce) -> Work:
    """Return an all-reduce on a ring (`simulator.collectives`), no byte of it through the DRAM."""
    link = Link(bytes_per_s=config.link_bytes_per_s, latency_s=0.0)
    seconds = all_reduce_seconds(link, config.tensor_parallel, 2 * op.rows * op.width)
    return Work(clocks=ceil(seconds * config.clock_hz), read_bytes=0, write_bytes=0)


def product_work(config: Config, op: Product) -> Work:
    """Return the work of a product: weights once, activations once per group of columns."""
    half = config.scratchpad_bytes // 2
    group = max(SIZE, half // (2 * op.rows) // SIZE * SIZE)
    groups = ceil_div(op.columns, group)
    reads = config.weight_bytes(op.depth, op.columns) + 2 * groups * op.rows * op.depth
    writes = 2 * op.rows * op.columns
    steps = ceil_div(op.depth, SIZE) * ceil_div(op.columns, SIZE)
    arrays = ceil_div(steps, ARRAYS) * max(op.rows, SIZE)
    clocks = max(_memory(config, reads + writes), arrays) + FILL
    return Work(clocks=clocks, read_bytes=reads, write_bytes=writes, array_clocks=arrays)


def pim_work(config: Config, plan: Plan, operators: Sequence[Attention]) -> PimWork:
    """Return the time of logit and attend in the slowest channel, and the commands of all."""
    if not operators:
        return PimWork(spans={}, answers={}, mean_clocks=0.0, commands=Counter(), fullest=0)
    requests = operators[0].requests
    by_channel: dict[int, list[int]] = {}
    for i in requests:
        by_channel.setdefault(plan.channels_of[i], []).append(plan.batch.lengths[i])
    logits, totals, fullest, logit_answers = [], [], 0, 0
    commands: Counter[str] = Counter()
    for lengths in by_channel.values():
        parts = [_runs(plan.layout, length) for length in lengths]
        logit_runs = [run for logit, _ in parts for run in logit]
        runs = logit_runs + [run for _, attend in parts for run in attend]
        ends = run_ends(config.timing, runs, refresh=config.refresh, dual=config.dual)
        logits.append(ends[len(logit_runs) - 1] + config.timing.read_delay)
        totals.append(ends[-1] + config.timing.read_delay)
        here = _commands(config, runs)
        logit_answers += _sums(logit_runs)
        fullest = max(fullest, here.total() - here["COMP"] - here["READRES"])
        commands += here
    last = softmax_clocks(max(plan.batch.lengths[i] for i in requests))
    names = [op.name for op in operators]
    logit = max(logits) + last
    spans = {names[0]: logit, names[1]: max(max(totals) + last - logit, 0)}
    return PimWork(
        spans=spans,
        answers={names[0]: logit_answers, names[1]: commands["READRES"] - logit_answers},
        mean_clocks=sum(totals) / config.channels,
        commands=commands,
        fullest=fullest,
    )


@lru_cache(maxsize=8192)
def _runs(layout: KvLayout, tokens: int) -> tuple[list[Run], list[Run]]:
    """Return the GWRITE and tiles of a request's logit and of its attend."""
    logit: list[Run] = []
    for chunk in range(layout.key_chunks):
        heads = layout.heads_in_chunk(chunk)
        count = ceil_div(tokens, layout.banks)
        logit += [GWRITE, _tiles(heads, layout.comps_per_head, count, round_up=False)]
    attend: list[Run] = []
    for part in layout.value_chunks(tokens):
        comps = ceil_div(part, layout.multipliers)
        attend += [GWRITE, _tiles(1, comps, layout.value_rows, round_up=True)]
    return logit * layout.groups, attend * (layout.heads * layout.groups)


def _tiles(gemvs: int, comps: int, count: int, *, round_up: bool) -> Run:
    return Run(gemvs, comps, *announced(comps, gemvs, round_up=round_up), count)


def _commands(config: Config, runs: Sequence[Run]) -> Counter[str]:
    tiles = sum(run.count for run in runs if run.gemvs)
    gemvs = _sums(runs)
    timing = config.timing
    return Counter(
        GWRITE=sum(not run.gemvs for run in runs),
        G_ACT=tiles * timing.ranks * timing.groups,
        COMP=sum(run.count * run.gemvs * run.comps for run in runs),
        READRES=gemvs,
        GEMV=gemvs if config.dual else 0,
        PPRE=tiles * timing.banks_total if config.dual else 0,
        PRE=0 if config.dual else tiles * timing.banks_total,
    )


def _sums(runs: Sequence[Run]) -> int:
    """Return how many sums the tiles of all runs give: one for each GEMV."""
    return sum(run.count * run.gemvs for run in runs)


def _memory(config: Config, size_bytes: int) -> int:
    return striped_clocks(
        config.timing, size_bytes, channels=config.channels, refresh=config.refresh
    )


def _accesses(config: Config, work: Work) -> Counter[str]:
    reads, writes = work.read_bytes, work.write_bytes
    return Counter(RD=accesses_of(config.timing, reads), WR=accesses_of(config.timing, writes))


def _with_rows(config: Config, commands: Counter[str], clocks: int) -> dict[str, int]:
    """Add one activation for each row's worth of accesses, and the refreshes that fall due."""
    timing = config.timing
    rows = (commands["RD"] + commands["WR"]) * timing.access_bytes // timing.row_bytes
    refreshes = clocks // timing.refresh_interval * config.channels if config.refresh else 0
    return {
        **commands,
        "ACT": rows + commands["GWRITE"],
        "PRE": rows + commands["PRE"] + commands["GWRITE"],
        "REF": refreshes,
    }


def _active(config: Config, commands: Mapping[str, int], pim_clocks: float) -> tuple[float, float]:
    """Return the clocks of all ranks with a row open: while the data bus, or the PIM, is busy.

    With one row buffer the rows of the PIM are open in the normal one.
    """
    ranks = config.timing.ranks
    normal = float((commands["RD"] + commands["WR"]) * config.timing.burst * ranks)
    pim = pim_clocks * config.channels * ranks
    return (normal, pim) if config.dual else (normal + pim, 0.0)
