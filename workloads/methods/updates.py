"""Changes to what a step trains and to the passes it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from workloads.errors import InputError
from workloads.methods.accounting import TEACHER, scaled_vector, settle_updates
from workloads.methods.rewriting import features, map_products, resized, with_rows
from workloads.operations import MatMul, Operation, Pass, Selection, VectorOp, Workload
from workloads.patterns import DENSE, Unstructured

Granularity = Literal["columns", "elements"]


def freeze(workload: Workload) -> Workload:
    """Train no weight but those of branches (`side`). X and dY still flow, so BP stays."""
    branches = {op.layer.partition("/")[0] for op in workload if "/side." in op.layer}

    def stays(op: Operation) -> bool:
        if op.pass_ is Pass.WU:
            return "/side." in op.layer
        return op.pass_ is not Pass.UP or op.layer in branches

    kept = replace(workload, operations=tuple(op for op in workload if stays(op)))
    return settle_updates(workload, kept)


def restrict_update(
    workload: Workload, *, fraction: float, how: Granularity = "columns"
) -> Workload:
    """Train the fraction of each inner weight: whole output columns, or elements anywhere.

    Columns make the WU product narrower; elements leave its shape and want only some results.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"update must train a fraction above 0 and at most 1, not {fraction}")
    if how not in get_args(Granularity):
        raise InputError(f"update must train {' or '.join(get_args(Granularity))}, not {how!r}")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if op.pass_ is not Pass.WU:
            return (op,)
        if how == "elements":
            return (replace(op, out=replace(op.out, pattern=Unstructured(fraction))),)
        ins, outs = features(op)
        return (resized(op, ins, max(1, round(outs * fraction))),)

    return map_products(workload, change)


def teacher(workload: Workload) -> Workload:
    """Put the forward pass of a teacher of the same size, dense, before each step.

    Masks and branches (`side`) are the student's alone, whatever their place in the sum.
    """
    before = tuple(
        _taught(op)
        for op in workload
        if op.pass_ is Pass.FF and not isinstance(op, Selection) and "/side." not in op.layer
        if not (isinstance(op, VectorOp) and op.kind == "loss")
    )
    return replace(workload, operations=before + workload.operations)


def _taught(op: Operation) -> Operation:
    """Return a forward operation of the student as the teacher has it."""
    named = replace(op, name=f"{TEACHER}{op.name}", layer=f"{TEACHER}{op.layer}")
    if not isinstance(named, MatMul):
        return named
    left, right, out = (
        replace(each, pattern=DENSE) for each in (named.left, named.right, named.out)
    )
    return replace(named, left=left, right=right, out=out)


def forward_only(workload: Workload, *, queries: int) -> Workload:
    """Train by `queries` forward passes and no backward pass: zeroth-order optimisation."""
    if queries < 1:
        raise InputError(f"forward-only needs at least one query a step, not {queries}")

    def more(op: Operation) -> Operation | None:
        if isinstance(op, MatMul):
            if op.kind != "attention":
                return with_rows(op, queries, 1)
            left, right, out = (
                replace(o, elements=o.elements * queries) for o in (op.left, op.right, op.out)
            )
            return replace(op, batch=op.batch * queries, left=left, right=right, out=out)
        return scaled_vector(op, op.elements * queries) if isinstance(op, VectorOp) else op

    forward = (more(op) for op in workload if op.pass_ is Pass.FF)
    updates = (op for op in workload if op.pass_ is Pass.UP)
    kept = (op for op in (*forward, *updates) if op is not None)
    return replace(workload, operations=tuple(kept))


def optimiser_state(workload: Workload, *, factor: float) -> Workload:
    """Multiply the numbers that every update reads, computes and writes (a mean and a variance: 2).

    The number of weights that multiply does not change.
    """
    if not 0 < factor < math.inf:
        raise InputError(f"optimiser-state must be multiplied by a positive factor, not {factor}")
    operations = (
        scaled_vector(op, max(1, round(op.elements * factor)))
        if isinstance(op, VectorOp) and op.kind == "update"
        else op
        for op in workload
    )
    return replace(workload, operations=tuple(op for op in operations if op is not None))


def project_gradient(workload: Workload, *, rank: float) -> Workload:
    """Project each inner weight gradient on `rank` directions before the update, and back after it.

    Two products with a fixed square basis of the smaller side, of which `rank` columns are used.
    """
    if not 0 < rank <= 1:
        raise InputError(f"project-gradient needs a fraction of the rank, not {rank}")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        yield op
        if op.pass_ is not Pass.WU or op.conv is not None or op.batch > 1:
            return
        ins, outs = features(op)
        small, large = min(ins, outs), max(ins, outs)
        columns = max(1, round(small * rank))
        for name, k, n in (("down", small, columns), ("up", columns, small)):
            yield _optimiser_product(op, name, large, k, n)

    return map_products(workload, change)


def _optimiser_product(op: MatMul, name: str, m: int, k: int, n: int) -> MatMul:
    layer = f"{op.layer}/project"
    return replace(
        op,
        name=f"{layer}.{name}.UP",
        layer=layer,
        pass_=Pass.UP,
        m=m,
        k=k,
        n=n,
        k_run=k,
        left=replace(op.out, tensor="X", elements=m * k),
        right=replace(op.out, tensor="X", elements=k * n),
        out=replace(op.out, tensor="Y", elements=m * n),
    )
