from math import prod

import numpy as np
import pytest
from hypothesis import given, settings

from tests import naive
from tests.strategies import convolutions
from workloads import Conv2d, InputError, Pass
from workloads.lowering import backward_phases, lower_attention, lower_conv, lower_linear

BLOCK = Conv2d(
    batch=4, in_channels=16, out_channels=32, in_hw=(8, 8), kernel=(3, 3), padding=(1, 1)
)
STRIDED = Conv2d(
    batch=4,
    in_channels=16,
    out_channels=32,
    in_hw=(8, 8),
    kernel=(3, 3),
    stride=(2, 2),
    padding=(1, 1),
)


@given(convolutions(most=3))
@settings(max_examples=150)
def test_gather_form_computes_the_products_that_counting_finds(conv: Conv2d) -> None:
    products = lower_conv("c", conv, Pass.BP)
    assert sum(op.macs for op in products) == naive.gather_macs(conv)


@given(convolutions(most=3))
@settings(max_examples=60)
def test_gather_form_leaves_out_only_products_that_give_nothing(conv: Conv2d) -> None:
    assert naive.edge_products(conv) >= 0


@given(convolutions(most=3))
@settings(max_examples=40)
def test_phases_give_the_gradient_of_the_naive_loops(conv: Conv2d) -> None:
    rng = np.random.default_rng(1)
    ci_group, co_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    dy = rng.integers(-4, 5, (conv.batch, *conv.out_hw, conv.out_channels)).astype(float)
    w = rng.integers(-4, 5, (conv.out_channels, ci_group, *conv.kernel)).astype(float)
    dx = np.zeros((conv.batch, *conv.in_hw, conv.in_channels))
    for phase, op in zip(backward_phases(conv), lower_conv("c", conv, Pass.BP), strict=True):
        rows, cols = (
            [i for i in range(conv.in_hw[a]) if (i + conv.padding[a]) % conv.stride[a] == r]
            for a, r in enumerate(phase.residue)
        )
        taps_h, taps_w = (
            [k for k in range(conv.kernel[a]) if k * conv.dilation[a] % conv.stride[a] == r]
            for a, r in enumerate(phase.residue)
        )
        for group in range(conv.groups):
            outs = slice(group * co_group, (group + 1) * co_group)
            left = np.zeros((conv.batch, len(rows), len(cols), len(taps_h), len(taps_w), co_group))
            for (a, ih), (b, iw) in naive.product(enumerate(rows), enumerate(cols)):
                for (c, kh), (d, kw) in naive.product(enumerate(taps_h), enumerate(taps_w)):
                    oh = (ih + conv.padding[0] - kh * conv.dilation[0]) // conv.stride[0]
                    ow = (iw + conv.padding[1] - kw * conv.dilation[1]) // conv.stride[1]
                    if 0 <= oh < conv.out_hw[0] and 0 <= ow < conv.out_hw[1]:
                        left[:, a, b, c, d] = dy[:, oh, ow, outs]
            right = w[outs][:, :, taps_h][:, :, :, taps_w].transpose(2, 3, 0, 1)
            out = left.reshape(op.m, op.k) @ right.reshape(op.k, op.n)
            ins = slice(group * ci_group, (group + 1) * ci_group)
            dx[:, np.ix_(rows, cols)[0], np.ix_(rows, cols)[1], ins] = out.reshape(
                conv.batch, len(rows), len(cols), op.n
            )
    np.testing.assert_array_equal(dx, naive.conv_backward_data(dy, w, conv))


def im2col(x: np.ndarray, conv: Conv2d, group: int) -> np.ndarray:
    """Rows are output positions, columns kernel x channels of `group`."""
    width = conv.in_channels // conv.groups
    out = np.zeros((conv.batch, *conv.out_hw, *conv.kernel, width))
    for oh, ow, kh, kw in naive.conv_taps(conv):
        ih, iw = naive.input_position(conv, oh, ow, kh, kw)
        if naive.inside(conv, ih, iw):
            out[:, oh, ow, kh, kw] = x[:, ih, iw, group * width : (group + 1) * width]
    return out.reshape(conv.batch * prod(conv.out_hw), -1)


