"""Schedule a workload on the N:M training accelerator and add up what the schedule costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataflow.stationarity import FREE, OUTPUT_STATIONARY, WEIGHT_STATIONARY
from simulator import energy, operation_rows, quantities
from simulator.accelerators.sat.config import Config
from simulator.accelerators.sat.kernel import (
    RESULTS,
    Ints,
    Sizes,
    evaluate,
    evaluate_selections,
    evaluate_vectors,
    hide_behind,
    matmul_table,
)
from simulator.accelerators.sat.limits import check_products, check_vectors
from simulator.report import Report
from workloads.columns import Columns, columns
from workloads.errors import InputError
from workloads.operations import Workload

if TYPE_CHECKING:
    import pandas as pd

CODES = {"os": OUTPUT_STATIONARY, "ws": WEIGHT_STATIONARY}
STATIONARITY = np.array(["os", "ws", "-"], dtype=object)
BOTTLENECKS = np.array(["array", "fill and drain", "operand feed", "dram", "vector", "selection"])
ARRAY, FILL, FEED, DRAM, VECTOR, SELECTION = range(6)

NUMBERS = (
    "m",
    "k",
    "n",
    "batch",
    "cycles",
    "compute_cycles",
    "fill_cycles",
    "memory_cycles",
    "stall_cycles",
    "hidden_cycles",
    "useful_macs",
    "issued_macs",
    "dram_bytes",
    "compulsory_bytes",
    "sram_bytes",
    "bottleneck",
)
"""Columns that are whole numbers, as the report orders them; there the bottleneck gets its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every decision for a workload: what stays in the array, product by product.

    `stationarity` holds "os" or "ws" for each matrix product of `workload.matmuls`, in order.
    Edit a plan with `dataclasses.replace`.
    """

    workload: Workload
    stationarity: tuple[str, ...]

    def __post_init__(self) -> None:
        operation_rows.check_decisions(self.workload, self.stationarity)
        wrong = [choice for choice in self.stationarity if choice not in CODES]
        if wrong:
            raise InputError(f"stationarity in a plan must be os or ws, not {wrong[0]!r}")

    def frame(self) -> pd.DataFrame:
        """Return the plan as a table, one row per matrix product."""
        import pandas as pd

        rows = [
            (op.name, op.pass_.value, op.batch, op.m, op.k, op.n, choice)
            for op, choice in zip(self.workload.matmuls, self.stationarity, strict=True)
        ]
        names = ["name", "pass", "batch", "m", "k", "n", "stationarity"]
        return pd.DataFrame(rows, columns=names)


def schedule(config: Config, workload: Workload) -> Plan:
    """Choose the stationarity of every product by predicted time, or as the config forces it."""
    products = len(workload.matmuls)
    if config.stationarity != "auto":
        return Plan(workload=workload, stationarity=(config.stationarity,) * products)
    chosen = _products(config, columns(workload), np.full(products, FREE))[0]
    return Plan(workload=workload, stationarity=tuple(STATIONARITY[chosen]))


def simulate(config: Config, plan: Plan) -> Report:
    """Return cycles, traffic and energy of `plan`, operation by operation.

    Operations run one after the other; a selection runs behind the update of its layer.
    """
    workload = plan.workload
    table = columns(workload)
    check_vectors(config, table)
    choice = np.array([CODES[held] for held in plan.stationarity], np.int64)
    products = dict(zip(RESULTS, _products(config, table, choice), strict=True))
    fields = _empty_fields(len(workload))
    _fill_products(fields, table, products)
    updates = _fill_vectors(fields, table, config)
    counts = _fill_selections(fields, table, config, *updates)
    _hide_fused_traffic(fields, table)
    fields["energy_pj"], components = _energy(config, table, fields, counts)
    return Report(
        accelerator="sat",
        config=config,
        workload=workload.name,
        method=workload.method,
        clock_hz=config.clock_hz,
        peak_macs_per_cycle=config.peak_macs_per_cycle,
        columns=_columns(table, products, fields, config.peak_macs_per_cycle),
        energy_pj=components,
        notes=(*workload.notes, *_notes(config, table)),
    )


def _products(config: Config, table: Columns, choice: Ints) -> Ints:
    """Evaluate the matrix products; refuse what 64 bits cannot count."""
    products = matmul_table(table.matmuls)
    check_products(config, table, products)
    result: Ints = evaluate(products, choice, sizes(config))
    return result


def sizes(config: Config) -> Sizes:
    """Return what the compiled functions need of a config."""
    return Sizes(
        rows=config.rows,
        cols=config.cols,
        interleave=config.interleave,
        mul_latency=config.mul_latency,
        add_latency=config.add_latency,
        value_bits=config.value_bits,
        feed=config.feed_values_per_cycle,
        compact_weights=config.pregeneration,
        left_buffer_bytes=config.left_buffer_bytes,
        right_buffer_bytes=config.right_buffer_bytes,
        out_buffer_bytes=config.out_buffer_bytes,
        selection_lanes=config.selection_lanes,
        vector_lanes=config.vector_lanes,
        dram_bytes_per_cycle=config.dram_bytes_per_s / config.clock_hz,
    )


def _empty_fields(operations: int) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(operations, np.int64) for name in NUMBERS}


def _fill_products(
    fields: dict[str, NDArray[Any]], table: Columns, products: dict[str, Ints]
) -> None:
    """Put the matrix products in their places: time is the longer of array and memory."""
    at = table.matmuls.order
    compute, memory = products["compute_cycles"], products["memory_cycles"]
    fill = compute - products["steady_cycles"]
    for name in ("m", "k", "n", "batch"):
        fields[name][at] = getattr(table.matmuls, name)
    for name in ("useful_macs", "issued_macs", "dram_bytes", "compulsory_bytes", "sram_bytes"):
        fields[name][at] = products[name]
    fields["compute_cycles"][at] = compute
    fields["memory_cycles"][at] = memory
    fields["cycles"][at] = np.maximum(compute, memory)
    fields["fill_cycles"][at] = fill
    fields["stall_cycles"][at] = np.maximum(memory - compute, 0)
    feed = products["feed_cycles"]
    parts = np.stack([feed, compute - fill - feed, fill])
    largest = np.array([FEED, ARRAY, FILL])[parts.argmax(axis=0)]
    fields["bottleneck"][at] = np.where(memory > compute, DRAM, largest)


def _fill_vectors(
    fields: dict[str, NDArray[Any]], table: Columns, config: Config
) -> tuple[Ints, Ints]:
    """Put the vector work in its places.

    Returns the update cycles of each layer, and those of them in which memory is idle.
    """
    ops, at = table.vectors, table.vectors.order
    traffic = ops.read_bytes + ops.write_bytes
    compute, memory = evaluate_vectors(
        ops.elements * ops.lane_operations, traffic, ops.fused, sizes(config)
    )
    fields["compute_cycles"][at] = compute
    fields["memory_cycles"][at] = memory
    fields["cycles"][at] = np.maximum(compute, memory)
    fields["stall_cycles"][at] = np.maximum(memory - compute, 0)
    fields["dram_bytes"][at] = fields["compulsory_bytes"][at] = traffic
    fields["sram_bytes"][at] = traffic
    fields["bottleneck"][at] = np.where(memory > compute, DRAM, VECTOR)
    updates = ops.is_update * np.maximum(compute, memory)
    idle = updates - ops.is_update * memory
    slack, free = np.zeros(table.layers, np.int64), np.zeros(table.layers, np.int64)
    np.add.at(slack, ops.layer, updates)
    np.add.at(free, ops.layer, idle)
    return slack, free


def _hide_fused_traffic(fields: dict[str, NDArray[Any]], table: Columns) -> None:
    """Move the bytes of fused work while the operation that it rides on leaves memory idle."""
    ops = table.vectors
    slack = np.maximum(fields["compute_cycles"] - fields["memory_cycles"], 0)
    rides_on = np.full(len(table.names), -1)
    rides_on[table.matmuls.order] = table.matmuls.order
    rides_on[ops.order[ops.fused == 0]] = ops.order[ops.fused == 0]
    rides_on = np.maximum.accumulate(rides_on)
    riders = ops.order[ops.fused == 1]
    hidden = hide_behind(rides_on[riders], fields["cycles"][riders], slack)
    fields["hidden_cycles"][riders] = hidden
    fields["cycles"][riders] -= hidden
    fields["stall_cycles"][riders] -= hidden


def _fill_selections(
    fields: dict[str, NDArray[Any]],
    table: Columns,
    config: Config,
    update_cycles: Ints,
    idle_cycles: Ints,
) -> Ints:
    """Put the selections in their places; return the compares of each.

    M cycles a group and lane. Pre-generated selections follow the weights out of the update and
    only what exceeds the update's cycles, or the bytes that it leaves time for, is exposed; the
    compact copy is written once. Other selections run while their tensor is read, before the
    product that uses them.
    """
    ops, at = table.selections, table.selections.order
    needed, memory, hidden, written, sram = evaluate_selections(
        ops.layer,
        ops.elements,
        ops.n,
        ops.m,
        ops.pregenerable,
        update_cycles,
        idle_cycles,
        sizes(config),
    )
    busy = np.maximum(needed, memory)
    fields["cycles"][at] = busy - hidden
    fields["hidden_cycles"][at] = hidden
    fields["compute_cycles"][at] = np.maximum(needed - hidden, 0)
    fields["memory_cycles"][at] = memory
    fields["dram_bytes"][at] = fields["compulsory_bytes"][at] = written
    fields["sram_bytes"][at] = sram
    fields["bottleneck"][at] = np.where(memory > needed, DRAM, SELECTION)
    compares: Ints = ops.elements * ops.n
    return compares


def energy_components(
    multiply_pj: Any,
    sram_byte_pj: Any,
    *,
    issued_macs: Any,
    lane_operations: Any,
    compares: Any,
    sram_bytes: Any,
    dram_bytes: Any,
) -> dict[str, Any]:
    """Return picojoules by component from counted actions, scalars or arrays alike.

    A MAC is a multiply of `value_bits` and an fp32 add, issued on padding too. A selection compares
    each element with the N kept so far.
    """
    return {
        "array": issued_macs * (multiply_pj + energy.FP32_ADD_PJ),
        "vector engine": lane_operations * energy.LANE_PJ,
        "selection": compares * energy.INT16_COMPARE_PJ,
        "buffers": sram_bytes * sram_byte_pj,
        "dram": dram_bytes * energy.DRAM_BYTE_PJ,
    }


def byte_energy_pj(left_bytes: int, right_bytes: int, output_bytes: int) -> float:
    """Return the energy of a byte to or from the buffers, all taken as the smallest of them."""
    return energy.sram_byte_pj(min(left_bytes, right_bytes, output_bytes))


def _energy(
    config: Config, table: Columns, fields: dict[str, NDArray[Any]], compares: Ints
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Return picojoules by operation and, from the totals of each action, by component."""
    counts = {name: np.zeros(len(table.names), np.int64) for name in ("vector", "compares")}
    counts["vector"][table.vectors.order] = table.vectors.elements * table.vectors.lane_operations
    counts["compares"][table.selections.order] = compares
    actions = {
        "issued_macs": fields["issued_macs"],
        "lane_operations": counts["vector"],
        "compares": counts["compares"],
        "sram_bytes": fields["sram_bytes"],
        "dram_bytes": fields["dram_bytes"],
    }
    prices = (
        energy.multiply_pj(config.value_bits),
        byte_energy_pj(
            config.left_buffer_bytes, config.right_buffer_bytes, config.out_buffer_bytes
        ),
    )
    each = sum(energy_components(*prices, **actions).values())
    totals = {name: int(count.sum()) for name, count in actions.items()}
    return np.asarray(each), energy_components(*prices, **totals)


