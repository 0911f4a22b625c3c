"""Changes of shape that stay dense: fewer or more channels, heads, blocks, rows, groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from workloads.errors import InputError
from workloads.lowering import lower_linear
from workloads.methods.accounting import TEACHER, scaled_vector
from workloads.methods.rewriting import (
    attention_neighbours,
    features,
    feed_forward,
    is_inner,
    map_products,
    resized,
    rows,
)
from workloads.operations import MatMul, Operand, Operation, Pass, VectorOp, Workload

Part = Literal["all", "hidden", "heads", "stream"]


def narrow(workload: Workload, *, keep: float, part: Part = "all") -> Workload:
    """Keep the fraction `keep` of a width (above 1: widen it), rounded to whole features.

    `all`: the channels between all layers; of the first layer its outputs, of the last its inputs.
    `hidden`: those between the two linear layers around an activation function. `heads`: those of
    attention, whole heads. `stream`: those of the residual stream (SliceGPT): of a feed-forward or
    attention layer the side that is neither hidden nor inside the heads; embeddings too.
    """
    if not 0 < keep <= 16:
        raise InputError(f"narrow must keep a fraction above 0 and at most 16, not {keep}")
    if part not in get_args(Part):
        raise InputError(f"narrow must name one of {', '.join(get_args(Part))}, not {part!r}")
    roles = feed_forward(workload) | attention_neighbours(workload)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        ins, outs = (max(1, round(f * keep)) for f in features(op))
        old_ins, old_outs = features(op)
        keep_in, keep_out = _sides(op, roles.get(op.layer, ""), part)
        yield resized(op, ins if keep_in else old_ins, outs if keep_out else old_outs)

    after = map_products(workload, change, where=lambda op: op.kind != "attention")
    operations = [_narrowed(op, keep, part) for op in after]
    return replace(after, operations=tuple(op for op in operations if op is not None))


def _sides(op: MatMul, role: str, part: Part) -> tuple[bool, bool]:
    """Say whether the inputs and the outputs of a layer change."""
    match part:
        case "all":
            return op.position != "first", op.position != "last"
        case "hidden":
            return role == "down", role == "up"
        case "heads":
            return role == "out", role == "in"
    if not role:
        return op.position != "first", op.position != "last"
    return role in ("up", "in"), role in ("down", "out")


def _narrowed(op: Operation, keep: float, part: Part) -> Operation | None:
    """Scale attention by whole heads, and the vector work that lies on the changed width."""
    if op.layer.startswith(TEACHER):
        return op
    if isinstance(op, MatMul) and op.kind == "attention" and part in ("all", "heads"):
        count = max(1, round(op.batch * keep))
        left, right, out = (_share(o, count, op.batch) for o in (op.left, op.right, op.out))
        return replace(op, batch=count, left=left, right=right, out=out)
    if not isinstance(op, VectorOp) or op.kind in ("loss", "update"):
        return op
    touched = {
        "all": True,
        "hidden": op.kind in ("gelu", "swiglu"),
        "heads": op.kind in ("softmax", "rotary"),
        "stream": op.kind in ("layernorm", "rmsnorm", "add", "split", "embedding"),
    }
    return scaled_vector(op, max(1, round(op.elements * keep))) if touched[part] else op


def _share(operand: Operand, new: int, old: int) -> Operand:
    return replace(operand, elements=max(1, operand.elements * new // old), statistics=None)


def rotate_stream(workload: Workload) -> Workload:
    """Add the product with an orthogonal matrix that SliceGPT needs on every residual connection.

    The stream, of as many features as the layer before the addition gives, is multiplied by a
    square matrix of that size, and so is its gradient on the way back, before the BP of that layer.
    The weights are fixed: there is no WU.
    """
    operations: list[Operation] = []
    back: dict[str, tuple[MatMul, ...]] = {}
    last: MatMul | None = None
    for op in workload:
        if isinstance(op, MatMul) and is_inner(op):
            last = op if op.pass_ is Pass.FF else last
            if op.pass_ is Pass.BP:
                operations += back.pop(op.layer, ())
        operations.append(op)
        if isinstance(op, VectorOp) and op.kind == "add" and last is not None:
            operations += _rotation(op, last, Pass.FF)
            back[last.layer] = _rotation(op, last, Pass.BP)
            last = None
    return replace(workload, operations=tuple(operations))


def _rotation(op: VectorOp, last: MatMul, pass_: Pass) -> tuple[MatMul, ...]:
    """Return the square product on the residual connection `op` that `last` leads to."""
    width = features(last)[1] * (1 if last.conv is None else last.conv.groups)
    layer, dtype = f"{op.layer}/Q", last.left.dtype
    (extra,) = lower_linear(layer, rows(last), width, width, pass_, dtype=dtype)
    return (replace(extra, name=f"{op.name}.Q" + (".BP" if pass_ is Pass.BP else "")),)


def drop_blocks(workload: Workload, *, fraction: float) -> Workload:
    """Remove the last `fraction` of the numbered blocks: those whose prefix has most numbers."""
    if not 0 <= fraction < 1:
        raise InputError(f"drop-blocks must remove a fraction from 0 to below 1, not {fraction}")
    prefixes: dict[str, set[int]] = {}
    for op in workload:
        if match := _BLOCK.match(op.layer):
            prefixes.setdefault(match[1], set()).add(int(match[2]))
    if max((len(numbers) for numbers in prefixes.values()), default=0) < 2:
        raise InputError(f"drop-blocks needs numbered blocks, but {workload.name} has none")
    prefix, numbers = max(prefixes.items(), key=lambda item: len(item[1]))
    gone = set(sorted(numbers)[len(numbers) - round(fraction * len(numbers)) :])
    kept = (op for op in workload if not _in_blocks(op, prefix, gone))
    return replace(workload, operations=tuple(kept))


_BLOCK = re.compile(r"^(\D*?)\.?(\d+)\.")


def _in_blocks(op: Operation, prefix: str, numbers: set[int]) -> bool:
    match = _BLOCK.match(op.layer)
    return match is not None and match[1] == prefix and int(match[2]) in numbers


def grouped(workload: Workload, *, channels: int) -> Workload:
    """Cut every inner convolution into groups of `channels` input channels (E2GC).

    A layer stays as it is unless `channels` divides its inputs and the groups its outputs.
    """
    if channels < 1:
        raise InputError(f"grouped needs at least one channel a group, not {channels}")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        ins, outs = features(op)
        groups = ins // channels
        if op.conv is None or op.conv.groups > 1 or ins % channels or outs % max(1, groups):
            yield op
            return
        small = resized(op, channels, outs // groups)
        conv = replace(op.conv, groups=groups)
        operands = (
            replace(new, elements=old.elements // (groups if new.tensor in ("W", "dW") else 1))
            for new, old in zip(
                (small.left, small.right, small.out), (op.left, op.right, op.out), strict=True
            )
        )
        left, right, out = operands
        yield replace(small, batch=groups, conv=conv, left=left, right=right, out=out)

    return map_products(workload, change)
