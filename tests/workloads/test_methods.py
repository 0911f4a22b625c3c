import time
from dataclasses import replace
from fractions import Fraction

import pytest

from workloads import (
    DENSE,
    NM,
    Conv2d,
    InputError,
    MatMul,
    Pass,
    Selection,
    TransposableNM,
    Workload,
    networks,
)
from workloads.layers import Attention, Conv, Linear
from workloads.lowering import lower_attention, lower_conv, lower_linear
from workloads.methods import (
    Method,
    Rule,
    bdwp,
    dense,
    names,
    parse_method,
    sdgp,
    sdwp,
    sr_ste,
    transposable,
)
from workloads.network import Network

PATTERNS = [(2, 4), (1, 4), (2, 8), (1, 8), (2, 16), (4, 8)]
BUILDERS = {
    "sr-ste": sr_ste,
    "sdgp": sdgp,
    "sdwp": sdwp,
    "bdwp": bdwp,
    "transposable": transposable,
}
TRAINED = (Pass.FF, Pass.BP, Pass.WU)


def step_of(*products: tuple[MatMul, ...]) -> Workload:
    return Workload(name="step", operations=tuple(op for group in products for op in group))


def linear_step() -> Workload:
    """Three passes of equal size."""
    return step_of(*(lower_linear("l", 64, 64, 64, pass_) for pass_ in TRAINED))


def conv_step(**changes: object) -> Workload:
    geometry = {
        "batch": 2,
        "in_channels": 16,
        "out_channels": 32,
        "in_hw": (8, 8),
        "kernel": (3, 3),
        "stride": (2, 2),
        "padding": (1, 1),
    }
    conv = Conv2d(**(geometry | changes))  # type: ignore[arg-type]
    return step_of(*(lower_conv("c", conv, pass_) for pass_ in TRAINED))


def patterns(workload: Workload) -> dict[str, str]:
    """Sparse operands as "operation/tensor: pattern"."""
    return {
        f"{op.name}/{operand.tensor}": str(operand.pattern)
        for op in workload.matmuls
        for operand in (op.left, op.right, op.out)
        if operand.pattern != DENSE
    }


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("name", ["sr-ste", "sdgp", "sdwp"])
def test_one_sparse_pass_of_three_leaves_two_thirds_and_d(name: str, n: int, m: int) -> None:
    expected = (2 + Fraction(n, m)) / 3
    assert BUILDERS[name](n, m)(linear_step()).flop_ratio == pytest.approx(float(expected))


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("name", ["bdwp", "transposable"])
def test_two_sparse_passes_of_three_leave_one_third_and_two_d(name: str, n: int, m: int) -> None:
    expected = (1 + 2 * Fraction(n, m)) / 3
    assert BUILDERS[name](n, m)(linear_step()).flop_ratio == pytest.approx(float(expected))


def test_dense_changes_nothing() -> None:
    step = linear_step()
    assert dense()(step) == step


def bdwp_ratio(network: Network, d: float) -> float:
    """Count BDWP's ratio from the layers: first, classifier and attention dense, WU dense."""
    products = [x for x in network.layers if isinstance(x, Conv | Linear)]
    eligible = sum(x.macs for x in products[1:] if not x.classifier)
    attention = sum(x.macs for x in network.layers if isinstance(x, Attention))
    classifier = sum(x.macs for x in products if x.classifier)
    total = 3 * eligible + 2 * products[0].macs + 3 * classifier + 3 * attention
    return (total - 2 * (1 - d) * eligible) / total


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet9", (0.668, 0.502, 0.418)),
        ("vgg19", (0.668, 0.502, 0.418)),
        ("vit-32", (0.681, 0.521, 0.441)),
        ("resnet18-64", (0.682, 0.523, 0.443)),
        ("resnet50", (0.673, 0.510, 0.428)),
    ],
)
def test_bdwp_leaves_the_counted_share_of_each_network(
    name: str, published: tuple[float, ...]
) -> None:
    network = networks.find(name, batch=4)
    step = network.training_step()
    for (n, m), share in zip([(2, 4), (2, 8), (2, 16)], published, strict=True):
        ours = bdwp(n, m)(step).flop_ratio
        assert ours == pytest.approx(share, abs=5e-4)
        assert ours == pytest.approx(bdwp_ratio(network, n / m), rel=1e-9)


