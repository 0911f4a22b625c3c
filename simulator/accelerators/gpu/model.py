"""Costs of every operation of a training step, or of an inference, on the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simulator import energy, operation_rows
from simulator.accelerators.gpu.config import Config
from simulator.accelerators.gpu.devices import SPARSE_DTYPES
from simulator.accelerators.gpu.plan import (
    SPARSE,
    Plan,
    ProductPlan,
    exploits,
    machine,
    multiplied_dtype,
    stored_bytes,
)
from simulator.accelerators.gpu.products import dram_bytes, l2_bytes
from simulator.report import REQUIRED, Report
from workloads.operations import MatMul, Selection, VectorOp
from workloads.patterns import DENSE
from workloads.rounding import ceil_div

COLUMNS = (
    *REQUIRED,
    *("pattern", "batch", "tile", "waves", "launch_cycles", "fill_cycles", "hidden_cycles"),
    *("sram_bytes", "energy_pj"),
)

COMPONENTS = ("tensor cores", "vector unit", "selection", "L2", "dram")
"""Components of the energy."""

L2_SLICE_BYTES = 512 * 1024
"""Capacity of one array of L2, of whose bytes the energy is taken; recalled."""


def simulate_workload(config: Config, plan: Plan) -> Report:
    """Return time, traffic and energy of the plan, one kernel after the other."""
    rows = list(operation_rows.hide_fused_traffic(_rows(config, plan), plan.workload))
    return Report(
        accelerator="gpu",
        config=config.resolved,
        workload=plan.workload.name,
        method=plan.workload.method,
        clock_hz=config.chip.clock_hz,
        peak_macs_per_cycle=peak_macs_per_cycle(config, plan.products),
        columns={name: [row[name] for row in rows] for name in COLUMNS},
        energy_pj={name: sum(row["components"][name] for row in rows) for name in COMPONENTS},
        notes=plan.workload.notes + _notes(config, plan),
    )


def peak_macs_per_cycle(config: Config, products: Sequence[ProductPlan]) -> int:
    """Return the dense multiply-accumulates a clock, at the fastest type that is multiplied."""
    chip = config.chip
    return chip.sms * max((plan.shape.rate for plan in products), default=chip.rate("fp16"))


def _rows(config: Config, plan: Plan) -> Iterator[dict[str, Any]]:
    products = iter(plan.products)
    for op in plan.workload:
        if isinstance(op, MatMul):
            yield product_row(config, op, next(products))
        else:
            yield vector_row(config, op, on_chip=op.name in plan.on_chip)


def product_row(config: Config, op: MatMul, plan: ProductPlan) -> dict[str, Any]:
    """Return the row of a product."""
    shape, cut = plan.shape, plan.kernel
    moved = dram_bytes(shape, cut, machine(config))
    issued = cut.blocks * cut.rows * cut.columns * cut.block_k // shape.speedup * plan.products
    multiply = cut.waves * cut.multiply_cycles
    compute = cut.cycles * plan.products
    busy = "tensor cores" if cut.multiply_cycles >= cut.feed_cycles else "L2"
    value_bits = max(op.left.value_bits, op.right.value_bits)
    return complete_row(
        config,
        op,
        kind=op.kind,
        pattern=str(getattr(op, plan.sparse_operand).pattern) if plan.sparse_operand else "dense",
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        tile=f"{cut.rows}x{cut.columns}" + (f"/{cut.splits}" if cut.splits > 1 else ""),
        waves=cut.waves,
        compute_cycles=compute,
        launches=plan.launches,
        fill_cycles=compute - multiply * plan.products,
        useful_macs=op.kept_macs,
        issued_macs=issued,
        dram_bytes=moved,
        compulsory_bytes=shape.left_bytes + shape.right_bytes + shape.out_bytes,
        sram_bytes=moved + l2_bytes(shape, cut) * plan.products,
        busy=busy
        if 2 * max(multiply, cut.waves * cut.feed_cycles) >= cut.cycles
        else "fill and drain",
        tensor_pj=issued * (_multiply_pj(value_bits) + energy.FP32_ADD_PJ),
    )


def _multiply_pj(value_bits: int) -> float:
    """Return the energy of a product of the table's least width that holds both operands."""
    return energy.multiply_pj(next((width for width in (8, 16) if value_bits <= width), 32))


