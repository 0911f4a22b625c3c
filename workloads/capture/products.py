"""Turn the matrix products, convolutions and fused attention of ATen into products of the passes.

Layers have the shapes and the orientation of `workloads.lowering`. Products of two activations keep
the orientation in which PyTorch runs them, so a gradient may be the transpose of the one that
`lower_attention` lists. The statistics of a convolution are those of the stored feature map: groups
lie along its channels in FF and BP, and along batch, rows and columns of each channel in WU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from workloads.capture.call import Call, ForwardProduct, Side
from workloads.capture.identity import Weight, storage_key
from workloads.capture.values import dtype_name
from workloads.errors import InputError
from workloads.lowering import lower_attention, lower_conv, lower_linear
from workloads.operations import Conv2d, MatMul, Operand, Pass

Tensor = torch.Tensor


def products_of(call: Call) -> list[MatMul] | None:
    """Return the products of a call; None if it is no matrix product that is known here."""
    if call.name in _MATRICES:
        left, right = call.args[_MATRICES[call.name] :][:2]
        forward = call.pass_ is Pass.FF
        return (_forward if forward else _backward)(call, left, right, call.outs[0])
    if call.name in _CONVOLUTIONS:
        return _CONVOLUTIONS[call.name](call)
    if "scaled_dot_product" in call.name and "attention" in call.name:
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
    (op,) = lower_linear(weight.layer, rows, k, n, Pass.FF)
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
        (op,) = lower_linear(named.layer, rows, right.shape[-1], outs, Pass.BP)
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
    (op,) = lower_linear(weight.layer, left.shape[-1], *features, Pass.WU)
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


def _convolution(call: Call) -> list[MatMul] | None:
    inputs, kernel = (_as_images(tensor) for tensor in call.args[:2])
    stride, padding, dilation, transposed, _, groups = call.args[3:9]
    if transposed or inputs.dim() != 4:
        return None
    conv = _geometry(inputs, kernel, stride, padding, dilation, groups)
    weight = call.weight_of(call.args[1])
    call.remember(weight, (0, 0), call.args[0], call.args[1])
    out = _as_images(call.outs[0])
    (op,) = lower_conv(weight.layer if weight else call.layer, conv, Pass.FF)
    return [call.describe(op, _channels(inputs, groups), _kernel(kernel, groups, 2), Side(out))]


def _convolution_backward(call: Call) -> list[MatMul] | None:
    gradient, inputs, kernel = (_as_images(tensor) for tensor in call.args[:3])
    stride, padding, dilation, transposed, _, groups, wanted = call.args[4:11]
    if transposed or inputs.dim() != 4:
        return None
    conv = _geometry(inputs, kernel, stride, padding, dilation, groups)
    weight = call.weight_of(call.args[2])
    layer = weight.layer if weight else call.layer
    ops: list[MatMul] = []
    if wanted[0]:
        sides = _channels(gradient, groups), _kernel(kernel, groups, 1), Side(call.outs[0])
        ops += [call.describe(op, *sides) for op in lower_conv(layer, conv, Pass.BP)]
    if wanted[1]:
        dtype = weight.dtype if weight else None
        sides = _positions(inputs), _positions(gradient), Side(call.outs[1], dtype=dtype)
        ops += [call.describe(op, *sides) for op in lower_conv(layer, conv, Pass.WU)]
    return ops


def _as_images(tensor: Tensor) -> Tensor:
    """See a 1-D convolution as a 2-D one of height 1."""
    return tensor.unsqueeze(2) if tensor.dim() == 3 else tensor


def _geometry(
    inputs: Tensor,
    kernel: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Conv2d:
    """Return the geometry; a single number is that of the columns of a 1-D convolution."""
    batch, in_channels, height, width = inputs.shape
    return Conv2d(
        batch=batch,
        in_channels=in_channels,
        out_channels=kernel.shape[0],
        in_hw=(height, width),
        kernel=(kernel.shape[2], kernel.shape[3]),
        stride=_pair(stride, 1),
        padding=_pair(padding, 0),
        dilation=_pair(dilation, 1),
        groups=groups,
    )


def _pair(values: list[int], rows: int) -> tuple[int, int]:
    return (rows, values[0]) if len(values) == 1 else (values[0], values[1])


def _channels(images: Tensor, groups: int) -> Side:
    """See the channels of each group as reduction axis."""
    return Side(images, 2, view=images.reshape(len(images), groups, -1, *images.shape[2:]))


def _kernel(kernel: Tensor, groups: int, axis: int) -> Side:
    """See the input (`axis` 2) or output channels (1) of each group as reduction axis."""
    return Side(kernel, axis, view=kernel.reshape(groups, -1, *kernel.shape[1:]))


def _positions(images: Tensor) -> Side:
    """See batch, rows and columns of each channel as reduction axis."""
    return Side(images, 1, view=images.movedim(1, 0).flatten(1))


_CONVOLUTIONS: dict[str, Callable[[Call], list[MatMul] | None]] = {
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}


def _attention_forward(call: Call) -> list[MatMul]:
    query, key, value = call.args[:3]
    absent = Side(None)
    sides = {
        "scores": (Side(query, -1), Side(key, -1), absent),
        "context": (absent, Side(value, -2), Side(call.outs[0])),
    }
    return _expanded(call, Pass.FF, query, key, value, sides)


def _attention_backward(call: Call) -> list[MatMul]:
    """Expand the backward kernel: it computes the scores again, then the four gradients."""
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
    return again + _expanded(call, Pass.BP, query, key, value, sides)


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