@given(convolutions(most=3))
@settings(max_examples=40)
def test_forward_products_give_the_convolution_of_the_naive_loops(conv: Conv2d) -> None:
    rng = np.random.default_rng(2)
    ci_group, co_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    x = rng.integers(-4, 5, (conv.batch, *conv.in_hw, conv.in_channels)).astype(float)
    w = rng.integers(-4, 5, (conv.out_channels, ci_group, *conv.kernel)).astype(float)
    (op,) = lower_conv("c", conv, Pass.FF)
    y = np.zeros((conv.batch, *conv.out_hw, conv.out_channels))
    for group in range(op.batch):
        outs = slice(group * co_group, (group + 1) * co_group)
        left = im2col(x, conv, group).reshape(op.m, op.k)
        right = w[outs].transpose(2, 3, 1, 0).reshape(op.k, op.n)
        y[..., outs] = (left @ right).reshape(conv.batch, *conv.out_hw, op.n)
    np.testing.assert_array_equal(y, naive.conv_forward(x, w, conv))


@given(convolutions(most=3))
@settings(max_examples=100)
def test_forward_and_weight_gradient_have_the_macs_of_the_convolution(conv: Conv2d) -> None:
    (forward,), (weight,) = lower_conv("c", conv, Pass.FF), lower_conv("c", conv, Pass.WU)
    assert forward.macs == weight.macs == conv.macs
    assert (weight.m, weight.k, weight.n) == (forward.k, forward.m, forward.n)


@given(convolutions(most=3))
@settings(max_examples=100)
def test_the_scattered_form_multiplies_as_often_as_forward(conv: Conv2d) -> None:
    (op,) = lower_conv("c", conv, Pass.BP, form="col2im")
    assert op.macs == conv.macs
    assert op.m == conv.batch * prod(conv.out_hw)
    assert op.k == op.k_run == conv.out_channels // conv.groups


def test_without_stride_both_forms_of_bp_differ_by_the_edges_only() -> None:
    (gather,) = lower_conv("c", BLOCK, Pass.BP)
    assert (gather.m, gather.k, gather.n) == (4 * 8 * 8, 32 * 9, 16)
    assert gather.k_run == 32
    assert gather.macs == BLOCK.macs


