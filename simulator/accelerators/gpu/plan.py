"""Decisions for every operation on the GPU: which operand is 2:4, tiles, what stays on chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflow.nm import fits_two_of_four
from simulator.accelerators.gpu.config import Config
from simulator.accelerators.gpu.products import Kernel, Machine, Shape, best_kernel
from simulator.counting import check_countable
from simulator.operation_rows import check_decisions
from workloads.errors import InputError
from workloads.operations import DTYPE_BITS, MatMul, Operand, Pass, Selection, Workload
from workloads.patterns import DENSE, NM, Pattern
from workloads.rounding import ceil_div

SPARSE = NM(2, 4)
"""What the sparse tensor cores multiply."""

SCORES = {
    "scores": "out",
    "context": "left",
    "dP": "out",
    "dV": "left",
    "dQ": "left",
    "dK": "left",
}
"""Which tensor of a product of `workloads.lowering.lower_attention` is as large as the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """Decisions for one product: which operand is 2:4, how it is cut, what stays on chip."""

    sparse_operand: str
    """left, right, or empty for a dense product."""

    shape: Shape
    """What is multiplied and moved."""

    kernel: Kernel
    """Tiles, waves and clocks."""

    products: int = 1
    """How often it is multiplied: twice where a fused backward pass makes the scores again."""

    launches: int = 1
    """Kernels of its own: none if it is part of the attention kernel before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The operations, and for each product its decisions; names of vector work kept on chip."""

    workload: Workload
    products: tuple[ProductPlan, ...]
    on_chip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_decisions(self.workload, self.products)


def machine(config: Config) -> Machine:
    """Return what kernels depend on."""
    chip = config.chip
    return Machine(
        sms=chip.sms,
        clock_hz=chip.clock_hz,
        l2_bytes=chip.l2_bytes,
        l2_bytes_per_cycle=chip.l2_bytes_per_cycle,
        port_bytes_per_cycle=config.port_bytes_per_cycle,
        latency_cycles=config.memory_latency_cycles,
        dram_bytes_per_s=chip.dram_bytes_per_s * config.dram_efficiency,
    )


def schedule_workload(config: Config, workload: Workload) -> Plan:
    """Choose sparse operand and tiles of every product, and what attention keeps on chip."""
    if not isinstance(workload, Workload):
        raise InputError("gpu works on a workload or on a batch of requests: --requests")
    check_countable(workload.name, workload.macs)
    fused = config.attention == "fused"
    return Plan(
        workload=workload,
        products=tuple(plan_product(config, op) for op in workload.matmuls),
        on_chip=frozenset(_softmaxes(workload) if fused else ()),
    )


def _softmaxes(workload: Workload) -> Iterator[str]:
    """Yield the names of softmaxes between fused products: their tensors stay on chip."""
    layers = {op.layer for op in workload.matmuls if _score_side(op)}
    for op in workload.vector_ops:
        if op.kind == "softmax" and op.layer in layers:
            yield op.name


def _score_side(op: MatMul) -> str:
    """Return which tensor of an attention product is the matrix of scores; empty if unknown."""
    if op.kind != "attention":
        return ""
    return SCORES.get(op.name.removesuffix(f".{op.pass_}").rpartition(".")[2], "")


def plan_product(config: Config, op: MatMul) -> ProductPlan:
    """Decide for one product."""
    sparse = _sparse_operand(config, op)
    scores = _score_side(op) if config.attention == "fused" else ""
    shape = _shape(config, op, sparse, on_chip=scores)
    opens = scores == "out"
    return ProductPlan(
        sparse_operand=sparse,
        shape=shape,
        kernel=best_kernel(shape, machine(config), (config.tile_m, config.tile_n)),
        products=2 if opens and op.pass_ is Pass.BP else 1,
        launches=1 if opens or not scores else 0,
    )


def exploits(pattern: Pattern, run: int) -> bool:
    """Say whether a pattern fits 2:4 along runs of k, which fours must divide.

    >>> exploits(NM(2, 8), 64), exploits(NM(2, 8), 62), exploits(NM(4, 8), 64)
    (True, False, False)
    """
    return fits_two_of_four(pattern) and run % SPARSE.m == 0


def runs_sparse(config: Config, pattern: Pattern, *, run: int, dtype: str) -> bool:
    """Say whether an operand multiplied in `dtype` runs, and is stored, as 2:4."""
    return config.nm_support and config.chip.speedup(dtype) > 1 and exploits(pattern, run)


def _sparse_operand(config: Config, op: MatMul) -> str:
    """Return the operand that runs as 2:4, the right one first; empty if none may."""
    dtype = multiplied_dtype(op)
    for side, operand in (("right", op.right), ("left", op.left)):
        if runs_sparse(config, operand.pattern, run=op.k_run, dtype=dtype):
            return side
    return ""


def multiplied_dtype(op: MatMul) -> str:
    """Return the type in which both operands are multiplied."""
    return wider_dtype(op.left.dtype, op.right.dtype)


def wider_dtype(first: str, second: str) -> str:
    """Return the type of more bits.

    >>> wider_dtype("fp16", "int4")
    'fp16'
    """
    return max((first, second), key=lambda dtype: DTYPE_BITS[dtype])


def stored_bytes(operand: Operand | Selection, compact: bool) -> int:
    """Return the bytes of a tensor as this GPU stores it: dense, or as 2:4 with its indices."""
    pattern = SPARSE if compact else DENSE
    bits = DTYPE_BITS[operand.dtype]
    return ceil_div(pattern.stored_bits(elements=operand.elements, value_bits=bits), 8)


def _shape(config: Config, op: MatMul, sparse: str, *, on_chip: str) -> Shape:
    """Return what is multiplied and moved; the tensor named `on_chip` crosses no interface."""
    dtype = multiplied_dtype(op)
    bits = {side: float(getattr(op, side).value_bits) for side in ("left", "right")}
    moved = {
        side: 0 if side == on_chip else stored_bytes(getattr(op, side), side == sparse)
        for side in ("left", "right", "out")
    }
    if sparse:
        bits[sparse] = SPARSE.density * (bits[sparse] + SPARSE.index_bits)
    return Shape(
        m=op.m,
        k=op.k,
        n=op.n,
        batch=op.batch,
        left_bits=bits["left"],
        right_bits=bits["right"],
        out_bits=op.out.value_bits,
        rate=config.chip.rate(dtype),
        speedup=config.chip.speedup(dtype) if sparse else 1,
        left_bytes=moved["left"],
        right_bytes=moved["right"],
        out_bytes=moved["out"],
    )