def test_backward_products_of_attention_count_twice() -> None:
    network = networks.vit_32(batch=1)
    attention = sum(x.macs for x in network.layers if isinstance(x, Attention))
    step = network.training_step()
    assert sum(op.macs for op in step.matmuls if op.kind == "attention") == 3 * attention


@pytest.mark.parametrize(
    ("name", "speedups"),
    [("resnet50", (1.486, 1.962, 2.336)), ("vit-b16", (1.467, 1.913, 2.257))],
)
def test_speedup_bounds_with_only_the_first_layer_dense_are_those_of_captured_products(
    name: str, speedups: tuple[float, ...]
) -> None:
    step = networks.find(name, batch=1).training_step()
    for (n, m), speedup in zip([(2, 4), (2, 8), (1, 8)], speedups, strict=True):
        method = replace(bdwp(n, m), classifier_dense=False)
        assert 1 / method(step).flop_ratio == pytest.approx(speedup, abs=5e-4)


def test_bdwp_makes_weights_sparse_in_ff_and_in_every_phase_of_bp() -> None:
    sparse = bdwp(2, 8)(conv_step())
    assert patterns(sparse) == {
        "c.FF/W": "2:8",
        "c.BP.phase0_0/W": "2:8",
        "c.BP.phase0_1/W": "2:8",
        "c.BP.phase1_0/W": "2:8",
        "c.BP.phase1_1/W": "2:8",
    }
    assert sparse.method == "bdwp:2:8"


def test_sdgp_makes_the_output_gradient_sparse_in_bp_only() -> None:
    sparse = sdgp(2, 8)(conv_step())
    assert {key.split("/")[1] for key in patterns(sparse)} == {"dY"}
    assert all(".BP" in key for key in patterns(sparse))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (bdwp(2, 8), [("W", Pass.FF, True), ("W", Pass.BP, True)]),
        (sr_ste(2, 8), [("W", Pass.FF, True)]),
        (sdwp(2, 8), [("W", Pass.BP, True)]),
        (sdgp(2, 8), [("dY", Pass.BP, False)]),
        (transposable(2, 8), [("W", Pass.FF, True)]),
        (dense(), []),
    ],
)
def test_each_method_selects_what_it_prunes_once(
    method: Method, expected: list[tuple[str, Pass, bool]]
) -> None:
    sparse = method(conv_step())
    assert [(s.tensor, s.pass_, s.pregenerable) for s in sparse.selections] == expected
    sizes = {"W": 16 * 32 * 9, "dY": 2 * 4 * 4 * 32}
    assert all(s.elements == sizes[s.tensor] for s in sparse.selections)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_selection_stands_before_the_product_that_uses_it(name: str) -> None:
    sparse = BUILDERS[name](2, 8)(networks.resnet50(batch=1).training_step())
    assert len({op.name for op in sparse}) == len(sparse)
    for selection, after in zip(sparse.operations, sparse.operations[1:], strict=False):
        if isinstance(selection, Selection):
            assert isinstance(after, MatMul)
            assert (after.layer, after.pass_) == (selection.layer, selection.pass_)


def test_weights_used_twice_are_selected_once_and_gradients_twice() -> None:
    backward = lower_linear("l", 64, 64, 64, Pass.BP)
    second = tuple(replace(op, name="l.BP.again") for op in backward)
    step = step_of(backward, second)
    assert len(sdwp(2, 8)(step).selections) == 1
    assert len(sdgp(2, 8)(step).selections) == 2


def test_depthwise_convolutions_stay_dense_and_are_named() -> None:
    step = conv_step(in_channels=32, out_channels=32, groups=32)
    sparse = bdwp(2, 8)(step)
    assert sparse.operations == step.operations
    assert sparse.notes == (
        "bdwp:2:8 leaves dense, as its reduction runs cannot hold a group of 8: "
        "c (1 in FF), c (1 in BP)",
    )


