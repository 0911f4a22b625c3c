"""Decisions and costs of every operation on the plain systolic array."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator import energy, operation_rows
from simulator.accelerators.systolic import memory, timing
from simulator.accelerators.systolic.config import Config
from simulator.counting import check_countable
from simulator.report import REQUIRED, Report
from workloads.columns import operand_bits
from workloads.operations import MatMul, Operation, Selection, VectorOp, Workload
from workloads.patterns import DENSE, NM, Block
from workloads.rounding import ceil_div

COLUMNS = (
    *REQUIRED,
    *("pattern", "batch", "stationarity", "fill_cycles", "stall_cycles", "hidden_cycles"),
    *("utilisation", "sram_bytes", "energy_pj"),
)

COMPONENTS = ("array", "vector unit", "selection", "buffers", "dram")
"""Components of the energy."""


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

    def __post_init__(self) -> None:
        operation_rows.check_decisions(self.workload, self.products)


def schedule(config: Config, workload: Workload) -> Plan:
    """Choose the sparse operand and the order of tiles of every product."""
    check_countable(workload.name, workload.macs)
    return Plan(
        workload=workload,
        products=tuple(_plan_product(config, op) for op in workload.matmuls),
    )


def simulate(config: Config, plan: Plan) -> Report:
    """Return time, traffic and energy of the plan, operations one after the other."""
    rows = list(operation_rows.hide_fused_traffic(_rows(config, plan), plan.workload))
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    return Report(
        accelerator="systolic",
        config=config,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=columns,
        energy_pj={name: sum(row["components"][name] for row in rows) for name in COMPONENTS},
        notes=plan.workload.notes + _notes(config, plan),
    )


def _rows(config: Config, plan: Plan) -> Iterator[dict[str, Any]]:
    products = iter(plan.products)
    for op in plan.workload:
        if isinstance(op, MatMul):
            yield _product_row(config, op, next(products))
        else:
            yield _vector_row(config, op)


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
    """Return the operand whose pattern shortens k most, and the shortened k; empty if none does."""
    best, steps = "", op.k
    for side, pattern in (("right", op.right.pattern), ("left", op.left.pattern)):
        short = op.k
        if config.nm_support and isinstance(pattern, NM):
            short = op.k // op.k_run * ceil_div(op.k_run, pattern.m) * pattern.n
        elif side == "right" and isinstance(pattern, Block) and _fills_tiles(config, pattern):
            blocks = ceil_div(op.k, pattern.rows)
            short = math.ceil(blocks * pattern.fraction) * pattern.rows
        best, steps = (side, short) if short < steps else (best, steps)
    return best, steps


def _fills_tiles(config: Config, pattern: Block) -> bool:
    """Say whether leaving out a block leaves out whole tiles of the right operand.

    Output-stationary, a tile is as wide as the array and k streams past it; weight-stationary, it
    is as large as the array. Input-stationary, the right operand streams, and nothing is left out.
    """
    if not config.block_support or config.dataflow == "is" or pattern.cols % config.cols:
        return False
    return config.dataflow == "os" or pattern.rows % config.rows == 0


def _product(config: Config, op: MatMul, sparse_operand: str, steps_k: int) -> memory.Product:
    """Return multiplied shape and bytes of one product of the batch, as this array stores it."""
    left = operation_rows.stored_bytes(op.left, config.value_bits, compact=sparse_operand == "left")
    right = operation_rows.stored_bytes(
        op.right, config.value_bits, compact=sparse_operand == "right"
    )
    out_bits = config.accumulator_bits if op.out.tensor == "dW" else config.value_bits
    return memory.Product(
        m=op.m,
        k=steps_k,
        n=op.n,
        left_bytes=ceil_div(left, op.batch),
        right_bytes=ceil_div(right, op.batch),
        out_bytes=ceil_div(op.out.elements * out_bits, 8 * op.batch),
        psum_bytes=ceil_div(op.m * op.n * config.accumulator_bits, 8),
    )


def _product_row(config: Config, op: MatMul, plan: ProductPlan) -> dict[str, Any]:
    product = _product(config, op, plan.sparse_operand, plan.steps_k)
    tiling = timing.tiling(
        op.m, plan.steps_k, op.n, rows=config.rows, cols=config.cols, dataflow=config.dataflow
    )
    compute = timing.cycles(
        tiling, rows=config.rows, tile_overlap=config.tile_overlap, batch=op.batch
    )
    stream = tiling.tiles * tiling.steps * op.batch
    issued = stream * config.peak_macs_per_cycle
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
        issued_macs=issued,
        dram_bytes=dram_bytes,
        compulsory_bytes=op.batch * product.compulsory_bytes,
        sram_bytes=dram_bytes + op.batch * _fed_bytes(config, op, product),
        array=issued * (energy.multiply_pj(config.value_bits) + energy.FP32_ADD_PJ),
        busy="array" if 2 * stream >= compute else "fill and drain",
    )


def _fed_bytes(config: Config, op: MatMul, product: memory.Product) -> int:
    """Return the bytes between buffers and array edges for one product of the batch.

    Every operand element meets each tile that uses it; the dense operand passes whole, also where
    an N:M index picks few of its elements. A partial sum is written by every tile of k and read by
    every tile but the first.
    """
    left = ceil_div(op.m * op.k * product.left_bytes, max(op.left.elements // op.batch, 1))
    right = ceil_div(op.k * op.n * product.right_bytes, max(op.right.elements // op.batch, 1))
    down, across = ceil_div(op.m, config.rows), ceil_div(op.n, config.cols)
    deep = ceil_div(product.k, config.rows)
    match config.dataflow:
        case "os":
            return left * across + right * down + product.out_bytes
        case "ws":
            return left * across + right + (2 * deep - 1) * product.psum_bytes
        case "is":
            across = ceil_div(op.m, config.cols)
            return left + right * across + (2 * deep - 1) * product.psum_bytes


def _vector_row(config: Config, op: VectorOp | Selection) -> dict[str, Any]:
    if isinstance(op, Selection):
        lane_operations = operation_rows.comparisons(op)
        traffic = operation_rows.selected_bytes(op, config.value_bits)
        work: dict[str, Any] = {"kind": "selection", "pattern": str(op.pattern)}
        work["selection"] = lane_operations * energy.INT16_COMPARE_PJ
    else:
        lane_operations = op.elements * op.lane_operations
        traffic = op.read_bytes + op.write_bytes
        work = {"kind": op.kind, "vector unit": lane_operations * energy.LANE_PJ}
    fused = isinstance(op, VectorOp) and op.fused
    return _row(
        config,
        op,
        **work,
        compute_cycles=0 if fused else ceil_div(lane_operations, config.vector_lanes),
        dram_bytes=traffic,
        compulsory_bytes=traffic,
        sram_bytes=traffic,
        busy="vector unit",
    )


def _row(config: Config, op: Operation, *, busy: str, **values: Any) -> dict[str, Any]:
    """Complete the row of an operation with its times and its energy."""
    defaults = dict.fromkeys((*COLUMNS, *COMPONENTS), 0)
    made = operation_rows.row(
        op,
        busy=busy,
        clock_hz=config.clock_hz,
        dram_bytes_per_s=config.dram_bytes_per_s,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        **{**defaults, "stationarity": "-", "pattern": "-", "batch": 1, **values},
    )
    made["buffers"] = made["sram_bytes"] * energy.sram_byte_pj(_smallest_buffer_bytes(config))
    made["dram"] = made["dram_bytes"] * energy.DRAM_BYTE_PJ
    components = {name: float(made[name]) for name in COMPONENTS}
    return made | {"energy_pj": sum(components.values()), "components": components}


def _smallest_buffer_bytes(config: Config) -> int:
    return min(config.left_buffer_bytes, config.right_buffer_bytes, config.out_buffer_bytes)


def _notes(config: Config, plan: Plan) -> tuple[str, ...]:
    """Say what N:M is taken to cost, which patterns stay unused, and what is converted."""
    notes, unused = [], []
    for op, decided in zip(plan.workload.matmuls, plan.products, strict=True):
        patterns = (op.left.pattern, op.right.pattern, op.out.pattern)
        if not decided.sparse_operand and patterns != (DENSE, DENSE, DENSE):
            unused.append(op.name)
    used = [
        getattr(op, decided.sparse_operand).pattern
        for op, decided in zip(plan.workload.matmuls, plan.products, strict=True)
        if decided.sparse_operand
    ]
    if any(isinstance(pattern, Block) for pattern in used):
        notes.append("blocks that fill tiles are left out; they are taken to be spread evenly")
    if any(isinstance(pattern, NM) for pattern in used):
        notes.append(
            "N:M shortens the reduction by M/N, the optimistic convention of SCALE-Sim; "
            "--set nm_support=off gives the truly dense array"
        )
    if unused:
        helps = "only N:M that shortens k, and blocks of W that fill tiles, help"
        why = helps if config.nm_support else "nm_support is off"
        notes.append(f"{len(unused)} products, such as {unused[0]}, run dense: {why}")
    widths = operand_bits(plan.workload)
    return (*notes, *operation_rows.width_notes(widths, config.value_bits))
