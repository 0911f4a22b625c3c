"""Turn the convolutions of ATen into products of the passes.

The statistics are those of the stored feature map: groups lie along its channels in FF and BP, and
along batch, rows and columns of each channel in WU. A 1-D convolution is a 2-D one of height 1. A
transposed convolution is the convolution from its output to its input, with FF and BP exchanged;
its products carry no geometry, because `Conv2d` describes the other direction. Nor do those of a
3-D convolution, which are of its unfolded input: BP before the gradients are added where they meet.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import NamedTuple

import torch

from workloads.capture.call import Call, Side
from workloads.lowering import batched, lower_conv, lower_linear
from workloads.operations import Conv2d, MatMul, Operand, Pass

Tensor = torch.Tensor

_EXCHANGED = {Pass.FF: Pass.BP, Pass.BP: Pass.FF, Pass.WU: Pass.WU}
_ROLES = {
    Pass.FF: {"dY": "X", "dX": "Y"},
    Pass.BP: {"X": "dY", "Y": "dX"},
    Pass.WU: {"X": "dY", "dY": "X"},
}
"""What the operands of the exchanged pass are to a transposed convolution."""


def convolution(call: Call) -> list[MatMul]:
    """Return the forward products."""
    inputs, kernel = (_as_images(tensor) for tensor in call.args[:2])
    out = _as_images(call.outs[0])
    transposed, groups = bool(call.args[6]), int(call.args[8])
    weight = call.weight_of(call.args[1])
    call.remember(weight, (0, 0), call.args[0], call.args[1])
    conv = _shape(inputs, kernel, out, call.args[3:6], groups, transposed)
    layer = weight.layer_in(call.layer) if weight else call.layer
    sides = _channels(inputs, groups), _kernel(kernel, groups, 1 if transposed else 2), Side(out)
    return [call.describe(op, *sides) for op in _lowered(layer, conv, Pass.FF, transposed)]


def convolution_backward(call: Call) -> list[MatMul]:
    """Return dX and dW, as far as they are wanted."""
    gradient, inputs, kernel = (_as_images(tensor) for tensor in call.args[:3])
    transposed, groups, wanted = bool(call.args[7]), int(call.args[9]), call.args[10]
    weight = call.weight_of(call.args[2])
    layer = weight.layer_in(call.layer) if weight else call.layer
    conv = _shape(inputs, kernel, gradient, call.args[4:7], groups, transposed)
    ops: list[MatMul] = []
    if wanted[0]:
        weights = _kernel(kernel, groups, 2 if transposed else 1)
        sides = _channels(gradient, groups), weights, Side(call.outs[0])
        ops += [call.describe(op, *sides) for op in _lowered(layer, conv, Pass.BP, transposed)]
    if wanted[1]:
        left, right = (gradient, inputs) if transposed else (inputs, gradient)
        out = Side(call.outs[1], dtype=weight.dtype if weight else None)
        sides = _positions(left), _positions(right), out
        ops += [call.describe(op, *sides) for op in _lowered(layer, conv, Pass.WU, transposed)]
    return ops


class Volume(NamedTuple):
    """A 3-D convolution as the product of its unfolded input (or output, if transposed)."""

    groups: int
    rows: int
    in_features: int
    out_features: int
    inputs: int
    """Elements of the input in memory."""

    outputs: int


def _shape(
    inputs: Tensor,
    kernel: Tensor,
    out: Tensor,
    steps: tuple[list[int], ...],
    groups: int,
    transposed: bool,
) -> Conv2d | Volume:
    """Return what the products follow from; a transposed convolution runs from `out` to `inputs`.

    `out` may be the gradient of the output.
    """
    if inputs.dim() == 4:
        return _geometry(out if transposed else inputs, kernel, steps, groups)
    small = inputs if transposed else out
    unfolded, plain = kernel[0].numel(), kernel.shape[0] // groups
    features = (plain, unfolded) if transposed else (unfolded, plain)
    rows = len(small) * prod(small.shape[2:])
    return Volume(groups, rows, *features, inputs=inputs.numel(), outputs=out.numel())


def _of_volume(layer: str, volume: Volume, pass_: Pass) -> list[MatMul]:
    ops = lower_linear(layer, volume.rows, volume.in_features, volume.out_features, pass_)
    elements = dict.fromkeys(("X", "dX"), volume.inputs) | dict.fromkeys(
        ("Y", "dY"), volume.outputs
    )

    def stored(operand: Operand) -> Operand:
        return replace(operand, elements=elements.get(operand.tensor, operand.elements))

    return [
        replace(op, kind="conv", left=stored(op.left), right=stored(op.right), out=stored(op.out))
        for op in (batched(each, volume.groups) for each in ops)
    ]


def _lowered(layer: str, conv: Conv2d | Volume, pass_: Pass, transposed: bool) -> list[MatMul]:
    if isinstance(conv, Volume):
        return _of_volume(layer, conv, pass_)
    if not transposed:
        return list(lower_conv(layer, conv, pass_))
    roles, exchanged = _ROLES[pass_], _EXCHANGED[pass_]
    return [
        replace(
            op,
            name=layer + op.name.removeprefix(layer).replace(exchanged, pass_),
            pass_=pass_,
            conv=None,
            left=replace(op.left, tensor=roles.get(op.left.tensor, op.left.tensor)),
            right=replace(op.right, tensor=roles.get(op.right.tensor, op.right.tensor)),
            out=replace(op.out, tensor=roles.get(op.out.tensor, op.out.tensor)),
        )
        for op in lower_conv(layer, conv, exchanged)
    ]


def _as_images(tensor: Tensor) -> Tensor:
    """See a 1-D convolution as a 2-D one of height 1."""
    return tensor.unsqueeze(2) if tensor.dim() == 3 else tensor


def _geometry(inputs: Tensor, kernel: Tensor, steps: tuple[list[int], ...], groups: int) -> Conv2d:
    """Return the geometry; `steps` are stride, padding and dilation, of the columns if single."""
    stride, padding, dilation = steps
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
