"""A plain systolic array: output-, weight- or input-stationary, the baseline that everyone knows.

Source: the cycle counts and the treatment of N:M are the published conventions of SCALE-Sim 3 (with
`tile_overlap=none`, equal to every row of the exhibit `peers/systolic`); energy from
`simulator.energy`.

Exact: tiles, edges and cycles of a product (`timing`, proved by the register-level `stepped`);
bytes of compact N:M operands, indices included.

Approximate:
- An N:M operand shortens k to ceil(run / M) x N per run of k before tiling, as in SCALE-Sim: each
  step multiplies a kept value by the element that its index picks out of a window of M. The dense
  operand is still fed whole, M words for N steps, which `sram_bytes` counts. If both operands are
  N:M, the one that shortens k more is exploited. With `nm_support=off` the array is truly dense: it
  stores and multiplies every element.
- Off-chip traffic follows `memory`: the best of two tile orders for each product. Transfers
  overlap with compute perfectly: an operation takes the longer of the two. A stripe of a
  convolution's input is charged in proportion, without the halo that neighbouring stripes share.
- Vector work occupies `vector_lanes` elements a cycle; a selection of N of M scans its elements N
  times on the same lanes. Both run alone, one after the other with the products.
- Energy counts useful multiply-accumulates, buffer and DRAM bytes; an idle or padded slot is free.

Ignored: latency of the first transfer and of DRAM, bank conflicts, reuse of a tensor between
operations, control, leakage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from simulator.accelerators.systolic import memory, timing
from simulator.configuration import check_positive
from simulator.energy import ActionCounts
from simulator.report import Report
from workloads.operations import MatMul, Operand, Operation, Selection, VectorOp, Workload
from workloads.patterns import DENSE, NM

NEVER_SLOWER_WITH = (
    "dram_bytes_per_s",
    "left_buffer_bytes",
    "right_buffer_bytes",
    "out_buffer_bytes",
    "vector_lanes",
)
"""Config fields whose increase never makes a run slower."""

COLUMNS = (
    "name",
    "layer",
    "pass",
    "kind",
    "pattern",
    "m",
    "k",
    "n",
    "batch",
    "stationarity",
    "cycles",
    "compute_cycles",
    "memory_cycles",
    "fill_cycles",
    "stall_cycles",
    "useful_macs",
    "issued_macs",
    "utilisation",
    "dram_bytes",
    "compulsory_bytes",
    "sram_bytes",
    "bottleneck",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A rows x cols array with three buffers and a vector unit."""

    rows: int = 32
    """PEs from north to south; the axis of k (ws, is) or of m (os). As SAT's array."""

    cols: int = 32
    """PEs from west to east; the axis of n (os, ws) or of m (is). As SAT's array."""

    dataflow: timing.Dataflow = "os"
    """Operand that stays in the array: os outputs, ws weights (right operand), is inputs (left)."""

    tile_overlap: timing.TileOverlap = "double_buffered"
    """How tiles follow each other: none (SCALE-Sim), double_buffered, ideal (no fill, no drain)."""

    nm_support: bool = True
    """Whether an N:M operand shortens the reduction (SCALE-Sim 3) or is treated as dense."""

    clock_hz: float = 200e6
    """Clock in Hz. As SAT's array, so that the two compare."""

    left_buffer_bytes: int = 1 << 20
    """Buffer of the left operand, both halves; SCALE-Sim's IfmapSram, 1024 kB in its example."""

    right_buffer_bytes: int = 1 << 20
    """Buffer of the right operand, both halves; SCALE-Sim's FilterSram."""

    out_buffer_bytes: int = 1 << 20
    """Buffer of results and partial sums, both halves; SCALE-Sim's OfmapSram."""

    accumulator_bits: int = 32
    """Width of a partial sum in bits: fp32 accumulation of fp16 products."""

    dram_bytes_per_s: float = 76.8e9
    """Off-chip bandwidth in bytes/s: four channels of DDR4-2400, as on the card SAT used."""

    vector_lanes: int = 32
    """Elements of vector work per cycle; one per column."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "rows",
            "cols",
            "clock_hz",
            "left_buffer_bytes",
            "right_buffer_bytes",
            "out_buffer_bytes",
            "accumulator_bits",
            "dram_bytes_per_s",
            "vector_lanes",
        )

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates per cycle of the whole array."""
        return self.rows * self.cols


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """Decisions for one product: which operand's N:M is exploited, and what stays on the chip."""

    sparse_operand: str
    """left, right, or empty for a dense product."""

    steps_k: int
    """Length of the reduction that is multiplied."""

    reuse: memory.Reuse
    """Order of tiles, reads of each operand, spilled partial sums, for one product of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations, and for each product its decisions."""

    workload: Workload
    products: tuple[ProductPlan, ...]


