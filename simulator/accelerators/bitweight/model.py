"""Schedule a workload on a bit-weight array and say what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dataflow.digits.tables import nonzero_counts
from simulator.accelerators.bitweight import baselines, columns, laws, statistical
from simulator.accelerators.bitweight.columns import Steps
from simulator.accelerators.bitweight.config import BIT_SLICE, DENSE, SPARSE, Config
from simulator.accelerators.bitweight.operands import Operands, check_reduction
from simulator.accelerators.bitweight.synthesis import find
from simulator.accelerators.systolic import memory
from simulator.report import Report
from workloads.operations import MatMul, Operation, Selection, VectorOp, Workload

COLUMNS = (
    "name",
    "layer",
    "pass",
    "kind",
    "m",
    "k",
    "n",
    "batch",
    "cycles",
    "compute_cycles",
    "memory_cycles",
    "stall_cycles",
    "useful_macs",
    "issued_macs",
    "utilisation",
    "steps",
    "column_utilisation",
    "dram_bytes",
    "compulsory_bytes",
    "bottleneck",
    "energy_pj",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The workload, values if there are any, and the order of tiles of every product."""

    workload: Workload
    reuse: tuple[memory.Reuse, ...]
    operands: Operands | None = None


def schedule(config: Config, workload: Workload | Operands) -> Plan:
    """Choose the order of tiles of each product; refuse reductions that the sums cannot hold."""
    operands = workload if isinstance(workload, Operands) else None
    if operands is not None:
        operands.check(config.width)
    work = operands.workload if operands is not None else workload
    assert isinstance(work, Workload)
    for op in work.matmuls:
        check_reduction(config, op.k, op.name)
    reuse = tuple(_reuse(config, op) for op in work.matmuls)
    return Plan(workload=work, reuse=reuse, operands=operands)


def simulate(config: Config, plan: Plan) -> Report:
    """Return time, steps, traffic and energy of the plan, operations one after the other."""
    reuse = iter(plan.reuse)
    rows = [
        _product_row(config, plan, op, next(reuse))
        if isinstance(op, MatMul)
        else _vector_row(config, op)
        for op in plan.workload
    ]
    table: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    parts = ("elements", "encoders", "read-out")
    return Report(
        accelerator="bitweight",
        config=config,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=1e9 / config.period_ns,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=table,
        energy_pj={part: float(sum(row[part] for row in rows)) for part in parts},
        extra=_extra(config, plan, rows),
        notes=(*plan.workload.notes, *_notes(config, plan)),
    )


