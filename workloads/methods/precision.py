"""Data types of operands: fewer bits, two precisions in a matrix, a product per pair of bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workloads.errors import InputError
from workloads.methods.rewriting import map_products
from workloads.operations import DTYPE_BITS, MatMul, Operand, Operation, Pass, VectorOp, Workload


def precision(workload: Workload, *, weights: str, activations: str = "") -> Workload:
    """Store and multiply weights, and activations if they are named, in another data type.

    Gradients, and all of WU, stay as they are.
    """
    types = {"W": _known(weights)} | ({"X": _known(activations)} if activations else {})

    def cast(operand: Operand) -> Operand:
        return replace(operand, dtype=types.get(operand.tensor, operand.dtype))

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if op.pass_ is Pass.WU:
            return (op,)
        return (replace(op, left=cast(op.left), right=cast(op.right)),)

    return map_products(workload, change, where=lambda op: True)


def bit_planes(workload: Workload, *, weights: int, activations: int) -> Workload:
    """Multiply every pair of bit planes of an inner layer: `weights` x `activations` products.

    One-bit operands; the partial sums are shifted and added, one lane operation each, as they
    leave the array.
    """
    if min(weights, activations) < 1:
        raise InputError(f"bit-planes needs at least one bit, not {weights} and {activations}")
    planes = weights * activations
    count = {"W": weights, "X": activations, "dY": activations}

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if op.pass_ is Pass.WU:
            return (op,)
        left, right = (
            replace(o, elements=o.elements * count.get(o.tensor, 1), dtype="int1")
            for o in (op.left, op.right)
        )
        recover = VectorOp(
            name=f"{op.name}.recover",
            layer=op.layer,
            pass_=op.pass_,
            kind="recover",
            elements=op.out.elements,
            lane_operations=planes,
            fused=True,
        )
        return (replace(op, batch=op.batch * planes, left=left, right=right), recover)

    return map_products(workload, change)


def split_precision(workload: Workload, *, share: float, high: str, low: str) -> Workload:
    """Keep the fraction `share` of the input channels of inner weights in `high`, others in `low`.

    The forward product becomes two, along K, whose results are added; BP reads both.
    """
    if not 0 < share < 1:
        raise InputError(f"split-precision needs a share between 0 and 1, not {share}")
    high, low = _known(high), _known(low)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if op.pass_ is not Pass.FF or op.batch > 1:
            return (op,)
        first_run = max(1, round(op.k_run * share))
        if first_run >= op.k_run:
            return (op,)
        parts = ((first_run, high, "high"), (op.k_run - first_run, low, "low"))
        return [_part(op, run, dtype, name) for run, dtype, name in parts]

    return map_products(workload, change)


def _part(op: MatMul, run: int, dtype: str, name: str) -> MatMul:
    """Return the product over `run` of the channels of K."""
    left, right = (
        replace(o, elements=max(1, o.elements * run // op.k_run), statistics=None)
        for o in (op.left, op.right)
    )
    layer = f"{op.layer}/{name}"
    return replace(
        op,
        name=f"{layer}.FF",
        layer=layer,
        k=op.k // op.k_run * run,
        k_run=run,
        left=left,
        right=replace(right, dtype=dtype),
        conv=None,
    )


def _known(dtype: str) -> str:
    if dtype not in DTYPE_BITS:
        raise InputError(f"data type must be one of {', '.join(DTYPE_BITS)}, not {dtype!r}")
    return dtype
