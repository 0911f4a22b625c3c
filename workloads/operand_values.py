"""Values of the operands of a product: tensors that can be read, or histograms of them.

A model whose time follows from values (non-zero digits, non-zero elements) reads them through
`Operand.values`. Both kinds see an operand as *lines*: an array (batch, lines, K) whose last axis
is the reduction axis, in the order of `MatMul.k` (for a convolution kernel positions outside,
channels inside). The lines of a left operand are its rows, those of a right operand its columns.

*Exact*: lines of weights in FF and BP, of every operand of a linear layer or of attention, and of
the feature maps of a convolution in FF and WU. *Approximate*: the gradient map in the BP of a
convolution has no lines here; its users fall back to the histogram of the whole tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.operations import Conv2d, MatMul, Operation, Pass, Workload

Array = NDArray[Any]
Reader = Callable[[], Array]

SIDES = ("left", "right")
HISTOGRAM = "histogram"
CLASSES = 8
"""Classes of lines that a histogram tells apart unless more are asked for."""

_PHASE = re.compile(r"\.phase(\d+)_(\d+)$")
_LARGEST = 1 << 31
"""Elements up to which an operand is laid out in lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorValues:
    """An operand whose tensor can be read.

    `read` returns it as it is stored, for `lines_of`; it should be a value that can be pickled.
    `channel_axis` is the axis of a weight's output channels, None for a tensor that has none.
    """

    read: Reader
    channel_axis: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueHistograms:
    """An operand of which only counts are known: of every integer, in classes of lines.

    `counts` is (classes, 2^width): how often each integer, from the smallest up, occurs in the
    lines of a class. Classes are of lines alike in magnitude, so that their spread is not lost.
    """

    counts: NDArray[np.int64]
    width: int

    def __post_init__(self) -> None:
        counts = self.counts
        if counts.ndim != 2 or counts.shape[1] != 1 << self.width or not counts.size:
            raise InputError(
                f"value histograms must be (classes, {1 << self.width}), not of shape "
                f"{counts.shape}"
            )
        if counts.dtype.kind not in "iu" or (counts < 0).any() or not counts.sum(axis=1).all():
            raise InputError("value histograms must be counts, at least one in every class")


Values = TensorValues | ValueHistograms


def line_histograms(lines: Array, width: int, classes: int = CLASSES) -> ValueHistograms:
    """Count the integers of (batch, lines, K) in classes of lines, sorted by mean log2(1 + |v|).

    Non-zero digits grow with the logarithm of the magnitude in every encoding. Classes hold
    equally many lines, up to one; there are never more classes than lines.

    >>> line_histograms(np.array([[[0, 0], [1, -2]]]), 2).counts.tolist()
    [[0, 0, 2, 0], [1, 0, 0, 1]]
    """
    flat = lines.reshape(-1, lines.shape[-1])
    order = np.argsort(np.log2(1.0 + np.abs(flat.astype(np.float32))).mean(axis=1), kind="stable")
    offset, bins = 1 << (width - 1), 1 << width
    parts = np.array_split(order, min(classes, len(flat)))
    counts = [np.bincount(flat[part].ravel().astype(np.int64) + offset) for part in parts]
    padded = [np.pad(each, (0, bins - len(each))) for each in counts]
    return ValueHistograms(counts=np.array(padded, np.int64), width=width)


def with_tensors(workload: Workload, tensors: Mapping[str, Reader]) -> Workload:
    """Put values on the operands that `tensors` name.

    Names are OPERATION.SIDE.histogram, then OPERATION.SIDE, then LAYER.ROLE as a capture gives
    them; side is left or right. The tensor of a linear layer's W is (in, out), that of a
    convolution (out, in, rows, columns).
    """
    operations = tuple(
        _with_values(op, tensors) if isinstance(op, MatMul) else op for op in workload
    )
    return replace(workload, operations=operations)


def _with_values(op: MatMul, tensors: Mapping[str, Reader]) -> Operation:
    for side in SIDES:
        values = _found(op, side, tensors)
        if values is not None:
            op = replace(op, **{side: replace(getattr(op, side), values=values)})
    return op


def _found(op: MatMul, side: str, tensors: Mapping[str, Reader]) -> Values | None:
    counted = f"{op.name}.{side}.{HISTOGRAM}"
    if counted in tensors:
        counts = tensors[counted]()
        width = max(counts.shape[-1].bit_length() - 1, 1) if counts.ndim else 1
        try:
            return ValueHistograms(counts=counts, width=width)
        except InputError as error:
            raise InputError(f"tensor {counted!r}: {error}") from None
    role = getattr(op, side).tensor
    for name in (f"{op.name}.{side}", f"{op.layer}.{role}"):
        if name in tensors:
            axis = None if role != "W" else 0 if op.kind == "conv" else 1
            return TensorValues(read=tensors[name], channel_axis=axis)
    return None


