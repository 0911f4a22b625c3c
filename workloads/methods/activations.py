"""Sparsity of activations and of attention maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from workloads.errors import InputError
from workloads.methods.accounting import scaled_vector
from workloads.methods.rewriting import feed_forward, map_products, with_note
from workloads.operations import MatMul, Operand, Operation, Pass, VectorOp, Workload
from workloads.patterns import Block, Unstructured

SCORE_SIDE = {
    "scores": "out",
    "context": "left",
    "dP": "out",
    "dV": "left",
    "dQ": "left",
    "dK": "left",
}
"""Where the map of scores, or its gradient, stands in each product of attention."""


def activations(workload: Workload, *, density: float) -> Workload:
    """Let the fraction `density` of what leaves an activation function be non-zero.

    The layer after it multiplies by fewer inputs in FF and in WU, and only the gradients of
    non-zero inputs are wanted in BP: ReLU, top-k and predicted sparsity share this mask.
    """
    pattern = Unstructured(density)
    down = {layer for layer, role in feed_forward(workload).items() if role == "down"}

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if op.layer not in down:
            return (op,)
        if op.pass_ is Pass.BP:
            return (replace(op, out=replace(op.out, pattern=pattern)),)
        return (replace(op, left=replace(op.left, pattern=pattern)),)

    after = map_products(workload, change, where=lambda op: op.kind == "linear")
    return after if down else with_note(after, "no layer follows an activation function")


def attention_block(workload: Workload, *, block: int, density: float) -> Workload:
    """Keep the fraction `density` of the `block` x `block` blocks of every attention map."""
    return _attention(workload, block, lambda length: density)


def attention_window(workload: Workload, *, window: int) -> Workload:
    """Let each position attend to `window` positions."""
    _check_length("window", window)
    return _attention(workload, 1, lambda length: min(window, length) / length)


def attention_strided(workload: Workload, *, stride: int) -> Workload:
    """Let each position attend to the `stride` before it and to every `stride`-th one."""
    _check_length("stride", stride)
    return _attention(workload, 1, lambda n: min(1.0, (min(stride, n) + n / stride) / n))


def attention_clusters(workload: Workload) -> Workload:
    """Route positions to the square root of their number of clusters, of as many members each.

    Routing transformer: the products grow with n^1.5. Each cluster is a dense block. The products
    with the centres are as many again and are counted: n x sqrt(n) x d.
    """

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        yield _masked(op, 1, length_of(op) ** -0.5)
        if _part(op) == "scores":
            centres = max(1, round(op.n**0.5))
            right = replace(op.right, elements=op.batch * op.k * centres)
            out = replace(op.out, elements=op.batch * op.m * centres)
            name = f"{op.layer}.routing{op.name.removeprefix(f'{op.layer}.scores')}"
            yield replace(op, name=name, n=centres, right=right, out=out)

    after = map_products(workload, change, where=_is_map)
    return _with_softmax(after, lambda length: length**-0.5)


def length_of(op: MatMul) -> int:
    """Return the number of keys of a product of attention."""
    return op.n if SCORE_SIDE[_part(op)] == "out" else op.m if _part(op) in ("dV", "dK") else op.k


def _attention(workload: Workload, block: int, density: Callable[[int], float]) -> Workload:
    """Mask every product of attention, and the softmax between them."""
    _check_length("block", block)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        return (_masked(op, block, density(length_of(op))),)

    return _with_softmax(map_products(workload, change, where=_is_map), density)


def _with_softmax(workload: Workload, density: Callable[[int], float]) -> Workload:
    """Mask the softmax of every attention, and say so if there is none."""
    kept = {op.layer: density(length_of(op)) for op in workload.matmuls if _is_map(op)}
    if not kept:
        return with_note(workload, "no attention with named products to mask")
    operations = tuple(_softmax(op, kept) for op in workload)
    return replace(workload, operations=operations)


def _softmax(op: Operation, kept: dict[str, float]) -> Operation:
    if not isinstance(op, VectorOp) or op.kind != "softmax" or op.layer not in kept:
        return op
    return scaled_vector(op, max(1, round(op.elements * kept[op.layer]))) or op


def _masked(op: MatMul, block: int, density: float) -> MatMul:
    pattern = Block(block, block, density) if block > 1 else Unstructured(density)
    side = SCORE_SIDE[_part(op)]
    masked: Operand = replace(getattr(op, side), pattern=pattern)
    return replace(op, out=masked) if side == "out" else replace(op, left=masked)


def _part(op: MatMul) -> str:
    return op.name.removeprefix(f"{op.layer}.").partition(".")[0]


def _is_map(op: MatMul) -> bool:
    return op.kind == "attention" and _part(op) in SCORE_SIDE


def _check_length(what: str, length: int) -> None:
    if length < 1:
        raise InputError(f"{what} of attention must be at least 1, not {length}")
