"""Lower a layer to the matrix products of one pass, with the exact shapes.

`g` groups, `B` images, `Ci`/`Co` channels, `Kh x Kw` kernel, `IH x IW` to `OH x OW` positions:

======  =========================  =====================  ==================  =========
pass    m                          k                      n                   k_run
======  =========================  =====================  ==================  =========
FF      B OH OW                    (Ci/g) Kh Kw           Co/g                Ci/g
BP      B x positions of a phase   (Co/g) taps of phase   Ci/g                Co/g
BP [1]  B OH OW                    Co/g                   (Ci/g) Kh Kw        Co/g
WU      (Ci/g) Kh Kw               B OH OW                Co/g                k
======  =========================  =====================  ==================  =========

with batch = g. [1] `form="col2im"`: products first, scattered addition into dX afterwards. A linear
layer is the case of a 1x1 kernel on 1x1 positions. The first layer of a network has no BP, since
nobody needs the gradient of the input.

**Backward data in gather form.** Output position oh meets input position ih through tap kh where
oh * stride + kh * dilation = ih + padding. For an input position only the taps with
(kh * dilation) mod stride = (ih + padding) mod stride can do that, so the input rows (and likewise
the columns) fall into `stride` phases, and each phase is a dense product with its own taps. Nothing
is multiplied by the zeros that a transposed convolution would insert; taps that reach over the edge
of dY are computed, like the padding in FF. A phase without taps or without positions computes
nothing: its part of dX is zero.

**Elements.** Operands count what is stored: the feature map, not its im2col copy. Over the phases
of a layer every tensor is charged once: W by its taps and dX by its positions (both exact; the last
phase also writes the zeros of the phases that compute nothing), dY in proportion to the products.
That is the traffic of a schedule which runs the phases of a tile of dY before it moves on.

**Data types.** Activations, weights and their gradients have the layer's type (fp16 by default);
dW has fp32, because it is added up over the whole batch and goes to an fp32 optimiser (mixed
precision training, Micikevicius et al., ICLR 2018, arXiv 1710.03740).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise, product
from math import gcd
from typing import Literal, NamedTuple

from workloads.errors import InputError
from workloads.operations import Conv2d, MatMul, Operand, Pass, Position

WEIGHT_GRADIENT_DTYPE = "fp32"
MOST_PHASES = 1 << 16
"""Products of the BP of one convolution, as many as it has strides in rows times columns."""


class Phase(NamedTuple):
    """Input positions of one image that share their taps, in one product of BP."""

    residue: tuple[int, int]
    positions: tuple[int, int]
    taps: tuple[int, int]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image and one pair of channels."""
        return self.positions[0] * self.positions[1] * self.taps[0] * self.taps[1]


def backward_phases(conv: Conv2d) -> tuple[Phase, ...]:
    """Return the phases of BP that compute something, by residue of row, then of column.

    >>> conv = Conv2d(batch=1, in_channels=8, out_channels=8, in_hw=(8, 8), kernel=(3, 3),
    ...               stride=(2, 2), padding=(1, 1))
    >>> [(phase.positions, phase.taps) for phase in backward_phases(conv)]
    [((4, 4), (2, 2)), ((4, 4), (2, 1)), ((4, 4), (1, 2)), ((4, 4), (1, 1))]
    """
    rows, cols = (_axis_phases(conv, axis) for axis in (0, 1))
    if len(rows) * len(cols) > MOST_PHASES:
        raise InputError(
            f"a convolution of stride {conv.stride} and kernel {conv.kernel} has "
            f"{len(rows) * len(cols)} products in BP; at most {MOST_PHASES} are lowered"
        )
    return tuple(
        Phase(residue=(rh, rw), positions=(ph, pw), taps=(th, tw))
        for (rh, ph, th), (rw, pw, tw) in product(rows, cols)
    )


def _axis_phases(conv: Conv2d, axis: int) -> list[tuple[int, int, int]]:
    """Residue, positions and taps of the phases along one axis that have both."""
    stride, padding = conv.stride[axis], conv.padding[axis]
    step = conv.dilation[axis] % stride
    period = stride // gcd(stride, step)
    taps = _shared_out(conv.kernel[axis], period)
    phases = ((tap * step % stride, count) for tap, count in enumerate(taps))
    counted = ((r, _from(r - padding, stride, conv.in_hw[axis]), count) for r, count in phases)
    return sorted(phase for phase in counted if phase[1])


