"""Schedule a workload on a bit-weight array and say what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from dataflow.digits import mean_digits
from simulator import operation_rows
from simulator.accelerators.bitweight import encoded, timing
from simulator.accelerators.bitweight.config import Config
from simulator.accelerators.bitweight.operands import Operands
from simulator.accelerators.systolic import memory
from simulator.report import REQUIRED, Report
from workloads.operand_values import TensorValues
from workloads.operations import MatMul, Operation, Selection, VectorOp, Workload
from workloads.rounding import ceil_div

COLUMNS = (
    *REQUIRED,
    *("batch", "stall_cycles", "hidden_cycles", "utilisation", "steps", "column_utilisation"),
    *("encoded", "digits", "digits_from", "energy_pj"),
)

COMPONENTS = ("elements", "encoders", "read-out")
"""Components of the energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The workload, and for every product the order of its tiles and its encoded side."""

    workload: Workload
    reuse: tuple[memory.Reuse, ...]
    encoded: tuple[str, ...]


def schedule(config: Config, workload: Workload | Operands) -> Plan:
    """Choose the order of tiles of each product, and the operand whose digits are skipped.

    Raises `InputError` for values that are no integers of the config's width, or floats that no
    quantiser turns into some.
    """
    if isinstance(workload, Operands) and config.quantiser == "none":
        workload.check(config.width)
    work = workload.workload if isinstance(workload, Operands) else workload
    return Plan(
        workload=work,
        reuse=tuple(_reuse(config, op) for op in work.matmuls),
        encoded=tuple(
            encoded.choose(config, op) if config.reads_digits else "left" for op in work.matmuls
        ),
    )


def simulate(config: Config, plan: Plan) -> Report:
    """Return time, steps, traffic and energy of the plan, operations one after the other."""
    decisions = zip(plan.encoded, plan.reuse, strict=True)
    made = (
        _product_row(config, op, *next(decisions))
        if isinstance(op, MatMul)
        else _vector_row(config, op)
        for op in plan.workload
    )
    rows = list(operation_rows.hide_fused_traffic(made, plan.workload))
    table: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    return Report(
        accelerator="bitweight",
        config=config,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=1e9 / config.period_ns,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=table,
        energy_pj={part: float(sum(row[part] for row in rows)) for part in COMPONENTS},
        extra=_extra(config, plan, rows),
        notes=(*plan.workload.notes, *_notes(config, plan, rows)),
    )


def _extra(config: Config, plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    slowest = sum(row["slowest"] for row in rows)
    steps = sum(row["steps"] for row in rows)
    return {
        "steps": steps,
        "digits_per_operand": _digits(plan, rows),
        "column_utilisation": steps / slowest if slowest else 1.0,
        "area_um2": config.area_um2,
    }


def _digits(plan: Plan, rows: list[dict[str, Any]]) -> float:
    """Return the mean digits of the encoded operands, each operand of a product counted once."""
    digits, total = 0.0, 0
    products = (row for row in rows if row["digits_from"])
    for op, row, side in zip(plan.workload.matmuls, products, plan.encoded, strict=True):
        count = op.batch * op.k * (op.m if side == "left" else op.n)
        digits += count * row["digits"]
        total += count
    return digits / total if total else 0.0


def _notes(config: Config, plan: Plan, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = ["energy is that of the logic in an open 0.18 um library; buffers and DRAM are not in"]
    if config.reads_digits:
        found = Counter(row["digits_from"] for row in rows if row["digits_from"])
        notes += _origins(config, plan, found)
    if config.engine == "bitlet":
        notes.append("bitlet has the clock, area and energy of mac: none of its own is known")
    split = [op.name for op in plan.workload.matmuls if len(timing.parts(config, op.k)) > 1]
    if split:
        notes.append(
            f"reductions of more than {config.largest_k} terms are split into parts, added by the "
            f"vector unit: {', '.join(split[:3])}{' and others' * (len(split) > 3)}"
        )
    if any(op.kept_macs < op.macs for op in plan.workload.matmuls):
        notes.append("sparsity patterns are not exploited: products run dense")
    return tuple(notes)


def _origins(config: Config, plan: Plan, found: Counter[str]) -> list[str]:
    """Say where digits come from, and every assumption about those that are not known."""
    notes = []
    total = found.total()
    if found["values"] or found["histogram"]:
        notes.append(
            f"digits of {found['values']} of {total} products come from values and of "
            f"{found['histogram']} from histograms of them"
        )
    encoded = zip(plan.workload.matmuls, plan.encoded, strict=True)
    read = any(isinstance(getattr(op, side).values, TensorValues) for op, side in encoded)
    if read and config.quantiser != "none":
        per = {"tensor": "tensor", "channel": "output channel of weights, else per tensor"}
        notes.append(
            f"floats are scaled to {config.width} bits per {per[config.quantiser]}; the scale "
            f"covers {config.percentile:g} % of the magnitudes"
        )
    if found["assumed"]:
        notes.append(
            f"digits of {found['assumed']} of {total} products are assumed: operands drawn from a "
            f"normal distribution of deviation {config.operand_std:g} at INT8 (operand_std)"
        )
    if config.banks and found["values"] < total:
        notes.append("without values, bank conflicts are not counted")
    return notes


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
        return ceil_div(elements * config.width, 8 * op.batch)

    return memory.Product(
        m=op.m,
        k=op.k,
        n=op.n,
        left_bytes=stored(op.left.elements),
        right_bytes=stored(op.right.elements),
        out_bytes=stored(op.out.elements),
        psum_bytes=timing.PSUM_BYTES * op.m * op.n,
    )


def _product_row(config: Config, op: MatMul, side: str, reuse: memory.Reuse) -> dict[str, Any]:
    product = _product(config, op)
    work = timing.product(config, op, side)
    steps = work.tiles_across * work.steps.total
    slowest = work.tiles_across * work.steps.slowest
    return _row(
        config,
        op,
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        kind=op.kind,
        compute_cycles=work.cycles,
        useful_macs=op.kept_macs,
        issued_macs=op.macs,
        steps=steps,
        slowest=slowest,
        column_utilisation=work.steps.column_utilisation,
        encoded=side,
        digits=mean_digits(work.known.pmf, "ent", config.width) if config.reads_digits else 0.0,
        digits_from=work.known.origin,
        dram_bytes=op.batch * reuse.traffic_bytes(product) + work.spilled_bytes,
        compulsory_bytes=op.batch * product.compulsory_bytes,
        busy="slowest column" if slowest > 1.1 * steps else "array",
        **timing.energy(config, op, work),
    )


def _vector_row(config: Config, op: VectorOp | Selection) -> dict[str, Any]:
    if isinstance(op, Selection):
        lane_operations, kind = op.elements, "selection"
        traffic = 2 * op.elements * config.width // 8
    else:
        lane_operations = 0 if op.fused else op.elements * op.lane_operations
        traffic, kind = op.read_bytes + op.write_bytes, op.kind
    return _row(
        config,
        op,
        kind=kind,
        compute_cycles=ceil_div(lane_operations, config.vector_lanes),
        dram_bytes=traffic,
        compulsory_bytes=traffic,
        busy="vector unit",
    )


def _row(config: Config, op: Operation, **values: Any) -> dict[str, Any]:
    """Complete the row of an operation with its times, its bottleneck and its utilisation."""
    defaults: dict[str, Any] = {
        **dict.fromkeys(COLUMNS, 0),
        **dict.fromkeys((*COMPONENTS, "energy_pj", "digits"), 0.0),
        **dict.fromkeys(("encoded", "digits_from"), ""),
        "column_utilisation": 1.0,
        "slowest": 0,
        "batch": 1,
    }
    return operation_rows.row(
        op,
        clock_hz=1e9 / config.period_ns,
        dram_bytes_per_s=config.dram_bytes_per_s,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        **(defaults | values),
    )
