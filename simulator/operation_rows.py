"""The row of a report for an operation that computes and moves bytes at the same time; its bytes.

For models that run one operation after the other, each as long as the slower of computing and
moving: give the cycles, the bytes and what keeps the hardware busy; times, bottleneck and
utilisation follow. `check_decisions` is for the plans of such models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from workloads.errors import InputError
from workloads.operations import Operand, Operation, Selection, VectorOp, Workload
from workloads.patterns import DENSE, NM
from workloads.rounding import ceil_div

FOLLOW = ("cycles", "memory_cycles", "stall_cycles", "bottleneck", "utilisation")
"""Columns that `row` computes from the others."""


def row(
    op: Operation,
    *,
    compute_cycles: int,
    dram_bytes: int,
    clock_hz: float,
    dram_bytes_per_s: float,
    peak_macs_per_cycle: int,
    busy: str,
    **values: Any,
) -> dict[str, Any]:
    """Return the row of an operation: who it is, `values`, and what follows from them.

    `busy` names the bottleneck where computing takes longer than moving `dram_bytes`.

    >>> from workloads.operations import gemm
    >>> (op,) = gemm(8, 8, 8)
    >>> made = row(op, compute_cycles=10, dram_bytes=300, clock_hz=1e9, dram_bytes_per_s=20e9,
    ...            peak_macs_per_cycle=64, busy="array", useful_macs=512)
    >>> {name: made[name] for name in FOLLOW} | {"utilisation": round(made["utilisation"], 2)}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'cycles': 15, 'memory_cycles': 15, 'stall_cycles': 5, 'bottleneck': 'dram',
     'utilisation': 0.53}
    """
    memory_cycles = math.ceil(dram_bytes * clock_hz / dram_bytes_per_s)
    cycles = max(compute_cycles, memory_cycles)
    slots = cycles * peak_macs_per_cycle
    return values | {
        "name": op.name,
        "layer": op.layer,
        "pass": str(op.pass_),
        "dram_bytes": dram_bytes,
        "compute_cycles": compute_cycles,
        "memory_cycles": memory_cycles,
        "cycles": cycles,
        "stall_cycles": cycles - compute_cycles,
        "bottleneck": "none" if cycles == 0 else busy if cycles > memory_cycles else "dram",
        "utilisation": values.get("useful_macs", 0) / slots if slots else 0.0,
    }


def check_decisions(workload: Workload, decisions: Sequence[Any]) -> None:
    """Raise `InputError` unless an edited plan has one decision for each matrix product."""
    if len(decisions) != len(workload.matmuls):
        raise InputError(
            f"plan must decide on {len(workload.matmuls)} products, not on {len(decisions)}"
        )


def hide_fused_traffic(
    rows: Iterable[dict[str, Any]], operations: Iterable[Any]
) -> Iterator[dict[str, Any]]:
    """Let fused work move its bytes while the operation that it rides on leaves memory idle.

    Takes the row of every operation, in order, and gives it back with `hidden_cycles` taken off its
    cycles. A launch leaves nothing idle that work inside the same kernel could use.
    """
    idle_cycles = 0
    for row, op in zip(rows, operations, strict=True):
        if isinstance(op, VectorOp) and op.fused:
            hidden = min(idle_cycles, row["cycles"])
            idle_cycles -= hidden
            row["hidden_cycles"] = hidden
            row["cycles"] -= hidden
            if "stall_cycles" in row:
                row["stall_cycles"] -= hidden
            row["bottleneck"] = row["bottleneck"] if row["cycles"] else "none"
        else:
            idle_cycles = row["cycles"] - row.get("launch_cycles", 0) - row["memory_cycles"]
        yield row


def stored_bytes(operand: Operand | Selection, value_bits: int, *, compact: bool) -> int:
    """Return the bytes of a tensor held in `value_bits`, in its pattern's compact form or dense.

    >>> from workloads.operations import Operand
    >>> from workloads.patterns import NM
    >>> weights = Operand(tensor="W", elements=1024, dtype="fp32", pattern=NM(2, 4))
    >>> [stored_bytes(weights, 16, compact=compact) for compact in (False, True)]
    [2048, 1152]
    """
    pattern = operand.pattern if compact else DENSE
    bits = pattern.stored_bits(elements=operand.elements, value_bits=value_bits)
    return ceil_div(bits, 8)


def comparisons(op: Selection) -> int:
    """Return the comparisons of a selection: N:M scans its elements once for each value kept.

    >>> from workloads.operations import Pass
    >>> fields = {"layer": "l", "pass_": Pass.UP, "tensor": "W", "elements": 64}
    >>> comparisons(Selection(name="s", pattern=NM(2, 8), **fields))
    128
    """
    return op.elements * (op.pattern.n if isinstance(op.pattern, NM) else 1)


def selected_bytes(op: Selection, value_bits: int) -> int:
    """Return the bytes that a selection moves: the dense tensor read, its compact form written."""
    return sum(stored_bytes(op, value_bits, compact=compact) for compact in (False, True))


def width_notes(found: Iterable[int], value_bits: int) -> tuple[str, ...]:
    """Say that operands of other widths than `value_bits` are held and multiplied in these.

    >>> width_notes((16,), 16), width_notes((8, 16, 32), 16)
    ((), ('operands of 8 and 32 bits in the workload are stored and multiplied in 16 bits',))
    """
    others = " and ".join(str(bits) for bits in found if bits != value_bits)
    if not others:
        return ()
    return (
        f"operands of {others} bits in the workload are stored and multiplied in {value_bits} bits",
    )


def columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return rows as columns; where a row lacks a name, a count is 0 and a text is `-`."""
    texts = {name for name in names if any(isinstance(row.get(name), str) for row in rows)}
    return {name: [row.get(name, "-" if name in texts else 0) for row in rows] for name in names}