def _extra(config: Config, plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    slowest = sum(row["slowest"] for row in rows)
    steps = sum(row["steps"] for row in rows)
    return {
        "steps": steps,
        "digits_per_operand": _digits(config, plan),
        "column_utilisation": steps / slowest if slowest else 1.0,
        "area_um2": config.area_um2,
    }


def _digits(config: Config, plan: Plan) -> float:
    """Return the mean non-zero EN-T digits of the left operands, measured or expected."""
    if plan.operands is not None:
        return float(nonzero_counts(plan.operands.left, "ent", config.width).mean())
    return statistical.operand_digits(config.operand_std, config.width)


def _notes(config: Config, plan: Plan) -> tuple[str, ...]:
    notes = ["energy is that of the logic in an open 0.18 um library; buffers and DRAM are not in"]
    if plan.operands is None and config.engine in (*SPARSE, *BIT_SLICE):
        notes.append(
            f"no values are known: left operands are drawn from a normal distribution of deviation "
            f"{config.operand_std:g} at INT8; --operands gives values"
        )
        if config.banks:
            notes.append("without values, bank conflicts are not counted")
    if any(op.kept_macs < op.macs for op in plan.workload.matmuls):
        notes.append("sparsity patterns are not exploited: products run dense")
    return tuple(notes)


def _reuse(config: Config, op: MatMul) -> memory.Reuse:
    buffers = memory.Buffers(
        config.left_buffer_bytes, config.right_buffer_bytes, config.out_buffer_bytes
    )
    return memory.best_reuse(
        _product(config, op), buffers, rows=config.rows, cols=config.cols, dataflow="os"
    )


def _product(config: Config, op: MatMul) -> memory.Product:
    """Return one product of the batch with its bytes: operands in `width` bits, sums in 32."""

    def stored(elements: int) -> int:
        return -(-elements * config.width // (8 * op.batch))

    return memory.Product(
        m=op.m,
        k=op.k,
        n=op.n,
        left_bytes=stored(op.left.elements),
        right_bytes=stored(op.right.elements),
        out_bytes=stored(op.out.elements),
        psum_bytes=4 * op.m * op.n,
    )


def _product_row(config: Config, plan: Plan, op: MatMul, reuse: memory.Reuse) -> dict[str, Any]:
    product = _product(config, op)
    cycles, steps, slowest = _time(config, plan, op)
    macs = op.macs
    compulsory = op.batch * (product.left_bytes + product.right_bytes + product.out_bytes)
    return _row(
        config,
        op,
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        kind=op.kind,
        compute_cycles=cycles,
        useful_macs=macs,
        issued_macs=macs,
        steps=steps,
        slowest=slowest,
        column_utilisation=steps / slowest if slowest else 1.0,
        dram_bytes=op.batch * reuse.traffic_bytes(product),
        compulsory_bytes=compulsory,
        busy="slowest column" if slowest > 1.1 * steps else "array",
        **_energy(config, op),
    )


def _time(config: Config, plan: Plan, op: MatMul) -> tuple[int, int, int]:
    """Return cycles, steps of the columns, and steps if all columns took the slowest's."""
    across = -(-op.n // config.cols) * op.batch
    if config.engine in DENSE:
        return op.batch * _dense_cycles(config, op), 0, 0
    if config.engine in BIT_SLICE:
        per_mac = baselines.cycles_per_mac(config.engine, config.operand_std, config.width)
        tiles = -(-op.m // config.rows) * across
        return math.ceil(tiles * op.k * per_mac), 0, 0
    steps = _steps(config, plan, op)
    cycles = laws.sparse(across * steps.tile_ends, across * steps.tiles, drain=config.drain_cycles)
    return cycles, across * steps.total, across * steps.slowest


def _steps(config: Config, plan: Plan, op: MatMul) -> Steps:
    if config.engine == "opt2":
        return columns.constant(config, op.m, op.k)
    if plan.operands is not None:
        return columns.exact(config, plan.operands.left)
    return statistical.expected(config, op.m, op.k)


def _dense_cycles(config: Config, op: MatMul) -> int:
    """Return the array's edges, with the read-out of carry-save sums."""
    pair = config.engine != "mac"
    least = config.drain_cycles if pair else 1
    edges = laws.dense(
        config.array,
        op.m,
        op.k,
        op.n,
        rows=config.rows,
        cols=config.cols,
        least=least,
        carry_save=pair,
    )
    return edges + laws.READ_OUT * pair


def _energy(config: Config, op: MatMul) -> dict[str, float]:
    """Return picojoules of the logic: per multiply-accumulate, and per sum that is read out."""
    encoders, sums = 0.0, 0.0
    if config.engine in SPARSE and config.engine != "opt3":
        encoders = op.macs / config.cols * find("column_front", config.width).energy_per_op_pj
    if config.engine not in ("mac", *BIT_SLICE):
        passes = 1 if config.engine in DENSE else config.passes
        sums = op.batch * op.m * op.n * passes * find("simd_lane", config.width).energy_per_op_pj
    elements = op.macs * config.element.energy_per_op_pj
    return {
        "elements": elements,
        "encoders": encoders,
        "read-out": sums,
        "energy_pj": elements + encoders + sums,
    }


def _vector_row(config: Config, op: VectorOp | Selection) -> dict[str, Any]:
    if isinstance(op, Selection):
        lane_operations, traffic, kind = (
            op.elements,
            2 * op.elements * config.width // 8,
            "selection",
        )
    else:
        live = not op.fused
        lane_operations = live * op.elements * op.lane_operations
        traffic, kind = live * (op.read_bytes + op.write_bytes), op.kind
    return _row(
        config,
        op,
        kind=kind,
        compute_cycles=-(-lane_operations // config.vector_lanes),
        dram_bytes=traffic,
        compulsory_bytes=traffic,
        busy="vector unit",
    )


def _row(config: Config, op: Operation, *, busy: str, **values: Any) -> dict[str, Any]:
    """Complete the row of an operation with its times, its bottleneck and its utilisation."""
    row: dict[str, Any] = {
        **dict.fromkeys(COLUMNS, 0),
        **dict.fromkeys(("elements", "encoders", "read-out", "energy_pj"), 0.0),
        "column_utilisation": 1.0,
        "slowest": 0,
        "batch": 1,
        **values,
    }
    bytes_per_cycle = config.dram_bytes_per_s * config.period_ns * 1e-9
    memory_cycles = math.ceil(row["dram_bytes"] / bytes_per_cycle)
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
