"""What a workload stores and multiplies: weights, bits, and the update that follows from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil

from workloads.operations import Operand, Operation, Pass, VectorOp, Workload
from workloads.vector_work import weight_update

TEACHER = "teacher."
"""What the layers of a teacher begin with: no method changes them."""


def weight_operands(workload: Workload) -> Iterator[Operand]:
    """Yield the W operand of every layer, once, as the forward pass stores it."""
    seen: set[str] = set()
    for op in workload.matmuls:
        if op.pass_ is Pass.FF and op.layer not in seen:
            for operand in (op.left, op.right):
                if operand.tensor == "W":
                    seen.add(op.layer)
                    yield operand


def weight_bytes(workload: Workload) -> int:
    """Bytes of all weights that multiply, in the compact form of their patterns.

    >>> from workloads import NM, gemm
    >>> weight_bytes(gemm(1, 64, 8)), weight_bytes(gemm(1, 64, 8, pattern=NM(2, 4)))
    (1024, 576)
    """
    return sum(operand.stored_bytes for operand in weight_operands(workload))


def kept_weights(workload: Workload) -> float:
    """Number of weights that the patterns keep."""
    return sum(operand.elements * operand.pattern.density for operand in weight_operands(workload))


def bit_operations(workload: Workload) -> float:
    """Kept multiply-accumulates, each times the bits of both factors."""
    return sum(op.kept_macs * op.left.value_bits * op.right.value_bits for op in workload.matmuls)


def trained_weights(workload: Workload) -> Mapping[str, float]:
    """Return the weights of each layer that get a gradient; of `layer/part` they count for layer.

    A layer used several times is counted once, a mask on dW counts what it keeps.
    """
    by_part: dict[str, float] = {}
    for op in workload.matmuls:
        if op.pass_ is Pass.WU:
            by_part[op.layer] = op.out.elements * op.out.pattern.density
    by_layer: dict[str, float] = defaultdict(float)
    for part, count in by_part.items():
        by_layer[part.partition("/")[0]] += count
    return by_layer


def settle_updates(before: Workload, after: Workload) -> Workload:
    """Return `after` with updates of as many parameters as its layers train.

    The update of a layer loses the weights that `before` trained and gets those that `after` does;
    biases stay. An update of nothing is dropped, one that is missing is added.
    """
    old, new = trained_weights(before), trained_weights(after)
    if old == new:
        return after
    settled = (_settled(op, old, new) for op in after)
    operations = tuple(op for op in settled if op is not None)
    there = {op.layer for op in before.vector_ops if op.pass_ is Pass.UP}
    added = (
        weight_update(layer, ceil(new[layer]))
        for layer in new
        if layer not in there and new[layer] > old.get(layer, 0)
    )
    return replace(after, operations=(*operations, *added))


def _settled(op: Operation, old: Mapping[str, float], new: Mapping[str, float]) -> Operation | None:
    if not isinstance(op, VectorOp) or op.kind != "update" or op.pass_ is not Pass.UP:
        return op
    change = new.get(op.layer, 0) - old.get(op.layer, 0)
    return op if not change else scaled_vector(op, op.elements + ceil(change))


def scaled_vector(op: VectorOp, elements: int) -> VectorOp | None:
    """Return vector work on another number of elements, bytes in proportion; None for none."""
    if elements < 1:
        return None
    return replace(
        op,
        elements=elements,
        read_bytes=op.read_bytes * elements // op.elements,
        write_bytes=op.write_bytes * elements // op.elements,
    )