def test_stride_two_splits_bp_into_four_phases_with_nine_taps_together() -> None:
    phases = lower_conv("c", STRIDED, Pass.BP)
    # Along an axis taps 0 and 2 share a residue, tap 1 is alone.
    assert [op.k // 32 for op in phases] == [2 * 2, 2 * 1, 1 * 2, 1 * 1]
    assert {op.m for op in phases} == {4 * 4 * 4}
    assert len({op.name for op in phases}) == 4
    assert sum(op.macs for op in phases) == STRIDED.macs


def test_strided_pointwise_convolution_has_one_phase() -> None:
    conv = Conv2d(
        batch=2, in_channels=8, out_channels=16, in_hw=(8, 8), kernel=(1, 1), stride=(2, 2)
    )
    (op,) = lower_conv("shortcut", conv, Pass.BP)
    assert (op.m, op.k, op.n) == (2 * 4 * 4, 16, 8)
    assert op.out.elements == 2 * 8 * 8 * 8  # the zeros between are written too


def test_a_convolution_that_only_reads_padding_has_no_backward_product() -> None:
    conv = Conv2d(
        batch=1,
        in_channels=4,
        out_channels=4,
        in_hw=(1, 1),
        kernel=(1, 1),
        stride=(2, 2),
        padding=(1, 1),
    )
    assert lower_conv("c", conv, Pass.BP) == ()


@given(convolutions(most=3))
@settings(max_examples=100)
def test_phases_charge_every_tensor_once(conv: Conv2d) -> None:
    phases = lower_conv("c", conv, Pass.BP)
    if not phases:
        return
    (forward,) = lower_conv("c", conv, Pass.FF)
    x, w, y = forward.left, forward.right, forward.out
    assert sum(op.out.elements for op in phases) == x.elements
    assert y.elements <= sum(op.left.elements for op in phases) <= y.elements + len(phases)
    assert sum(op.right.elements for op in phases) <= w.elements


def test_operands_count_the_feature_map_and_not_its_copies() -> None:
    (op,) = lower_conv("c", BLOCK, Pass.FF)
    assert op.left.elements == 4 * 16 * 8 * 8
    assert op.right.elements == 32 * 16 * 9
    assert op.out.elements == 4 * 32 * 8 * 8
    (update,) = lower_conv("c", BLOCK, Pass.WU)
    assert (update.out.tensor, update.out.dtype) == ("dW", "fp32")


def test_depthwise_convolution_is_a_batch_of_products_without_runs() -> None:
    conv = Conv2d(
        batch=2,
        in_channels=8,
        out_channels=8,
        in_hw=(4, 4),
        kernel=(3, 3),
        padding=(1, 1),
        groups=8,
    )
    (op,) = lower_conv("dw", conv, Pass.FF)
    assert (op.batch, op.m, op.k, op.n, op.k_run) == (8, 32, 9, 1, 1)


@pytest.mark.parametrize("pass_", [Pass.BP, Pass.UP])
def test_the_first_layer_has_neither_backward_data_nor_products_in_the_update(pass_: Pass) -> None:
    assert lower_conv("c", BLOCK, pass_, position="first") == ()
    assert lower_linear("l", 4, 8, 16, pass_, position="first") == ()


def test_linear_is_the_pointwise_convolution_on_one_position() -> None:
    conv = Conv2d(batch=5, in_channels=8, out_channels=12, in_hw=(1, 1), kernel=(1, 1))
    for pass_ in (Pass.FF, Pass.BP, Pass.WU):
        (a,), (b,) = lower_conv("l", conv, pass_), lower_linear("l", 5, 8, 12, pass_)
        assert (a.m, a.k, a.n, a.k_run) == (b.m, b.k, b.n, b.k_run)
        assert (a.left, a.right, a.out) == (b.left, b.right, b.out)


def test_attention_multiplies_queries_with_keys_and_probabilities_with_values() -> None:
    scores, context = lower_attention("a", 2, 3, 5, 7, 4, Pass.FF)
    assert (scores.batch, scores.m, scores.k, scores.n) == (6, 5, 4, 7)
    assert (context.batch, context.m, context.k, context.n) == (6, 5, 7, 4)


def test_attention_multiplies_twice_as_much_backwards() -> None:
    forward, backward = (lower_attention("a", 2, 3, 5, 7, 4, p) for p in (Pass.FF, Pass.BP))
    assert len(backward) == 4
    assert sum(op.macs for op in backward) == 2 * sum(op.macs for op in forward)
    assert lower_attention("a", 2, 3, 5, 7, 4, Pass.WU) == ()


@pytest.mark.parametrize("pass_", [Pass.FF, Pass.BP])
def test_shared_keys_save_traffic_and_no_products(pass_: Pass) -> None:
    own = lower_attention("a", 2, 8, 16, 16, 4, pass_)
    shared = lower_attention("a", 2, 8, 16, 16, 4, pass_, kv_heads=2)
    assert sum(op.macs for op in own) == sum(op.macs for op in shared)
    for a, b in zip(own, shared, strict=True):
        assert b.compulsory_bytes < a.compulsory_bytes


def test_key_heads_divide_the_heads() -> None:
    with pytest.raises(InputError, match="kv heads of a must divide its 8 heads, not 3"):
        lower_attention("a", 1, 8, 16, 16, 4, Pass.FF, kv_heads=3)


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(InputError, match="must be gather or col2im, not 'winograd'"):
        lower_conv("c", BLOCK, Pass.BP, form="winograd")  # type: ignore[arg-type]