@pytest.mark.parametrize("pattern", ["2:4", "2:4t", "group:4:0.5"])
def test_weights_without_a_mask_have_none_on_their_gradient(pattern: str) -> None:
    """A depthwise dW has batch x positions along K, and still no four channels for a group."""
    step = conv_step(in_channels=32, out_channels=32, groups=32)
    masked = parse_method(f"mask:{pattern}")(step)
    assert masked.operations == step.operations
    assert masked.notes[0].endswith("c (1 in FF), c (1 in BP), c (1 in WU)")


def test_a_workload_without_products_keeps_all_of_them() -> None:
    updates = networks.resnet9(batch=1).training_step().only(Pass.UP)
    assert updates.flop_ratio == bdwp(2, 8).flop_ratio(updates) == 1


def test_a_run_as_long_as_the_group_holds_it() -> None:
    fits, short = (sr_ste(2, m)(conv_step()).flop_ratio for m in (16, 32))
    assert fits < short == 1


def test_a_transposable_mask_needs_both_axes() -> None:
    step = conv_step(in_channels=4)
    assert patterns(bdwp(2, 8)(step))  # BP alone: its runs are the 32 output channels
    assert not patterns(transposable(2, 8)(step))
    assert {operand.right.pattern for operand in transposable(2, 4)(step).matmuls[:1]} == {
        TransposableNM(2, 4)
    }
    assert patterns(transposable(2, 8)(linear_step()))


def test_first_layer_classifier_and_attention_are_named() -> None:
    sparse = bdwp(2, 8)(networks.vit_32(batch=1).training_step())
    first, attention, last = sparse.notes
    assert first == "bdwp:2:8 leaves dense, as the first layer: patch"
    assert attention.startswith("bdwp:2:8 leaves dense, as both operands are activations: block0")
    assert attention.count("attn") == 6
    assert last == "bdwp:2:8 leaves dense, as the classifier: head"


def test_sr_ste_would_prune_the_first_convolution_if_it_had_channels_for_a_group() -> None:
    image = networks.resnet50(batch=1).training_step()
    assert "conv1 (3 in FF)" in " ".join(sr_ste(2, 4)(image).notes)
    patches = networks.vit_32(batch=1).training_step()  # a row of 48 numbers
    assert "patch.FF/W" in patterns(sr_ste(2, 4)(patches))
    assert "patch.FF/W" not in patterns(bdwp(2, 4)(patches))


def test_attention_can_be_pruned_where_a_method_wants_it() -> None:
    step = step_of(lower_attention("a", 1, 2, 16, 16, 16, Pass.BP))
    method = replace(sdgp(2, 4), attention_dense=False)
    assert set(patterns(method(step))) == {f"a.{name}.BP/dY" for name in ("dP", "dV", "dQ", "dK")}
    assert sdgp(2, 4)(step).flop_ratio == 1


def test_a_transposable_mask_is_kept_for_forty_steps() -> None:
    assert transposable(2, 4).refresh_steps == 40
    assert transposable(2, 4)(linear_step()).notes == (
        "transposable:2:4 keeps a mask for 40 steps; this is a step that selects it anew",
    )


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_workload_given_is_not_changed(name: str) -> None:
    step = conv_step()
    before = step.operations
    BUILDERS[name](2, 8)(step)
    assert step.operations == before
    assert not patterns(step)


def test_a_method_is_applied_once() -> None:
    with pytest.raises(
        InputError,
        match="bdwp:2:8 must be applied to a dense workload, not to 'step', which is sr-ste:2:8",
    ):
        bdwp(2, 8)(sr_ste(2, 8)(linear_step()))


def test_a_warm_up_is_dense_until_its_end() -> None:
    method, step = bdwp(2, 8).after_dense(0.25), linear_step()
    assert method.at(0.0) == method.at(0.2499) == ()
    assert method.at(0.25) == method.at(1.0) == bdwp(2, 8).at(0)
    assert method(step, 0.1).flop_ratio == 1
    assert method(step, 0.1).notes == ("bdwp:2:8 is still dense after 10% of the run",)
    assert method(step).flop_ratio == 0.5


