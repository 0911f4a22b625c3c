"""What the work between the matrix products costs: lane operations and bytes, counted, not chosen.

A *lane operation* is one multiply-add, addition, product, comparison or table look-up (exp, tanh,
sigmoid) on one element. Factors that are constant for a channel or row (mean, 1/sigma, learning
rate) are folded together beforehand and cost nothing per element. *Reads* and *writes* are whole
tensors of that many fp16 elements that pass between memory and the vector lanes; a row of a matrix
(layer norm, softmax) is held on chip while it is worked on, a channel over a whole batch is not,
so batch norm reads its input again. Fused work rides on the result stream of the product before it:
it takes no lane time, and it moves only the tensors named here (the skip tensor of a residual).

===================  ====  ===========  =====  =====  ======  =====================================
kind                 pass  lane op.     reads  write  fused   counted
===================  ====  ===========  =====  =====  ======  =====================================
bias                 FF    1                          yes     y + b
bias                 WU    1                          yes     sum of dY over the rows
relu                 FF    1                          yes     max(y, 0)
relu                 BP    1                          yes     dX where y > 0
add (join)           FF    1            1             yes     + skip tensor
split (fork)         BP    1            1             yes     + gradient of the other branch
batchnorm statistics FF    2                          yes     sum y, sum y^2, as y is produced
batchnorm normalise  FF    1            1      1              a y + b
batchnorm reduce     BP    2            2                     sum dY, sum dY y
batchnorm gradient   BP    2            2      1              a dY + b y + c
affine               FF    1                          yes     batch norm in inference: a y + b
layernorm            FF    4            1      1              sum, sum of squares, normalise, affine
layernorm            BP    8            2      1              [1]
rmsnorm              FF    3            1      1              sum of squares, normalise, gain
rmsnorm              BP    6            2      1              [2]
softmax              FF    5            1      1              max, scale - max, exp, sum, 1/sum
softmax              BP    3            2      1              sum dP P, subtract and scale, times P
gelu                 FF    6            1      1              [3]
gelu                 BP    10           2      1              [4]
tanh                 FF    1                          yes     look-up
tanh                 BP    2                          yes     1 - y^2, times dY
swiglu               FF    3            2      1              sigmoid(g), times g, times u
swiglu               BP    7            3      2              [5]
rotary               FF    2            1      1              x cos + rotated x sin
rotary               BP    2            1      1              the transposed rotation
loss                 FF    4            1                     max, subtract, exp, sum
loss                 BP    3            1      1              exp(x - lse), minus label, scale
===================  ====  ===========  =====  =====  ======  =====================================

[1] dy gain; sum of it; normalised x again; sum of the product; d gain; d offset; two multiply-adds
for dX. [2] the same without means: no sum and no d offset. [3] tanh form (Hendrycks and Gimpel,
arXiv 1606.08415): x^2, a + b x^2, times x, tanh, x/2, multiply-add. [4] x^2, a + b x^2, times x,
t = tanh, a + 3 b x^2, 1 - t^2, their product, (1 + t)/2, multiply-add with x, times dy. [5] sigmoid
s(g), h = g s, du = dy h, dy u, 1 - s, s + h (1 - s), dg. Batch norm: Ioffe and Szegedy, ICML 2015.

Not counted: drop-out, data augmentation, gradient clipping, and weight decay.
"""

from __future__ import annotations

from typing import NamedTuple

from workloads.operations import Pass, VectorOp

FP16_BYTES = 2
FP32_BYTES = 4


class Cost(NamedTuple):
    """One line of the table: a step of one kind of work in one pass."""

    pass_: Pass
    step: str
    lane_operations: int
    reads: int = 0
    writes: int = 0
    fused: bool = False


_FF, _BP, _WU = Pass.FF, Pass.BP, Pass.WU

COSTS: dict[str, tuple[Cost, ...]] = {
    "bias": (Cost(_FF, "add", 1, fused=True), Cost(_WU, "gradient", 1, fused=True)),
    "relu": (Cost(_FF, "clip", 1, fused=True), Cost(_BP, "mask", 1, fused=True)),
    "add": (Cost(_FF, "add", 1, reads=1, fused=True),),
    "split": (Cost(_BP, "add", 1, reads=1, fused=True),),
    "batchnorm": (
        Cost(_FF, "statistics", 2, fused=True),
        Cost(_FF, "normalise", 1, reads=1, writes=1),
        Cost(_BP, "reduce", 2, reads=2),
        Cost(_BP, "gradient", 2, reads=2, writes=1),
    ),
    "affine": (Cost(_FF, "scale", 1, fused=True),),
    "layernorm": (
        Cost(_FF, "normalise", 4, reads=1, writes=1),
        Cost(_BP, "gradient", 8, reads=2, writes=1),
    ),
    "rmsnorm": (
        Cost(_FF, "normalise", 3, reads=1, writes=1),
        Cost(_BP, "gradient", 6, reads=2, writes=1),
    ),
    "softmax": (
        Cost(_FF, "normalise", 5, reads=1, writes=1),
        Cost(_BP, "gradient", 3, reads=2, writes=1),
    ),
    "gelu": (Cost(_FF, "apply", 6, reads=1, writes=1), Cost(_BP, "gradient", 10, 2, 1)),
    "tanh": (Cost(_FF, "apply", 1, fused=True), Cost(_BP, "gradient", 2, fused=True)),
    "swiglu": (Cost(_FF, "apply", 3, reads=2, writes=1), Cost(_BP, "gradient", 7, 3, 2)),
    "rotary": (Cost(_FF, "rotate", 2, reads=1, writes=1), Cost(_BP, "rotate", 2, 1, 1)),
    "loss": (Cost(_FF, "sum", 4, reads=1), Cost(_BP, "gradient", 3, reads=1, writes=1)),
}

INFERENCE_KIND = {"batchnorm": "affine", "loss": None}
"""Kinds that inference replaces (batch norm uses its running statistics) or leaves out."""


def vector_work(layer: str, kind: str, pass_: Pass, elements: int) -> tuple[VectorOp, ...]:
    """Return the vector operations of `kind` on `elements` elements of the batch in `pass_`.

    >>> [(op.name, op.read_bytes, op.fused) for op in vector_work("bn", "batchnorm", Pass.FF, 8)]
    [('bn.statistics.FF', 0, True), ('bn.normalise.FF', 16, False)]
    """
    return tuple(
        VectorOp(
            name=f"{layer}.{cost.step}.{pass_}",
            layer=layer,
            pass_=pass_,
            kind=kind,
            elements=elements,
            lane_operations=cost.lane_operations,
            read_bytes=cost.reads * elements * FP16_BYTES,
            write_bytes=cost.writes * elements * FP16_BYTES,
            fused=cost.fused,
        )
        for cost in COSTS[kind]
        if cost.pass_ is pass_
    )


def weight_update(layer: str, parameters: int) -> VectorOp:
    """Return the update of a layer: stochastic gradient descent with momentum in fp32.

    Per parameter v = mu v + g and w = w - lr v are two lane operations; the conversion of w to
    fp16 happens on its way out. Read: w, v and g in fp32. Written: w and v in fp32, w in fp16
    (mixed precision training, arXiv 1710.03740, figure 1).
    """
    return VectorOp(
        name=f"{layer}.update",
        layer=layer,
        pass_=Pass.UP,
        kind="update",
        elements=parameters,
        lane_operations=2,
        read_bytes=3 * FP32_BYTES * parameters,
        write_bytes=(2 * FP32_BYTES + FP16_BYTES) * parameters,
    )
