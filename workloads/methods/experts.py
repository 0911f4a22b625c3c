"""Mixture of experts: the feed-forward layers of each block, once for every expert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from workloads.errors import InputError
from workloads.lowering import batched, lower_linear
from workloads.methods.accounting import TEACHER, scaled_vector
from workloads.methods.rewriting import (
    features,
    feed_forward,
    feed_forward_activations,
    map_products,
    renamed,
    rows,
    with_rows,
)
from workloads.operations import MatMul, Operation, Pass, VectorOp, Workload
from workloads.rounding import ceil_div


def tokens_of_experts(
    rows_: int, experts: int, top_k: int, histogram: Sequence[float]
) -> list[int]:
    """Return the rows that each expert gets: `top_k` of them for every row.

    `histogram` holds the share of each expert, in any unit; without it all get the same, rounded
    up. Largest remainders keep the sum.

    >>> tokens_of_experts(8, 4, 2, (4, 2, 1, 1))
    [8, 4, 2, 2]
    """
    total = rows_ * top_k
    if not histogram:
        return [ceil_div(total, experts)] * experts
    whole = sum(histogram)
    exact = [total * share / whole for share in histogram]
    floors = [int(each) for each in exact]
    order = sorted(range(experts), key=lambda e: floors[e] - exact[e])
    for expert in order[: total - sum(floors)]:
        floors[expert] += 1
    return floors


def mixture(
    workload: Workload, *, experts: int, top_k: int, histogram: Sequence[float] = ()
) -> Workload:
    """Give every feed-forward layer `experts` sets of weights, `top_k` of which see each row.

    Experts of equal load are one operation of `experts` products; with a `histogram` each expert
    has an operation of its own, and one without rows has none. A router, a linear layer to
    `experts` scores with a softmax, stands before the first feed-forward layer of each block.
    """
    if not 1 <= top_k <= experts:
        raise InputError(f"moe must route to 1 to {experts} experts, not {top_k}")
    if histogram and (len(histogram) != experts or min(histogram) < 0 or sum(histogram) <= 0):
        raise InputError(f"a routing histogram must have {experts} shares, not {histogram}")
    roles = feed_forward(workload)
    routers = _first_of_blocks(workload, roles)
    between = feed_forward_activations(workload)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        made = _experts(op, tokens_of_experts(rows(op), experts, top_k, histogram), histogram)
        if op.layer not in routers or top_k == experts:
            return made
        router = _router(op, experts)
        return (*made, *router) if op.pass_ is Pass.BP else (*router, *made)

    after = map_products(workload, change, where=lambda op: op.layer in roles)
    operations = (
        scaled_vector(op, op.elements * top_k)
        if isinstance(op, VectorOp) and op.layer in between and not op.layer.startswith(TEACHER)
        else op
        for op in after
    )
    return replace(after, operations=tuple(op for op in operations if op is not None))


def _experts(op: MatMul, loads: list[int], histogram: Sequence[float]) -> list[MatMul]:
    """Return the product of every expert in the pass of `op`."""
    count = rows(op)
    if not histogram:
        return [batched(with_rows(op, loads[0], count), len(loads))]
    return [
        renamed(with_rows(op, load, count), f"{op.layer}/expert{expert}")
        for expert, load in enumerate(loads)
        if load
    ]


def _router(op: MatMul, experts: int) -> tuple[Operation, ...]:
    layer = f"{op.layer}/router"
    products = lower_linear(layer, rows(op), features(op)[0], experts, op.pass_)
    if op.pass_ is Pass.WU:
        return products
    softmax = VectorOp(
        name=f"{layer}.softmax.{op.pass_}",
        layer=layer,
        pass_=op.pass_,
        kind="softmax",
        elements=rows(op) * experts,
        lane_operations=5 if op.pass_ is Pass.FF else 3,
    )
    return (softmax, *products) if op.pass_ is Pass.BP else (*products, softmax)


def _first_of_blocks(workload: Workload, roles: dict[str, str]) -> set[str]:
    """Return the first "up" layer of each run of feed-forward layers."""
    firsts: set[str] = set()
    before = "down"
    for op in workload.matmuls:
        if op.pass_ is Pass.FF and op.layer in roles:
            if roles[op.layer] == "up" and before == "down":
                firsts.add(op.layer)
            before = roles[op.layer]
    return firsts