@pytest.mark.parametrize("warm_up", [0.1, 0.5, 0.9])
def test_the_ratio_of_a_run_is_the_mean_over_its_steps(warm_up: float) -> None:
    average = bdwp(2, 8).after_dense(warm_up).average_flop_ratio(linear_step())
    assert average == pytest.approx(warm_up * 1 + (1 - warm_up) * 0.5)


def test_stages_may_get_sparser_in_steps() -> None:
    stages = tuple(
        (start, (Rule(Pass.FF, "W", NM(n, 16)),))
        for start, n in ((0.0, 8), (0.25, 4), (0.5, 2), (0.75, 1))
    )
    method = Method(name="decay", source="", schedule=stages)
    expected = sum(0.25 * (2 + n / 16) / 3 for n in (8, 4, 2, 1))
    assert method.average_flop_ratio(linear_step()) == pytest.approx(expected)
    assert [stage.end for stage in method.stages] == [0.25, 0.5, 0.75, 1.0]
    squeezed = method.after_dense(0.5)
    assert [stage.start for stage in squeezed.stages] == [0, 0.5, 0.625, 0.75, 0.875]


@pytest.mark.parametrize("starts", [(), (0.1,), (0, 0.5, 0.5), (0, 0.6, 0.5), (0, 1.0)])
def test_a_schedule_rises_from_zero(starts: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="schedule of x must start at 0 and rise to below 1"):
        Method(name="x", source="", schedule=tuple((start, ()) for start in starts))


def test_a_tensor_has_one_pattern_in_a_pass() -> None:
    rules = (Rule(Pass.FF, "W", NM(2, 4)), Rule(Pass.FF, "W", NM(2, 8)))
    with pytest.raises(InputError, match="x must give a tensor one pattern in a pass, not two"):
        Method(name="x", source="", schedule=((0.0, rules),))


def test_a_mask_is_kept_for_a_step_at_least() -> None:
    with pytest.raises(InputError, match="refresh_steps of x must be at least 1, not 0"):
        Method(name="x", source="", schedule=((0.0, ()),), refresh_steps=0)


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_is_a_fraction(progress: float) -> None:
    with pytest.raises(InputError, match="progress of dense must lie in 0 to 1, not"):
        dense().at(progress)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_warm_up_is_shorter_than_the_run(fraction: float) -> None:
    with pytest.raises(InputError, match="dense warm-up must be a fraction between 0 and 1"):
        bdwp(2, 8).after_dense(fraction)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_method_is_read_from_its_own_name(name: str, n: int, m: int) -> None:
    method = BUILDERS[name](n, m)
    assert parse_method(method.name) == method
    assert set(BUILDERS) | {"dense"} == set(names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bdpw:2:8", "no method is called 'bdpw'; did you mean bdwp?"),
        (
            "x",
            f"no method is called 'x'; known are {', '.join(names())}, and what "
            "'sparsight methods' lists",
        ),
        ("bdwp", "method bdwp must say its N:M, as in bdwp:2:8, not 'bdwp'"),
        ("bdwp:2", "method bdwp must say its N:M, as in bdwp:2:8, not 'bdwp:2'"),
        ("bdwp:2:x", "method bdwp must say its N:M, as in bdwp:2:8, not 'bdwp:2:x'"),
        ("bdwp:-2:8", "method bdwp must say its N:M, as in bdwp:2:8, not 'bdwp:-2:8'"),
        ("bdwp:8:2", "N:M pattern must have 1 <= N <= M, not 8:2; 2:8 keeps 2 of 8"),
        ("bdwp:0:4", "N:M pattern must have 1 <= N <= M, not 0:4; 2:8 keeps 2 of 8"),
        ("dense:2:8", "method dense takes no N:M; write dense, not 'dense:2:8'"),
    ],
)
def test_a_wrong_method_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_method(text)
    assert str(error.value) == message


def test_a_resnet50_step_with_bdwp_is_built_in_fifty_milliseconds() -> None:
    def build() -> float:
        start = time.process_time()
        networks.resnet50(batch=256).training_step(bdwp(2, 8))
        return time.process_time() - start

    assert min(build() for _ in range(5)) < 0.05