def lines_of(op: MatMul, side: str, tensor: Array) -> Array | None:
    """Return the operand as (batch, lines, K), or None if its layout is not known here."""
    lines, role = (op.m if side == "left" else op.n), getattr(op, side).tensor
    if op.batch * lines * op.k > _LARGEST:
        return None
    shape = (op.batch, lines, op.k)
    if op.kind == "conv":
        found = None if op.conv is None else _of_convolution(op, op.conv, role, tensor)
    else:
        found = _of_product(op, side, tensor, lines)
    return found if found is not None and found.shape == shape else None


def _of_product(op: MatMul, side: str, tensor: Array, lines: int) -> Array | None:
    """Return the lines of a linear layer's or an attention's operand.

    A layer's tensors are (rows, features) and (in, out); BP reads W along its last axis, and WU
    reads both operands along their first. An attention's are as its product names them: K is the
    last axis of a left operand and of the keys and values that are read transposed.
    """
    if tensor.ndim < 2 or tensor.size != op.batch * lines * op.k:
        return None
    if op.kind == "attention":
        last = side == "left" or any(f".{part}." in f"{op.name}." for part in ("scores", "dP"))
    elif op.pass_ is Pass.WU:
        last = False
    else:
        last = side == "left" or op.pass_ is Pass.BP
    inner = (lines, op.k) if last else (op.k, lines)
    found = tensor.reshape(op.batch, *inner)
    return found if last else found.swapaxes(1, 2)


def _of_convolution(op: MatMul, conv: Conv2d, role: str, tensor: Array) -> Array | None:
    groups = conv.groups
    if role == "W":
        expected = (conv.out_channels, conv.in_channels // groups, *conv.kernel)
        if tensor.shape not in (expected, (*expected[:2], expected[3])):
            return None
        return _kernel_lines(op, conv, tensor.reshape(groups, -1, *expected[1:]))
    if role == "X" and op.pass_ in (Pass.FF, Pass.WU):
        if tensor.size != conv.batch * conv.in_channels * conv.in_hw[0] * conv.in_hw[1]:
            return None
        windows = _windows(tensor.reshape(conv.batch, conv.in_channels, *conv.in_hw), conv)
        return windows if op.pass_ is Pass.FF else windows.swapaxes(1, 2)
    if role == "dY" and op.pass_ is Pass.WU:
        if tensor.size != conv.batch * conv.out_channels * conv.out_hw[0] * conv.out_hw[1]:
            return None
        maps = tensor.reshape(conv.batch, groups, -1, *conv.out_hw)
        return np.moveaxis(maps, 0, 2).reshape(groups, maps.shape[2], -1)
    return None


def _kernel_lines(op: MatMul, conv: Conv2d, kernel: Array) -> Array:
    """Return weights (groups, out, in, rows, columns) along their taps and channels.

    In BP a phase uses the taps with its residue only; see `workloads.lowering`.
    """
    if op.pass_ is Pass.BP:
        phase = _PHASE.search(op.name)
        for axis in (0, 1) if phase else ():
            taps = np.arange(conv.kernel[axis]) * conv.dilation[axis] % conv.stride[axis]
            kernel = np.compress(taps == int(phase[1 + axis]), kernel, axis=3 + axis)  # type: ignore[index]
        return np.moveaxis(kernel, 1, -1).reshape(conv.groups, op.n, -1)
    return np.moveaxis(kernel, 2, -1).reshape(conv.groups, op.n, -1)


def _windows(maps: Array, conv: Conv2d) -> Array:
    """Return (groups, batch x positions, taps x channels) of maps (batch, channels, rows, cols)."""
    padding = [(0, 0), (0, 0), *((pad, pad) for pad in conv.padding)]
    reach = tuple(d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(np.pad(maps, padding), reach, axis=(2, 3))
    (sh, sw), (dh, dw) = conv.stride, conv.dilation
    views = views[:, :, ::sh, ::sw, ::dh, ::dw]
    split = views.reshape(conv.batch, conv.groups, -1, *views.shape[2:])
    lines = np.moveaxis(split, (1, 2), (0, -1))
    return lines.reshape(conv.groups, conv.batch * views.shape[2] * views.shape[3], -1)
