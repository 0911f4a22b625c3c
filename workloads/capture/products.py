"""Turn the matrix products and the fused attention of ATen into operations of the passes.

Layers have the shapes and the orientation of `workloads.lowering`. Products of two activations keep
the orientation in which PyTorch runs them, so a gradient may be the transpose of the one that
`lower_attention` lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from workloads.capture.call import Call, ForwardProduct, Side
from workloads.capture.convolutions import convolution, convolution_backward
from workloads.capture.experts import grouped
from workloads.capture.identity import Weight, storage_key
from workloads.capture.values import dtype_name
from workloads.capture.vectors import known_work
from workloads.errors import InputError
from workloads.lowering import lower_attention, lower_linear
from workloads.operations import MatMul, Operand, Pass, VectorOp

Tensor = torch.Tensor


def is_product(name: str) -> bool:
    """Say whether an operation multiplies matrices, whether it is known here or not."""
    return "mm" in name or "convolution" in name or "attention" in name


def products_of(call: Call) -> Sequence[MatMul | VectorOp] | None:
    """Return the products of a call; None if it is no matrix product that is known here.

    A fused attention has its softmax between them.
    """
    if call.name in _MATRICES:
        left, right = call.args[_MATRICES[call.name] :][:2]
        forward = call.pass_ is Pass.FF
        return (_forward if forward else _backward)(call, left, right, call.outs[0])
    if call.name == "_grouped_mm":
        return grouped(call)
    if call.name == "convolution":
        return convolution(call)
    if call.name == "convolution_backward":
        return convolution_backward(call)
    if "scaled_dot_product" in call.name:
        return (_attention_backward if "backward" in call.name else _attention_forward)(call)
    return None


_MATRICES = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
"""Where the two factors stand among the arguments."""


def _forward(call: Call, left: Tensor, right: Tensor, out: Tensor) -> list[MatMul]:
    weight = call.weight_of(right)
    if weight is None and (weight := call.weight_of(left)):
        left, right, out = right.mT, left.mT, out.mT
    rows, k = left.shape[-2:]
    n = right.shape[-1]
    call.remember(weight, (k, n), left, right)
    if weight is None:
        return [_activations(call, ("X", "X", "Y"), left, right, out)]
    (op,) = lower_linear(weight.layer_in(call.layer), rows, k, n, Pass.FF)
    return [
        call.describe(_batched(op, left, right, out), Side(left, -1), Side(right, -2), Side(out))
    ]


def _backward(call: Call, left: Tensor, right: Tensor, out: Tensor) -> list[MatMul]:
    """Tell the product of a backward node: dX, dW, or the gradient of an activation.

    An operand that is the weight makes it dX. Otherwise the forward product of the node decides.
    """
    ahead = _matching(call.origin.products, left, right)
    named = call.weight_of(right) or call.weight_of(left)
    if ahead and ahead.weight and named != ahead.weight:
        return [_weight_gradient(call, ahead, ahead.weight, left, right, out)]
    if named:
        if call.weight_of(right) is None:
            left, right, out = right.mT, left.mT, out.mT
        rows, outs = left.shape[-2:]
        (op,) = lower_linear(named.layer_in(call.layer), rows, right.shape[-1], outs, Pass.BP)
        op = _batched(op, left, right, out)
        return [call.describe(op, Side(left, -1), Side(right, -2), Side(out))]
    known = ahead.operands if ahead else ()
    roles = tuple("X" if storage_key(side) in known else "dY" for side in (left, right))
    return [_activations(call, (*roles, "dX"), left, right, out)]


def _matching(products: list[ForwardProduct], left: Tensor, right: Tensor) -> ForwardProduct | None:
    """Return the forward product of the node whose gradient this is: the one with these sizes."""
    sizes = {*left.shape[-2:], *right.shape[-2:]}
    fitting = [p for p in products if {p.in_features, p.out_features} & sizes]
    return next(iter(fitting), None)


def _weight_gradient(
    call: Call, ahead: ForwardProduct, weight: Weight, left: Tensor, right: Tensor, out: Tensor
) -> MatMul:
    """Lower dW = X^T dY, which PyTorch may run as (dY^T X)."""
    features = (ahead.in_features, ahead.out_features)
    flipped = (left.shape[-2], right.shape[-1]) != features
    if not flipped and ahead.in_features == ahead.out_features:
        flipped = storage_key(right) in ahead.operands and storage_key(left) not in ahead.operands
    if flipped:
        left, right, out = right.mT, left.mT, out.mT
    layer = weight.layer_in(call.layer)
    (op,) = lower_linear(layer, left.shape[-1], *features, Pass.WU)
    op = _batched(op, left, right, out)
    return call.describe(op, Side(left, -1), Side(right, -2), Side(out, dtype=weight.dtype))


def _activations(
    call: Call, roles: tuple[str, ...], left: Tensor, right: Tensor, out: Tensor
) -> MatMul:
    """Describe a product in which no factor is a weight: attention."""
    sides = zip(roles, (left, right, out), strict=True)
    operands = [Operand(tensor=role, elements=_stored(side)) for role, side in sides]
    op = MatMul(
        name=f"{call.layer}.product.{call.pass_}",
        layer=call.layer,
        pass_=call.pass_,
        m=left.shape[-2],
        k=left.shape[-1],
        n=right.shape[-1],
        batch=left.shape[0] if left.dim() == 3 else 1,
        left=operands[0],
        right=operands[1],
        out=operands[2],
        kind="attention",
    )
    return call.describe(op, Side(left, -1), Side(right, -2), Side(out))


def _batched(op: MatMul, left: Tensor, right: Tensor, out: Tensor) -> MatMul:
    """Give a lowered layer the batch and the stored elements of the tensors at hand."""
    return replace(
        op,
        batch=left.shape[0] if left.dim() == 3 else 1,
        left=replace(op.left, elements=_stored(left)),
        right=replace(op.right, elements=_stored(right)),
        out=replace(op.out, elements=_stored(out)),
    )


def _stored(tensor: Tensor) -> int:
    """Count the elements in memory: those of an expanded axis exist once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else 1
    return count