def _shared_out(count: int, parts: int) -> list[int]:
    """Deal out `count` to at most `parts` in turn.

    >>> _shared_out(7, 3), _shared_out(2, 1000)
    ([3, 2, 2], [1, 1])
    """
    return [-(-(count - part) // parts) for part in range(min(count, parts))]


def _from(first: int, step: int, end: int) -> int:
    """Count first, first + step, ... that lie in [0, end).

    >>> _from(1, 2, 6), _from(-1, 2, 6), _from(5, 8, 4)
    (3, 3, 0)
    """
    return max(0, -(-(end - first % step) // step))


def lower_conv(
    name: str,
    conv: Conv2d,
    pass_: Pass,
    *,
    dtype: str = "fp16",
    position: Position = "inner",
    form: Literal["gather", "col2im"] = "gather",
) -> tuple[MatMul, ...]:
    """Lower a convolution to its products in `pass_`; `form` says how BP forms dX.

    The result is empty for UP and for the BP of the first layer.
    """
    if form not in ("gather", "col2im"):
        raise InputError(f"form of the backward pass must be gather or col2im, not {form!r}")
    match pass_:
        case Pass.FF:
            return (_conv_forward(name, conv, dtype, position),)
        case Pass.BP if position != "first":
            if form == "col2im":
                return (_conv_backward_scatter(name, conv, dtype, position),)
            return _conv_backward_gather(name, conv, dtype, position)
        case Pass.WU:
            return (_conv_weight(name, conv, dtype, position),)
    return ()


def lower_linear(
    name: str,
    rows: int,
    in_features: int,
    out_features: int,
    pass_: Pass,
    *,
    dtype: str = "fp16",
    position: Position = "inner",
) -> tuple[MatMul, ...]:
    """Lower Y = X W with X of shape (rows, in_features) to its product in `pass_`.

    The result is empty for UP and for the BP of the first layer.
    """
    inputs, outputs = rows * in_features, rows * out_features
    weights = in_features * out_features
    match pass_:
        case Pass.FF:
            shape = (rows, in_features, out_features)
            left, right = _operand("X", inputs, dtype), _operand("W", weights, dtype)
            out = _operand("Y", outputs, dtype)
        case Pass.BP if position != "first":
            shape = (rows, out_features, in_features)
            left, right = _operand("dY", outputs, dtype), _operand("W", weights, dtype)
            out = _operand("dX", inputs, dtype)
        case Pass.WU:
            shape = (in_features, rows, out_features)
            left, right = _operand("X", inputs, dtype), _operand("dY", outputs, dtype)
            out = _operand("dW", weights, WEIGHT_GRADIENT_DTYPE)
        case _:
            return ()
    m, k, n = shape
    return (
        MatMul(
            name=f"{name}.{pass_}",
            layer=name,
            pass_=pass_,
            m=m,
            k=k,
            n=n,
            left=left,
            right=right,
            out=out,
            kind="linear",
            position=position,
        ),
    )


def lower_attention(
    name: str,
    batch: int,
    heads: int,
    q_len: int,
    kv_len: int,
    head_dim: int,
    pass_: Pass,
    *,
    kv_heads: int | None = None,
    dtype: str = "fp16",
) -> tuple[MatMul, ...]:
    """Lower S = Q K^T and O = P V (FF), or their four gradient products (BP).

    With fewer `kv_heads` than heads (grouped-query attention) the heads that share keys and values
    are stacked along the rows of Q: the batch is `batch * kv_heads`, and dK and dV are summed over
    the stacked heads by their reduction axis. All products multiply activations, so their operands
    have the roles X and dY, and WU and UP are empty. Probabilities are counted as stored, for a
    flash kernel that keeps them on chip the traffic is less. Raises `InputError` if `kv_heads` does
    not divide `heads`.
    """
    shared = heads if kv_heads is None else kv_heads
    if shared < 1 or heads % shared:
        raise InputError(f"kv heads of {name} must divide its {heads} heads, not {shared}")
    rows, products = heads // shared * q_len, batch * shared
    table: tuple[tuple[str, int, int, int, str, str, str], ...]
    if pass_ is Pass.FF:
        table = (
            ("scores", rows, head_dim, kv_len, "X", "X", "Y"),
            ("context", rows, kv_len, head_dim, "X", "X", "Y"),
        )
    elif pass_ is Pass.BP:
        table = (
            ("dP", rows, head_dim, kv_len, "dY", "X", "dX"),
            ("dV", kv_len, rows, head_dim, "X", "dY", "dX"),
            ("dQ", rows, kv_len, head_dim, "dY", "X", "dX"),
            ("dK", kv_len, rows, head_dim, "dY", "X", "dX"),
        )
    else:
        return ()
    return tuple(
        MatMul(
            name=f"{name}.{product_name}.{pass_}",
            layer=name,
            pass_=pass_,
            m=m,
            k=k,
            n=n,
            batch=products,
            left=_operand(left, products * m * k, dtype),
            right=_operand(right, products * k * n, dtype),
            out=_operand(out, products * m * n, dtype),
            kind="attention",
        )
        for product_name, m, k, n, left, right, out in table
    )


def batched(op: MatMul, count: int) -> MatMul:
    """Return `count` independent products of the shape of `op`, each with operands of its own."""
    left, right, out = (
        replace(operand, elements=count * operand.elements)
        for operand in (op.left, op.right, op.out)
    )
    return replace(op, batch=count * op.batch, left=left, right=right, out=out)


def _operand(tensor: str, elements: int, dtype: str) -> Operand:
    return Operand(tensor=tensor, elements=elements, dtype=dtype)


def conv_elements(conv: Conv2d) -> tuple[int, int, int]:
    """Return the elements of the input, the weights and the output of a convolution."""
    (ih, iw), (oh, ow), (kh, kw) = conv.in_hw, conv.out_hw, conv.kernel
    return (
        conv.batch * conv.in_channels * ih * iw,
        conv.out_channels * (conv.in_channels // conv.groups) * kh * kw,
        conv.batch * conv.out_channels * oh * ow,
    )


def _conv_forward(name: str, conv: Conv2d, dtype: str, position: Position) -> MatMul:
    inputs, weights, outputs = conv_elements(conv)
    k_run = conv.in_channels // conv.groups
    return MatMul(
        name=f"{name}.FF",
        layer=name,
        pass_=Pass.FF,
        m=conv.batch * conv.out_hw[0] * conv.out_hw[1],
        k=k_run * conv.kernel[0] * conv.kernel[1],
        n=conv.out_channels // conv.groups,
        batch=conv.groups,
        left=_operand("X", inputs, dtype),
        right=_operand("W", weights, dtype),
        out=_operand("Y", outputs, dtype),
        k_run=k_run,
        kind="conv",
        position=position,
        conv=conv,
    )


def _conv_weight(name: str, conv: Conv2d, dtype: str, position: Position) -> MatMul:
    inputs, weights, outputs = conv_elements(conv)
    return MatMul(
        name=f"{name}.WU",
        layer=name,
        pass_=Pass.WU,
        m=conv.in_channels // conv.groups * conv.kernel[0] * conv.kernel[1],
        k=conv.batch * conv.out_hw[0] * conv.out_hw[1],
        n=conv.out_channels // conv.groups,
        batch=conv.groups,
        left=_operand("X", inputs, dtype),
        right=_operand("dY", outputs, dtype),
        out=_operand("dW", weights, WEIGHT_GRADIENT_DTYPE),
        kind="conv",
        position=position,
        conv=conv,
    )


def _conv_backward_scatter(name: str, conv: Conv2d, dtype: str, position: Position) -> MatMul:
    inputs, weights, outputs = conv_elements(conv)
    return MatMul(
        name=f"{name}.BP",
        layer=name,
        pass_=Pass.BP,
        m=conv.batch * conv.out_hw[0] * conv.out_hw[1],
        k=conv.out_channels // conv.groups,
        n=conv.in_channels // conv.groups * conv.kernel[0] * conv.kernel[1],
        batch=conv.groups,
        left=_operand("dY", outputs, dtype),
        right=_operand("W", weights, dtype),
        out=_operand("dX", inputs, dtype),
        kind="conv",
        position=position,
        conv=conv,
    )


def _conv_backward_gather(
    name: str, conv: Conv2d, dtype: str, position: Position
) -> tuple[MatMul, ...]:
    inputs, _, outputs = conv_elements(conv)
    phases = backward_phases(conv)
    if not phases:
        return ()
    k_run, n = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    gradients = _shares(outputs, [phase.macs for phase in phases])
    written = [conv.batch * conv.in_channels * p.positions[0] * p.positions[1] for p in phases]
    written[-1] += inputs - sum(written)
    return tuple(
        MatMul(
            name=_phase_name(name, phase, alone=len(phases) == 1),
            layer=name,
            pass_=Pass.BP,
            m=conv.batch * phase.positions[0] * phase.positions[1],
            k=k_run * phase.taps[0] * phase.taps[1],
            n=n,
            batch=conv.groups,
            left=_operand("dY", gradient, dtype),
            right=_operand("W", conv.out_channels * n * phase.taps[0] * phase.taps[1], dtype),
            out=_operand("dX", elements, dtype),
            k_run=k_run,
            kind="conv",
            position=position,
            conv=conv,
        )
        for phase, gradient, elements in zip(phases, gradients, written, strict=True)
    )


def _phase_name(name: str, phase: Phase, *, alone: bool) -> str:
    return f"{name}.BP" if alone else f"{name}.BP.phase{phase.residue[0]}_{phase.residue[1]}"


def _shares(total: int, weights: list[int]) -> list[int]:
    """Split `total` in proportion to `weights`: whole parts, at least 1, of the same sum."""
    bounds = [total * part // sum(weights) for part in accumulate(weights, initial=0)]
    return [max(1, high - low) for low, high in pairwise(bounds)]
