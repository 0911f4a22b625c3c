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
from math import gcd, prod
from typing import Literal, NamedTuple

from workloads.errors import InputError
from workloads.operations import Conv2d, MatMul, Operand, Pass, Position
from workloads.rounding import ceil_div

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
    return [ceil_div(count - part, parts) for part in range(min(count, parts))]


def _from(first: int, step: int, end: int) -> int:
    """Count first, first + step, ... that lie in [0, end).

    >>> _from(1, 2, 6), _from(-1, 2, 6), _from(5, 8, 4)
    (3, 3, 0)
    """
    return max(0, ceil_div(end - first % step, step))


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
            parts = [_forward(conv)]
        case Pass.BP if position != "first":
            parts = [_scattered(conv)] if form == "col2im" else _gathered(conv)
        case Pass.WU:
            parts = [_weight_gradient(conv)]
        case _:
            return ()
    return tuple(_conv_product(name, conv, pass_, part, dtype, position) for part in parts)


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
    elements = rows * in_features, in_features * out_features, rows * out_features
    match pass_:
        case Pass.FF:
            shape = (rows, in_features, out_features)
        case Pass.BP if position != "first":
            shape = (rows, out_features, in_features)
        case Pass.WU:
            shape = (in_features, rows, out_features)
        case _:
            return ()
    m, k, n = shape
    left, right, out = _operands(pass_, elements, dtype)
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
    table: tuple[tuple[str, tuple[int, int, int], tuple[str, str, str]], ...]
    if pass_ is Pass.FF:
        table = (
            ("scores", (rows, head_dim, kv_len), ("X", "X", "Y")),
            ("context", (rows, kv_len, head_dim), ("X", "X", "Y")),
        )
    elif pass_ is Pass.BP:
        table = (
            ("dP", (rows, head_dim, kv_len), ("dY", "X", "dX")),
            ("dV", (kv_len, rows, head_dim), ("X", "dY", "dX")),
            ("dQ", (rows, kv_len, head_dim), ("dY", "X", "dX")),
            ("dK", (kv_len, rows, head_dim), ("dY", "X", "dX")),
        )
    else:
        return ()
    return tuple(
        activation_product(
            f"{name}.{part}.{pass_}", name, pass_, shape, roles, batch=products, dtype=dtype
        )
        for part, shape, roles in table
    )


def activation_product(
    name: str,
    layer: str,
    pass_: Pass,
    shape: tuple[int, int, int],
    roles: tuple[str, str, str],
    *,
    batch: int = 1,
    dtype: str = "fp16",
) -> MatMul:
    """Return `batch` products of two activations, of `shape` (m, k, n), as attention has them.

    `roles` are those of left operand, right operand and result: X, Y, dX or dY.
    """
    m, k, n = shape
    sizes = (m * k, k * n, m * n)
    left, right, out = (
        Operand(tensor=role, elements=batch * size, dtype=dtype)
        for role, size in zip(roles, sizes, strict=True)
    )
    return MatMul(
        name=name,
        layer=layer,
        pass_=pass_,
        m=m,
        k=k,
        n=n,
        batch=batch,
        left=left,
        right=right,
        out=out,
        kind="attention",
    )


def batched(op: MatMul, count: int) -> MatMul:
    """Return `count` independent products of the shape of `op`, each with operands of its own."""
    left, right, out = (
        replace(operand, elements=count * operand.elements)
        for operand in (op.left, op.right, op.out)
    )
    return replace(op, batch=count * op.batch, left=left, right=right, out=out)


def _operands(
    pass_: Pass, elements: tuple[int, int, int], dtype: str
) -> tuple[Operand, Operand, Operand]:
    """Return left operand, right operand and result of a layer's product in a pass.

    `elements` are those of X (or dX), of W (or dW) and of Y (or dY).
    """
    of_x, of_w, of_y = elements
    match pass_:
        case Pass.FF:
            sides = (("X", of_x, dtype), ("W", of_w, dtype), ("Y", of_y, dtype))
        case Pass.BP:
            sides = (("dY", of_y, dtype), ("W", of_w, dtype), ("dX", of_x, dtype))
        case _:
            sides = (("X", of_x, dtype), ("dY", of_y, dtype), ("dW", of_w, WEIGHT_GRADIENT_DTYPE))
    left, right, out = (Operand(tensor=name, elements=e, dtype=kind) for name, e, kind in sides)
    return left, right, out


def conv_elements(conv: Conv2d) -> tuple[int, int, int]:
    """Return the elements of the input, the weights and the output of a convolution."""
    return (
        conv.batch * conv.in_channels * prod(conv.in_hw),
        conv.out_channels * (conv.in_channels // conv.groups) * prod(conv.kernel),
        conv.out_channels * _positions(conv),
    )


class _Part(NamedTuple):
    """A product of a convolution in a pass: (m, k, n) of a group, elements as in `_operands`."""

    shape: tuple[int, int, int]
    elements: tuple[int, int, int]
    k_run: int = 0
    phase: str = ""


def _forward(conv: Conv2d) -> _Part:
    k_run = conv.in_channels // conv.groups
    shape = (_positions(conv), k_run * prod(conv.kernel), conv.out_channels // conv.groups)
    return _Part(shape, conv_elements(conv), k_run)


def _weight_gradient(conv: Conv2d) -> _Part:
    rows = conv.in_channels // conv.groups * prod(conv.kernel)
    shape = (rows, _positions(conv), conv.out_channels // conv.groups)
    return _Part(shape, conv_elements(conv))


def _scattered(conv: Conv2d) -> _Part:
    columns = conv.in_channels // conv.groups * prod(conv.kernel)
    shape = (_positions(conv), conv.out_channels // conv.groups, columns)
    return _Part(shape, conv_elements(conv))


def _gathered(conv: Conv2d) -> list[_Part]:
    phases = backward_phases(conv)
    if not phases:
        return []
    inputs, _, outputs = conv_elements(conv)
    k_run, n = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    gradients = _shares(outputs, [phase.macs for phase in phases])
    written = [conv.batch * conv.in_channels * prod(phase.positions) for phase in phases]
    written[-1] += inputs - sum(written)
    return [
        _Part(
            shape=(conv.batch * prod(phase.positions), k_run * prod(phase.taps), n),
            elements=(elements, conv.out_channels * n * prod(phase.taps), gradient),
            k_run=k_run,
            phase=f".phase{phase.residue[0]}_{phase.residue[1]}" if len(phases) > 1 else "",
        )
        for phase, gradient, elements in zip(phases, gradients, written, strict=True)
    ]


def _conv_product(
    layer: str, conv: Conv2d, pass_: Pass, part: _Part, dtype: str, position: Position
) -> MatMul:
    m, k, n = part.shape
    left, right, out = _operands(pass_, part.elements, dtype)
    return MatMul(
        name=f"{layer}.{pass_}{part.phase}",
        layer=layer,
        pass_=pass_,
        m=m,
        k=k,
        n=n,
        batch=conv.groups,
        left=left,
        right=right,
        out=out,
        k_run=part.k_run,
        kind="conv",
        position=position,
        conv=conv,
    )


def _positions(conv: Conv2d) -> int:
    """Return the output positions of all images."""
    return conv.batch * prod(conv.out_hw)


def _shares(total: int, weights: list[int]) -> list[int]:
    """Split `total` in proportion to `weights`: whole parts of that sum, those of 0 made 1."""
    bounds = [total * part // sum(weights) for part in accumulate(weights, initial=0)]
    return [max(1, high - low) for low, high in pairwise(bounds)]
