"""Slow, obvious oracles that the fast code is held against."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from workloads import Conv2d


def conv_forward(x: NDArray, w: NDArray, conv: Conv2d) -> NDArray:
    """Convolve x[B,IH,IW,Ci] with w[Co,Ci/g,Kh,Kw] by seven loops."""
    y = np.zeros((conv.batch, *conv.out_hw, conv.out_channels))
    ci_group, co_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    for oh, ow, kh, kw in conv_taps(conv):
        ih, iw = input_position(conv, oh, ow, kh, kw)
        if not inside(conv, ih, iw):
            continue
        for b, co, ci in product(range(conv.batch), range(conv.out_channels), range(ci_group)):
            group = co // co_group
            y[b, oh, ow, co] += x[b, ih, iw, group * ci_group + ci] * w[co, ci, kh, kw]
    return y


def conv_backward_data(dy: NDArray, w: NDArray, conv: Conv2d) -> NDArray:
    """Scatter dy[B,OH,OW,Co] through w[Co,Ci/g,Kh,Kw] into dX[B,IH,IW,Ci]."""
    dx = np.zeros((conv.batch, *conv.in_hw, conv.in_channels))
    ci_group, co_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    for oh, ow, kh, kw in conv_taps(conv):
        ih, iw = input_position(conv, oh, ow, kh, kw)
        if not inside(conv, ih, iw):
            continue
        for b, co, ci in product(range(conv.batch), range(conv.out_channels), range(ci_group)):
            group = co // co_group
            dx[b, ih, iw, group * ci_group + ci] += dy[b, oh, ow, co] * w[co, ci, kh, kw]
    return dx


def conv_taps(conv: Conv2d):
    """Every output position with every kernel tap."""
    return product(*(range(n) for n in (*conv.out_hw, *conv.kernel)))


def input_position(conv: Conv2d, oh: int, ow: int, kh: int, kw: int) -> tuple[int, int]:
    """Input position under a tap; it may lie in the padding."""
    return (
        oh * conv.stride[0] + kh * conv.dilation[0] - conv.padding[0],
        ow * conv.stride[1] + kw * conv.dilation[1] - conv.padding[1],
    )


def inside(conv: Conv2d, ih: int, iw: int) -> bool:
    """Whether an input position is not in the padding."""
    return 0 <= ih < conv.in_hw[0] and 0 <= iw < conv.in_hw[1]


def gather_macs(conv: Conv2d) -> int:
    """Count the products that BP in gather form computes, over the edge of dY included.

    A tap belongs to an input position if the output position that it asks for is a whole number,
    whether it exists or not.
    """
    count = 0
    for ih, iw in product(range(conv.in_hw[0]), range(conv.in_hw[1])):
        for kh, kw in product(range(conv.kernel[0]), range(conv.kernel[1])):
            down = ih + conv.padding[0] - kh * conv.dilation[0]
            right = iw + conv.padding[1] - kw * conv.dilation[1]
            count += down % conv.stride[0] == 0 and right % conv.stride[1] == 0
    return count * conv.batch * conv.in_channels * conv.out_channels // conv.groups


def edge_products(conv: Conv2d) -> int:
    """Count the products of gather form whose output position does not exist."""
    useful = sum(
        inside(conv, *input_position(conv, oh, ow, kh, kw)) for oh, ow, kh, kw in conv_taps(conv)
    )
    per_tap = conv.batch * conv.in_channels * conv.out_channels // conv.groups
    return gather_macs(conv) - useful * per_tap
