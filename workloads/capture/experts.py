"""Turn the grouped product of ATen, one of each expert of a layer, into products of the passes.

Rows are sorted by expert, and `offs` says where the rows of each expert end. Experts with equally
many rows make one batched product. On the meta device nobody has chosen an expert yet: rows are
dealt out evenly. `torch._grouped_mm` multiplies

=============  =====================  =====================  ==================
pass           left                   right                  result
=============  =====================  =====================  ==================
FF, BP         (rows, k)              (experts, k, n)        (rows, n)
WU             (m, rows)              (rows, n)              (experts, m, n)
=============  =====================  =====================  ==================
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch

from workloads.capture.call import Call, Side
from workloads.capture.values import has_values
from workloads.lowering import batched, lower_linear
from workloads.operations import MatMul, Pass


def grouped(call: Call) -> list[MatMul] | None:
    """Return a product for each number of rows that experts have; None for sides of other axes."""
    left, right = call.args[:2]
    ends = [tensor for tensor in call.tensors[2:] if tensor.dtype == torch.int32]
    if left.dim() != 2 or not ends:
        return None
    gradient = right.dim() == 2
    sizes = _sizes(ends[0], left.shape[1 if gradient else 0])
    if gradient:
        return _weight_gradients(call, sizes)
    weight = call.weight_of(right)
    layer = weight.layer_in(call.layer) if weight else call.layer
    k, n = right.shape[-2:]
    ins, outs = (k, n) if call.pass_ is Pass.FF else (n, k)
    if call.pass_ is Pass.FF:
        call.remember(weight, (k, n), left, right)
    sides = Side(left, -1), Side(right, -2), Side(call.outs[0])
    return [_product(call, layer, *size, ins, outs, call.pass_, sides) for size in sizes]


def _weight_gradients(call: Call, sizes: list[tuple[int, int]]) -> list[MatMul]:
    """Lower dW = X^T dY of each expert, which PyTorch may run as (dY^T X)."""
    left, right = call.args[:2]
    ahead = next(iter(call.origin.products), None)
    weight = ahead.weight if ahead else None
    layer = weight.layer_in(call.layer) if weight else call.layer
    ins, outs = left.shape[0], right.shape[1]
    if ahead and (ins, outs) != (ahead.in_features, ahead.out_features):
        left, right, ins, outs = right.mT, left.mT, outs, ins
    sides = Side(left), Side(right), Side(call.outs[0], dtype=weight.dtype if weight else None)
    return [_product(call, layer, *size, ins, outs, Pass.WU, sides) for size in sizes]


def _sizes(ends: torch.Tensor, rows: int) -> list[tuple[int, int]]:
    """Return numbers of rows with the experts that have as many, those without any left out."""
    experts = len(ends)
    if has_values(ends):
        found = Counter(torch.diff(ends, prepend=ends.new_zeros(1)).tolist())
    else:
        found = Counter(rows * (i + 1) // experts - rows * i // experts for i in range(experts))
    return sorted(size for size in found.items() if size[0])


def _product(
    call: Call,
    layer: str,
    rows: int,
    experts: int,
    ins: int,
    outs: int,
    pass_: Pass,
    sides: tuple[Side, Side, Side],
) -> MatMul:
    """Lower the experts with `rows` rows each; the values of the sides are those of all experts."""
    (op,) = lower_linear(layer, rows, ins, outs, pass_)
    return call.describe(replace(batched(op, experts), name=f"{op.name}.x{rows}"), *sides)