def schedule(config: Config, workload: Workload) -> Plan:
    """Choose the sparse operand and the order of tiles of every product."""
    return Plan(
        workload=workload,
        products=tuple(_plan_product(config, op) for op in workload.matmuls),
    )


def simulate(config: Config, plan: Plan) -> Report:
    """Return time, traffic and energy of the plan, operations one after the other."""
    plans = iter(plan.products)
    rows = [
        _product_row(config, op, next(plans)) if isinstance(op, MatMul) else _vector_row(config, op)
        for op in plan.workload
    ]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    return Report(
        accelerator="systolic",
        config=config,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=columns,
        energy_pj=_energy_pj(config, plan, columns),
        notes=plan.workload.notes + _notes(config, plan),
    )


def _plan_product(config: Config, op: MatMul) -> ProductPlan:
    sparse_operand, steps_k = _exploited(config, op)
    buffers = memory.Buffers(
        config.left_buffer_bytes, config.right_buffer_bytes, config.out_buffer_bytes
    )
    reuse = memory.best_reuse(
        _product(config, op, sparse_operand, steps_k),
        buffers,
        rows=config.rows,
        cols=config.cols,
        dataflow=config.dataflow,
    )
    return ProductPlan(sparse_operand=sparse_operand, steps_k=steps_k, reuse=reuse)


def _exploited(config: Config, op: MatMul) -> tuple[str, int]:
    """Return the operand whose N:M shortens k most, and the shortened k; empty if none does."""
    best, steps = "", op.k
    for side, operand in (("right", op.right), ("left", op.left)):
        pattern = operand.pattern
        if config.nm_support and isinstance(pattern, NM):
            short = op.k // op.k_run * timing.ceil_div(op.k_run, pattern.m) * pattern.n
            best, steps = (side, short) if short < steps else (best, steps)
    return best, steps


def _product(config: Config, op: MatMul, sparse_operand: str, steps_k: int) -> memory.Product:
    """Return multiplied shape and bytes of one product of the batch, as this array stores it."""
    left = _stored_bytes(op.left, sparse_operand == "left")
    right = _stored_bytes(op.right, sparse_operand == "right")
    return memory.Product(
        m=op.m,
        k=steps_k,
        n=op.n,
        left_bytes=timing.ceil_div(left, op.batch),
        right_bytes=timing.ceil_div(right, op.batch),
        out_bytes=timing.ceil_div(op.out.dense_bytes, op.batch),
        psum_bytes=timing.ceil_div(op.m * op.n * config.accumulator_bits, 8),
    )


def _stored_bytes(operand: Operand, compact: bool) -> int:
    return operand.stored_bytes if compact else operand.dense_bytes


def _product_row(config: Config, op: MatMul, plan: ProductPlan) -> dict[str, Any]:
    product = _product(config, op, plan.sparse_operand, plan.steps_k)
    tiling = timing.tiling(
        op.m, plan.steps_k, op.n, rows=config.rows, cols=config.cols, dataflow=config.dataflow
    )
    compute = timing.cycles(
        tiling, rows=config.rows, tile_overlap=config.tile_overlap, batch=op.batch
    )
    stream = tiling.tiles * tiling.steps * op.batch
    dram_bytes = op.batch * plan.reuse.traffic_bytes(product)
    return _row(
        config,
        op,
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        kind=op.kind,
        pattern=str(getattr(op, plan.sparse_operand).pattern) if plan.sparse_operand else "dense",
        stationarity=config.dataflow,
        compute_cycles=compute,
        fill_cycles=compute - stream,
        useful_macs=op.kept_macs,
        issued_macs=stream * config.peak_macs_per_cycle,
        dram_bytes=dram_bytes,
        compulsory_bytes=op.batch * (product.left_bytes + product.right_bytes + product.out_bytes),
        sram_bytes=dram_bytes + op.batch * _fed_bytes(config, op, product),
        busy="array" if 2 * stream >= compute else "fill and drain",
    )