def _attention_forward(call: Call) -> list[MatMul | VectorOp]:
    query, key, value = call.args[:3]
    absent = Side(None)
    sides = {
        "scores": (Side(query, -1), Side(key, -1), absent),
        "context": (absent, Side(value, -2), Side(call.outs[0])),
    }
    scores, context = _expanded(call, Pass.FF, query, key, value, sides)
    return [scores, *_softmax(call, Pass.FF, query, key), context]


def _attention_backward(call: Call) -> list[MatMul | VectorOp]:
    """Expand the backward kernel: it computes the scores again, then the four gradients.

    The probabilities that it makes from them once more are not counted a second time.
    """
    gradient, query, key, value = call.args[:4]
    absent = Side(None)
    again = _expanded(
        replace(call, recompute=True),
        Pass.FF,
        query,
        key,
        value,
        {"scores": (Side(query, -1), Side(key, -1), absent)},
    )
    d_query, d_key, d_value = (Side(out) for out in call.outs[:3])
    sides = {
        "dP": (Side(gradient, -1), Side(value, -1), absent),
        "dV": (absent, Side(gradient, -2), d_value),
        "dQ": (absent, Side(key, -2), d_query),
        "dK": (absent, Side(query, -2), d_key),
    }
    of_p, of_v, of_q, of_k = _expanded(call, Pass.BP, query, key, value, sides)
    return [*again, of_p, of_v, *_softmax(call, Pass.BP, query, key), of_q, of_k]


def _softmax(call: Call, pass_: Pass, query: Tensor, key: Tensor) -> list[VectorOp]:
    """Return the softmax of a fused attention, over the scores of every query head."""
    scores = query.shape[:-1].numel() * key.shape[-2]
    return known_work(call, "softmax", pass_, scores, query.element_size())


def _expanded(
    call: Call,
    pass_: Pass,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sides: dict[str, tuple[Side, Side, Side]],
) -> list[MatMul]:
    """Lower the named products of a fused attention; values may have a width of their own."""
    if query.dim() != 4:
        raise InputError(f"fused attention must have 4 axes, not {tuple(query.shape)}")
    batch, heads, q_len, head_dim = query.shape
    lowered: dict[str, MatMul] = {}
    for width, names in ((head_dim, ("scores", "dQ", "dK")), (value.shape[-1], _OF_VALUES)):
        ops = lower_attention(
            call.layer,
            batch,
            heads,
            q_len,
            key.shape[-2],
            width,
            pass_,
            kv_heads=key.shape[1],
            dtype=dtype_name(query.dtype),
        )
        lowered |= {part: op for op in ops if (part := op.name.split(".")[-2]) in names}
    return [call.describe(lowered[part], *operands) for part, operands in sides.items()]


_OF_VALUES = ("context", "dP", "dV")