def vector_row(
    config: Config, op: VectorOp | Selection, *, on_chip: bool = False
) -> dict[str, Any]:
    """Return the row of work between products; `on_chip` is part of an attention kernel."""
    chip = config.chip
    values: dict[str, Any] = {"busy": "vector unit"}
    if isinstance(op, Selection):
        lane_operations = operation_rows.comparisons(op)
        traffic = stored_bytes(op, False) + stored_bytes(op, exploits(op.pattern, SPARSE.m))
        values |= {"kind": "selection", "pattern": str(op.pattern)}
        values["selection"] = lane_operations * energy.INT16_COMPARE_PJ
    else:
        lane_operations = op.elements * op.lane_operations
        traffic = 0 if on_chip else op.read_bytes + op.write_bytes
        values |= {"kind": op.kind, "vector unit": lane_operations * energy.LANE_PJ}
    fused = isinstance(op, VectorOp) and op.fused
    return complete_row(
        config,
        op,
        compute_cycles=0 if fused else ceil_div(lane_operations, chip.sms * chip.lanes),
        launches=0 if fused or on_chip else 1,
        dram_bytes=traffic,
        compulsory_bytes=traffic,
        sram_bytes=traffic,
        **values,
    )


def complete_row(
    config: Config,
    op: Any,
    *,
    busy: str,
    launches: int,
    link_cycles: int = 0,
    tensor_pj: float = 0.0,
    **values: Any,
) -> dict[str, Any]:
    """Complete a row with its times, its energy and its bottleneck."""
    row: dict[str, Any] = dict.fromkeys((*COLUMNS, *COMPONENTS), 0)
    row |= {"tile": "-", "pattern": "-", "batch": 1} | values
    launch = launches * config.launch_cycles
    memory = machine(config).memory_cycles(row["dram_bytes"])
    running = max(row["compute_cycles"], memory, link_cycles)
    row["tensor cores"] = tensor_pj
    row["L2"] = row["sram_bytes"] * energy.sram_byte_pj(L2_SLICE_BYTES)
    row["dram"] = row["dram_bytes"] * energy.DRAM_BYTE_PJ
    components = {name: float(row[name]) for name in COMPONENTS}
    busy = busy if running > memory else "dram"
    return row | {
        "name": op.name,
        "layer": op.layer,
        "pass": str(op.pass_),
        "cycles": running + launch,
        "memory_cycles": memory,
        "launch_cycles": launch,
        "bottleneck": "launch" if launch > running else busy if running else "none",
        "energy_pj": sum(components.values()),
        "components": components,
    }


def _notes(config: Config, plan: Plan) -> tuple[str, ...]:
    """Say which patterns of the workload stay unused, and why."""
    decided = list(zip(plan.workload.matmuls, plan.products, strict=True))
    as_2_4 = {
        str(getattr(op, product.sparse_operand).pattern)
        for op, product in decided
        if product.sparse_operand
    } - {str(SPARSE), f"{SPARSE}t"}
    notes = []
    if as_2_4:
        names = ", ".join(sorted(as_2_4))
        notes.append(f"{names} runs as 2:4, the only rate of the sparse tensor cores")
    unused: dict[str, list[str]] = {}
    for op, product in decided:
        patterns = (op.left.pattern, op.right.pattern, op.out.pattern)
        if not product.sparse_operand and patterns != (DENSE, DENSE, DENSE):
            unused.setdefault(why_dense(config, op), []).append(op.name)
    for why, ops in unused.items():
        notes.append(f"{len(ops)} products, such as {ops[0]}, run dense: {why}")
    return tuple(notes)


def why_dense(config: Config, op: MatMul) -> str:
    """Say why a product with a pattern runs dense."""
    if not config.nm_support:
        return "nm_support is off"
    if not config.chip.sparse:
        return f"{config.device} has no sparse tensor cores"
    if any(exploits(operand.pattern, op.k_run) for operand in (op.left, op.right)):
        return (
            f"sparse tensor cores multiply {', '.join(SPARSE_DTYPES)}, not {multiplied_dtype(op)}"
        )
    return "only N:M with at most 2 in every 4 helps, in runs of k that fours divide"