def _fed_bytes(config: Config, op: MatMul, product: memory.Product) -> int:
    """Return the bytes between buffers and array edges for one product of the batch.

    Every operand element meets each tile that uses it; the dense operand passes whole, also where
    an N:M index picks few of its elements. A partial sum is written by every tile of k and read by
    every tile but the first.
    """
    left = timing.ceil_div(op.m * op.k * product.left_bytes, max(op.left.elements // op.batch, 1))
    right = timing.ceil_div(
        op.k * op.n * product.right_bytes, max(op.right.elements // op.batch, 1)
    )
    down, across = timing.ceil_div(op.m, config.rows), timing.ceil_div(op.n, config.cols)
    deep = timing.ceil_div(product.k, config.rows)
    match config.dataflow:
        case "os":
            return left * across + right * down + product.out_bytes
        case "ws":
            return left * across + right + (2 * deep - 1) * product.psum_bytes
        case "is":
            across = timing.ceil_div(op.m, config.cols)
            return left + right * across + (2 * deep - 1) * product.psum_bytes


def _vector_row(config: Config, op: VectorOp | Selection) -> dict[str, Any]:
    if isinstance(op, Selection):
        lane_operations = op.elements * _scans(op)
        operand = Operand(
            tensor=op.tensor, elements=op.elements, dtype=op.dtype, pattern=op.pattern
        )
        traffic, kind, pattern = operand.dense_bytes + operand.stored_bytes, "selection", op.pattern
    else:
        lane_operations = 0 if op.fused else op.elements * op.lane_operations
        traffic = 0 if op.fused else op.read_bytes + op.write_bytes
        kind, pattern = op.kind, DENSE
    return _row(
        config,
        op,
        kind=kind,
        pattern=str(pattern),
        compute_cycles=timing.ceil_div(lane_operations, config.vector_lanes),
        dram_bytes=traffic,
        compulsory_bytes=traffic,
        sram_bytes=traffic,
        busy="vector unit",
    )


def _scans(op: Selection) -> int:
    """Return how often a selection scans its elements: once per element kept of a group."""
    return op.pattern.n if isinstance(op.pattern, NM) else 1


def _row(config: Config, op: Operation, *, busy: str, **values: Any) -> dict[str, Any]:
    """Complete the row of an operation with its times, its bottleneck and its utilisation."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {"stationarity": "-", "batch": 1} | values
    memory_cycles = math.ceil(row["dram_bytes"] * config.clock_hz / config.dram_bytes_per_s)
    cycles = max(row["compute_cycles"], memory_cycles)
    slots = cycles * config.peak_macs_per_cycle
    return row | {
        "name": op.name,
        "layer": op.layer,
        "pass": str(op.pass_),
        "cycles": cycles,
        "memory_cycles": memory_cycles,
        "stall_cycles": cycles - row["compute_cycles"],
        "bottleneck": "none" if cycles == 0 else busy if cycles > memory_cycles else "dram",
        "utilisation": row["useful_macs"] / slots if slots else 0.0,
    }


def _energy_pj(config: Config, plan: Plan, columns: dict[str, Any]) -> dict[str, float]:
    macs = sum(columns["useful_macs"])
    lane_operations = sum(
        op.elements * op.lane_operations for op in plan.workload.vector_ops if not op.fused
    )
    buffers = (config.left_buffer_bytes, config.right_buffer_bytes, config.out_buffer_bytes)
    return ActionCounts(
        fp16_multiplies=macs,
        fp32_adds=macs + lane_operations,
        fp32_multiplies=lane_operations,
        compares=sum(op.elements * _scans(op) for op in plan.workload.selections),
        sram_bytes=sum(columns["sram_bytes"]),
        sram_capacity_bytes=sum(buffers) // len(buffers),
        dram_bytes=sum(columns["dram_bytes"]),
    ).energy_pj()


def _notes(config: Config, plan: Plan) -> tuple[str, ...]:
    """Say what N:M is taken to cost, and which patterns of the workload stay unused."""
    notes, unused = [], []
    for op, decided in zip(plan.workload.matmuls, plan.products, strict=True):
        if not decided.sparse_operand and (op.left.pattern, op.right.pattern) != (DENSE, DENSE):
            unused.append(op.name)
    if any(decided.sparse_operand for decided in plan.products):
        notes.append(
            "N:M shortens the reduction by M/N, the optimistic convention of SCALE-Sim; "
            "--set nm_support=off gives the truly dense array"
        )
    if unused:
        why = "only N:M that shortens k helps" if config.nm_support else "nm_support is off"
        notes.append(f"{len(unused)} products, such as {unused[0]}, run dense: {why}")
    return tuple(notes)