def _columns(
    table: Columns, products: dict[str, Ints], fields: dict[str, NDArray[Any]], peak: int
) -> dict[str, NDArray[Any]]:
    """Order the columns for the reader and name the codes."""
    held = np.full(len(table.names), 2)
    held[table.matmuls.order] = products["stationarity"]
    pattern = np.full(len(table.names), "-", dtype=object)
    sparse = products["group"] > 1
    pattern[table.matmuls.order] = "dense"
    kept, group = products["kept"][sparse].tolist(), products["group"][sparse].tolist()
    pattern[table.matmuls.order[sparse]] = [f"{n}:{m}" for n, m in zip(kept, group, strict=True)]
    return {
        "name": table.names,
        "layer": table.layer_names,
        "pass": table.passes,
        "kind": table.kinds,
        "pattern": pattern,
        "stationarity": STATIONARITY[held],
        **fields,
        "utilisation": fields["useful_macs"] / np.maximum(fields["cycles"] * float(peak), 1),
        "bottleneck": BOTTLENECKS[fields["bottleneck"]],
    }


def _notes(config: Config, table: Columns) -> tuple[str, ...]:
    """Say what the accelerator could not use and what it converts."""
    notes = []
    unused = sorted({quantities.short(text) for text in table.other_patterns})
    if unused:
        some = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        notes.append(f"sat only skips N:M groups: {some} runs as dense")
    return (*notes, *operation_rows.width_notes(table.value_bits, config.value_bits))
