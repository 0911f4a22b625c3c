"""Give the products of a layer other sizes: what every change of shape is made of.

In any pass a product of a layer has the sizes `in_features`, `out_features` (of one group) and
rows. Operands scale with them: X and dX with the inputs, Y and dY with the outputs, W and dW with
both, all but W and dW with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import prod

from workloads.methods.accounting import TEACHER, settle_updates
from workloads.operations import MatMul, Operand, Operation, Pass, VectorOp, Workload

ACTIVATIONS = ("relu", "gelu", "swiglu", "tanh")


def features(op: MatMul) -> tuple[int, int]:
    """Return the input and output features of one group of the layer of `op`."""
    if op.conv is not None:
        groups = op.conv.groups
        return op.conv.in_channels // groups, op.conv.out_channels // groups
    match op.pass_:
        case Pass.FF:
            return op.k, op.n
        case Pass.BP:
            return op.n, op.k
    return op.m, op.n


def rows(op: MatMul) -> int:
    """Return the output rows of the layer of `op`: images x positions, or rows of X."""
    if op.conv is not None:
        return op.conv.batch * prod(op.conv.out_hw)
    return op.k if op.pass_ is Pass.WU else op.m


def resized(op: MatMul, in_features: int, out_features: int, *, layer: str = "") -> MatMul:
    """Return the product with other features and the same kernel and rows, in layer `layer`."""
    ins, outs = features(op)
    conv = op.conv and replace(
        op.conv,
        in_channels=in_features * op.conv.groups,
        out_channels=out_features * op.conv.groups,
    )
    m, k, n, run = op.m, op.k, op.n, op.k_run
    match op.pass_:
        case Pass.FF:
            run = run * in_features // ins
            k, n = run * (op.k // op.k_run), out_features
        case Pass.BP:
            run = run * out_features // outs
            k, n = run * (op.k // op.k_run), op.n // ins * in_features
        case Pass.WU:
            m, n = op.m // ins * in_features, op.n // outs * out_features
            run = k
    scale = {"X": (in_features, ins), "dX": (in_features, ins), "Y": (out_features, outs)}
    scale["dY"] = scale["Y"]
    scale["W"] = scale["dW"] = (in_features * out_features, ins * outs)
    left, right, out = (_scaled(each, *scale[each.tensor]) for each in (op.left, op.right, op.out))
    return replace(
        renamed(op, layer), m=m, k=k, n=n, k_run=run, left=left, right=right, out=out, conv=conv
    )


def with_rows(op: MatMul, part: int, whole: int) -> MatMul:
    """Return the product over `part` of `whole` rows; convolutions lose their geometry."""
    count = max(1, rows(op) * part // whole)
    old = op.k if op.pass_ is Pass.WU else op.m
    new = max(1, old * part // whole) if op.conv is not None else count
    sizes = {"k": new, "k_run": new} if op.pass_ is Pass.WU else {"m": new}
    left, right, out = (
        each if each.tensor in ("W", "dW") else _scaled(each, new, old)
        for each in (op.left, op.right, op.out)
    )
    return replace(op, left=left, right=right, out=out, conv=None, **sizes)  # type: ignore[arg-type]


def renamed(op: MatMul, layer: str) -> MatMul:
    """Return the product as one of `layer`, its name changed along; of its own layer for ''."""
    if not layer:
        return op
    name = f"{layer}{op.name.removeprefix(op.layer)}"
    return replace(op, layer=layer, name=name)


def _scaled(operand: Operand, new: int, old: int) -> Operand:
    elements = max(1, operand.elements * new // old)
    return replace(operand, elements=elements, statistics=None)


def is_inner(op: Operation) -> bool:
    """Say whether an operation is a product with weights in neither the first nor last layer."""
    inner = isinstance(op, MatMul) and op.kind != "attention" and op.position == "inner"
    return inner and not op.layer.startswith(TEACHER)


def is_phase_of(op: MatMul, before: Operation | None) -> bool:
    """Say whether `op` is a further phase of the backward pass that `before` began."""
    return (
        isinstance(before, MatMul)
        and op.conv is not None
        and (op.layer, op.pass_, op.conv) == (before.layer, before.pass_, before.conv)
    )


def map_products(
    workload: Workload,
    change: Callable[[MatMul, bool], Iterable[Operation]],
    *,
    where: Callable[[MatMul], bool] = is_inner,
) -> Workload:
    """Return the workload with `change(product, first)` in place of each product `where` names.

    `first` is false for further phases of a backward pass. Updates follow the weights. The products
    of a teacher stay.
    """
    operations: list[Operation] = []
    before: Operation | None = None
    for op in workload:
        if isinstance(op, MatMul) and where(op) and not op.layer.startswith(TEACHER):
            operations += change(op, not is_phase_of(op, before))
        else:
            operations.append(op)
        before = op
    return settle_updates(workload, replace(workload, operations=tuple(operations)))


def with_note(workload: Workload, note: str) -> Workload:
    """Return the workload with one more sentence for its report."""
    return replace(workload, notes=(*workload.notes, note))


def feed_forward(workload: Workload) -> dict[str, str]:
    """Return the linear layers around an activation function: "up" before it, "down" after it.

    A layer is found by its size: its results, or its inputs, are the elements of the activation.
    """
    found: dict[str, str] = {}
    for _, up, down in _around_activations(workload):
        found |= dict.fromkeys(up, "up")
        for layer in down:
            found.setdefault(layer, "down")
    return found


def feed_forward_activations(workload: Workload) -> set[str]:
    """Return the activation functions, by their layer, that `feed_forward` finds layers around."""
    return {act for act, up, down in _around_activations(workload) if up or down}


def _around_activations(workload: Workload) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the layer of each activation function, and the linear layers before and after it."""
    forward = [op for op in workload if op.pass_ is Pass.FF]
    for at, act in enumerate(forward):
        if isinstance(act, VectorOp) and act.kind in ACTIVATIONS:
            before, after = _linear(forward[max(0, at - 6) : at]), _linear(forward[at + 1 : at + 4])
            up = [op.layer for op in before if op.out.elements == act.elements]
            down = [op.layer for op in after[:1] if op.left.elements == act.elements]
            yield act.layer, up, down


def attention_neighbours(workload: Workload) -> dict[str, str]:
    """Return the linear layers around attention: "in" (Q, K, V) before it, "out" after it."""
    forward = [op for op in workload.matmuls if op.pass_ is Pass.FF]
    found: dict[str, str] = {}
    for at, op in enumerate(forward):
        if op.kind != "attention":
            continue
        if at + 1 < len(forward) and forward[at + 1].kind == "linear":
            found[forward[at + 1].layer] = "out"
        if at > 0 and forward[at - 1].kind == "attention":
            continue
        merged = op.left.elements + 2 * op.right.elements
        alone = at > 0 and forward[at - 1].out.elements == merged
        for before in forward[max(0, at - (1 if alone else 3)) : at]:
            if before.kind == "linear":
                found.setdefault(before.layer, "in")
    return found


def _linear(operations: Iterable[Operation]) -> list[MatMul]:
    return [op for op in operations if isinstance(op, MatMul) and op.kind == "linear"]
