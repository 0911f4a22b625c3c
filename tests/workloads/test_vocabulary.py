"""Each word of the method vocabulary does to a workload what its definition says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.small_steps import block, layer
from workloads import (
    Block,
    InputError,
    MatMul,
    Operand,
    Pass,
    Statistics,
    Unstructured,
    Workload,
    gemm,
    networks,
)
from workloads.methods import parse_method
from workloads.methods.accounting import bit_operations, weight_bytes
from workloads.methods.experts import mixture, tokens_of_experts
from workloads.methods.rewriting import attention_neighbours, feed_forward
from workloads.methods.vocabulary import WORDS


def kept(text: str, workload: Workload, *passes: Pass) -> int:
    sparse = parse_method(text)(workload)
    return (sparse.only(*passes) if passes else sparse).kept_macs


def updated(workload: Workload) -> int:
    return sum(op.elements for op in workload.vector_ops if op.pass_ is Pass.UP)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_reads_its_own_name_and_leaves_its_workload_alone(word: str) -> None:
    method = parse_method(WORDS[word].example)
    assert parse_method(method.name) == method
    step = networks.gpt2(batch=1, tokens=64).training_step()
    before = step.operations
    after = method(step)
    assert step.operations == before
    assert after.method == method.name
    assert len({op.name for op in after}) == len(after)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_with_wrong_arguments_says_how_it_is_written(word: str) -> None:
    with pytest.raises(InputError):
        parse_method(f"{word}:x:y:z:w")(layer())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low-rank", "low-rank must be written low-rank:RANK, as in low-rank:0.25"),
        ("moe:2:4", None),
        ("unstructured:2", None),
        ("mask:2:4@FX", "passes must be some of FF.BP.WU, not 'fx'"),
        ("bdwp:2:8[0.5-0.2]", "must be two fractions of the run, the smaller first"),
        ("bdwp:2:8[0.5.1-1]", "a window must be two fractions"),
        ("bdwp:2:8+sdwp:2:8", "must give a tensor one pattern in a pass, not two"),
        ("sparsity-of-dreams", "no method is called"),
        ("narrow:0.5:depth", "narrow must name one of all, hidden, heads, stream, not 'depth'"),
        ("update:0.5:rows", "update must train columns or elements, not 'rows'"),
        ("low-rank:inf", "rank must be a whole number or a fraction below 1, not inf"),
        ("side:nan", "rank must be a whole number or a fraction below 1, not nan"),
        ("optimiser-state:inf", "must be multiplied by a positive factor, not inf"),
        pytest.param(
            f"bdwp:2:{'9' * 5000}", "method bdwp must say its N:M, as in bdwp:2:8", id="5000 digits"
        ),
        ("pruning-survey", "has no estimate of its own: a survey"),
    ],
)
def test_a_wrong_text_says_what_would_be_right(text: str, message: str | None) -> None:
    with pytest.raises(InputError, match=message):
        parse_method(text)(block())


def test_a_sum_takes_its_steps_from_left_to_right() -> None:
    """The branch beside a masked layer is dense; a mask after it covers the branch too."""
    masked_first = parse_method("mask:unstructured:0.5@FF+side:8")(layer())
    branch_first = parse_method("side:8+mask:unstructured:0.5@FF")(layer())
    dense = {op.layer for op in masked_first.matmuls if str(op.right.pattern) == "dense"}
    assert {"l/side.V", "l/side.U"} <= dense
    sparse = {op.layer for op in branch_first.matmuls if str(op.right.pattern) != "dense"}
    assert sparse == {"l", "l/side.V", "l/side.U"}


def test_a_mask_of_the_weight_gradient_trains_what_it_keeps() -> None:
    sparse = parse_method("unstructured:0.25")(layer())
    assert sparse.kept_macs == layer().macs / 4
    assert updated(sparse) == 48 * 32 / 4


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_two_factors_cost_their_rank_in_every_pass(rank: int) -> None:
    sparse = parse_method(f"low-rank:{rank}")(layer())
    assert sparse.macs == 3 * 64 * rank * (48 + 32)
    assert updated(sparse) == rank * (48 + 32)
    forward = [op.layer for op in sparse.only(Pass.FF).matmuls]
    assert forward == ["l/V", "l/U"]
    assert [op.layer for op in sparse.only(Pass.BP).matmuls] == forward[::-1]


def test_a_rank_at_break_even_changes_nothing() -> None:
    """48 x 32 / (48 + 32) = 19.2: rank 19 saves, rank 20 does not."""
    assert parse_method("low-rank:19")(layer()).macs < layer().macs
    assert parse_method("low-rank:20")(layer()).macs == layer().macs


def test_convolutions_keep_their_kernel_in_the_first_factor() -> None:
    step = networks.resnet18(batch=1).training_step()
    sparse = parse_method("low-rank:16")(step)
    conv = next(op for op in step.matmuls if op.layer == "layer1.0.conv1" and op.pass_ is Pass.FF)
    first, second = (
        next(op for op in sparse.matmuls if op.name == f"layer1.0.conv1/{part}.FF")
        for part in ("V", "U")
    )
    assert (first.m, first.k, first.n) == (conv.m, 64 * 9, 16)
    assert (second.m, second.k, second.n) == (conv.m, 16, 64)


def test_a_frozen_layer_with_a_branch_trains_the_branch_alone() -> None:
    lora = parse_method("side:8+freeze")(layer())
    trained = {op.layer for op in lora.matmuls if op.pass_ is Pass.WU}
    assert trained == {"l/side.V", "l/side.U"}
    assert updated(lora) == 8 * (48 + 32)
    assert kept("side:8+freeze", layer(), Pass.FF) == 64 * (48 * 32 + 8 * (48 + 32))
    with pytest.raises(InputError, match="side must stand before freeze, as in side:8"):
        parse_method("freeze+side:8")(layer())


def test_monarch_costs_two_block_diagonals() -> None:
    """b blocks of a square layer: 2 n^2 / b."""
    sparse = parse_method("monarch:4")(layer(64, 32, 32))
    assert sparse.macs == 3 * 64 * 2 * 32 * 32 // 4
    root = parse_method("monarch:0")(layer(64, 64, 64))
    assert root.macs == 3 * 64 * 2 * 64 * 8


def test_a_dictionary_is_dense_and_its_code_sparse() -> None:
    forward = parse_method("dictionary:0.5:0.25")(layer()).only(Pass.FF).matmuls
    assert [(op.k, op.n, op.right.pattern.density) for op in forward] == [
        (48, 24, 1.0),
        (24, 32, 0.25),
    ]


def test_narrow_scales_the_widths_it_names() -> None:
    """Llama's hidden layers are three of the 7 matrices, 2/3 of the products with weights."""
    step = block()
    linear = [op for op in step.only(Pass.FF).matmuls if op.kind == "linear"]
    total = sum(op.macs for op in linear)
    hidden = sum(op.macs for op in linear if op.layer in feed_forward(step))
    assert hidden / total == pytest.approx(2 / 3, abs=0.02)
    for part, left in (("hidden", total - hidden / 2), ("all", total / 4)):
        sparse = parse_method(f"narrow:0.5:{part}")(step).only(Pass.FF)
        assert sum(op.macs for op in sparse.matmuls if op.kind == "linear") == left, part


def test_attention_has_its_projections_around_it() -> None:
    roles = attention_neighbours(block())
    assert roles == {"q": "in", "k": "in", "v": "in", "o": "out"}
    merged = attention_neighbours(networks.gpt2(batch=1, tokens=64).training_step())
    assert merged["block3.qkv"] == "in"
    assert merged["block3.proj"] == "out"
    assert "block2.fc2" not in merged


def test_heads_are_whole() -> None:
    forward = parse_method("narrow:0.5:heads")(block()).only(Pass.FF)
    scores = next(op for op in forward.matmuls if op.kind == "attention")
    query = next(op for op in forward.matmuls if op.layer == "q")
    assert (scores.batch, scores.k, query.n) == (16, 128, 2048)


def test_groups_of_constant_size_divide_the_products() -> None:
    step = networks.resnet18(batch=1).training_step()
    sparse = parse_method("grouped:16")(step)
    name = "layer2.0.conv2.FF"
    before, after = (next(o for o in w.matmuls if o.name == name) for w in (step, sparse))
    assert (after.batch, after.k_run, after.n) == (8, 16, 16)
    assert after.macs == before.macs // 8
    assert after.right.elements == before.right.elements // 8
    assert after.left.elements == before.left.elements


def test_blocks_are_dropped_from_the_end() -> None:
    sparse = parse_method("drop-blocks:0.25")(networks.gpt2(batch=1, tokens=16).training_step())
    numbers = {op.layer.partition(".")[0] for op in sparse if op.layer.startswith("block")}
    assert numbers == {f"block{i}" for i in range(9)}
    with pytest.raises(InputError, match="needs numbered blocks"):
        parse_method("drop-blocks:0.25")(layer())


@pytest.mark.parametrize("how", ["columns", "elements"])
def test_a_restricted_update_shrinks_wu_alone(how: str) -> None:
    text = f"update:0.25:{how}"
    assert kept(text, layer(), Pass.WU) == layer().macs // 3 // 4
    assert kept(text, layer(), Pass.FF, Pass.BP) == 2 * layer().macs // 3
    assert updated(parse_method(text)(layer())) == 48 * 32 // 4


@pytest.mark.parametrize("text", ["{}+teacher", "teacher+{}"])
@pytest.mark.parametrize("student", ["sr-ste:2:4", "unstructured:0.25", "side:4", "narrow:0.5"])
def test_a_teacher_is_dense_and_without_the_branches_of_its_student(text, student) -> None:
    step = networks.vit_b16(batch=1).training_step()
    taught, alone = (parse_method(each)(step) for each in (text.format(student), student))
    lessons = [op for op in taught if op.layer.startswith("teacher.")]
    size = alone if text.startswith("{}") and student.startswith("narrow") else step
    products = [op.macs for op in size.matmuls if op.pass_ is Pass.FF]
    assert [op.kept_macs for op in lessons if isinstance(op, MatMul)] == products
    assert taught.kept_macs == alone.kept_macs + sum(products)
    assert len(taught.selections) == len(alone.selections)


def test_a_teacher_adds_a_forward_pass() -> None:
    assert parse_method("teacher").flop_ratio(layer()) == pytest.approx(4 / 3)


def test_training_without_backward_pass_is_forward_passes() -> None:
    sparse = parse_method("forward-only:4")(layer())
    assert sparse.macs == 4 * layer().macs // 3
    assert {op.pass_ for op in sparse.matmuls} == {Pass.FF}
    assert updated(sparse) == 48 * 32


def test_bits_are_counted_on_both_sides() -> None:
    step = layer()
    narrow = parse_method("precision:int4:int8")(step).only(Pass.FF)
    assert bit_operations(narrow) == step.only(Pass.FF).macs * 4 * 8
    assert weight_bytes(narrow) == 48 * 32 // 2
    planes = parse_method("bit-planes:2:3")(step).only(Pass.FF)
    assert bit_operations(planes) == step.only(Pass.FF).macs * 2 * 3
    split = parse_method("split-precision:0.25:int8:int2")(step).only(Pass.FF)
    assert weight_bytes(split) == 12 * 32 + 36 * 32 * 2 // 8
    assert split.macs == step.only(Pass.FF).macs


def test_a_sparse_activation_thins_the_next_layer_in_every_pass() -> None:
    step = networks.gpt2(batch=1, tokens=64).training_step()
    down = [op for op in step.matmuls if op.layer.endswith("fc2")]
    saved = step.kept_macs - parse_method("activations:0.25")(step).kept_macs
    assert saved == 0.75 * sum(op.macs for op in down)


@pytest.mark.parametrize(
    ("text", "density"),
    [
        ("attention:block:16:0.25", 0.25),
        ("attention:window:16", 0.25),
        ("attention:strided:16", (16 + 4) / 64),
    ],
)
def test_an_attention_mask_thins_every_product_of_the_map(text: str, density: float) -> None:
    step = networks.gpt2(batch=1, tokens=64).training_step()
    sparse = parse_method(text)(step)
    maps = [(a, b) for a, b in zip(step.matmuls, sparse.matmuls, strict=True) if a.kind != "linear"]
    assert len(maps) == 12 * 6
    assert all(after.kept_macs == before.macs * density for before, after in maps)


@given(st.integers(1, 64), st.integers(1, 4), st.lists(st.floats(0, 9), min_size=4, max_size=4))
def test_every_row_reaches_its_experts(rows: int, top_k: int, histogram: list[float]) -> None:
    if sum(histogram) > 0:
        assert sum(tokens_of_experts(rows, 4, top_k, histogram)) == rows * top_k
    balanced = tokens_of_experts(rows, 4, top_k, ())
    assert balanced == [math.ceil(rows * top_k / 4)] * 4


def test_experts_hold_all_weights_and_compute_for_a_few() -> None:
    step = block()
    dense = sum(op.macs for op in step.matmuls if op.layer in ("gate", "up", "down"))
    sparse = parse_method("moe:8:2")(step)
    routed = sum(op.macs for op in sparse.matmuls if op.layer in ("gate", "up", "down"))
    assert routed == 2 * dense
    weights = {o.layer: o.right.elements for o in sparse.only(Pass.FF).matmuls}
    assert weights["gate"] == 8 * 4096 * 11008
    assert sum("router" in op.name for op in sparse.matmuls) == 3


def test_a_routing_histogram_gives_each_expert_its_rows() -> None:
    sparse = mixture(block(), experts=4, top_k=1, histogram=(4, 3, 1, 0))
    loads = [op.m for op in sparse.only(Pass.FF).matmuls if op.layer.startswith("gate/expert")]
    assert loads == [64, 48, 16]


def test_static_masks_are_never_selected() -> None:
    assert not parse_method("mask:2:4")(layer()).selections
    assert parse_method("sr-ste:2:4")(layer()).selections


@pytest.mark.parametrize("text", ["attention:window", "attention:strided"])
def test_a_window_longer_than_any_text_is_dense(text: str) -> None:
    step = networks.gpt2(batch=1, tokens=64).training_step()
    assert parse_method(f"{text}:{10**400}")(step).kept_macs == step.macs


def test_routing_is_named_after_the_scores_that_it_stands_for() -> None:
    step = networks.gpt2(batch=1, tokens=64).training_step()
    again = tuple(
        replace(op, name=f"{op.name}.recompute") for op in step.matmuls if ".scores." in op.name
    )
    both = replace(step, operations=(*step.operations, *again))
    names = [op.name for op in parse_method("attention:clusters")(both)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("how", ["uniform", "erk", "magnitude"])
def test_a_step_without_inner_layers_is_left_as_it_is(how: str) -> None:
    step = layer()
    ends = tuple(
        replace(op, position="last") if isinstance(op, MatMul) else op for op in step.operations
    )
    masked = parse_method(f"unstructured:0.5:{how}")(replace(step, operations=ends))
    assert masked.operations == ends
    assert "no layer between the first and the classifier can be masked" in masked.notes


def test_blocks_fit_into_weights_however_few_rows_they_multiply() -> None:
    """A token at a time: W is 48 x 32 in FF, and so is dW, while X is a single row."""
    method = parse_method("mask:block:16x16:0.5@FF.WU")
    few = layer(rows=1)
    assert method(few).kept_macs == few.macs / 3 * (1 + 1 / 2 + 1 / 2)
    assert method(few).notes == ()


def test_a_block_must_fit_and_results_wanted_count() -> None:
    method = parse_method("mask:block:64x64:0.5@FF")
    assert method(layer()).kept_macs == layer().macs
    assert "cannot hold a block of 64x64" in method(layer()).notes[0]
    (op,) = gemm(8, 8, 8).matmuls
    wanted: Operand = replace(op.out, pattern=Block(2, 2, 0.25))
    assert replace(op, out=wanted).kept_macs == op.macs // 4


def test_measured_zeros_are_a_mask() -> None:
    step = layer()
    measured = replace(
        step,
        operations=tuple(
            replace(op, right=replace(op.right, statistics=Statistics(zero_fraction=0.75)))
            if op in step.matmuls and op.right.tensor == "W"
            else op
            for op in step
        ),
    )
    sparse = parse_method("measured")(measured)
    assert [op.right.pattern for op in sparse.matmuls if op.right.tensor == "W"] == [
        Unstructured(0.25)
    ] * 2
    assert "nothing is masked" in parse_method("measured")(step).notes[0]


def test_experts_leave_the_activations_of_a_network_without_feed_forward_layers() -> None:
    step = networks.resnet18(batch=1).training_step()
    assert parse_method("moe:8:2")(step).operations == step.operations


def test_the_stream_of_convolutions_is_rotated_by_square_matrices_in_both_directions() -> None:
    step = networks.resnet18(batch=1).training_step()
    rotated = [op for op in parse_method("rotate-stream")(step).matmuls if op.layer.endswith("/Q")]
    adds = [op for op in step.vector_ops if op.kind == "add" and op.pass_ is Pass.FF]
    assert sorted(op.pass_ for op in rotated) == sorted([Pass.FF, Pass.BP] * len(adds))
    for op in rotated:
        assert op.k == op.n
        assert op.right.elements == op.k * op.n
        assert op.m * op.n in {add.elements for add in adds}


@pytest.mark.parametrize("tokens", [256, 1024])
def test_clusters_shrink_the_softmax_as_they_shrink_the_maps(tokens: int) -> None:
    step = networks.gpt2(batch=1, tokens=tokens).training_step()

    def softmax(workload: Workload) -> int:
        return sum(op.elements for op in workload.vector_ops if op.kind == "softmax")

    clustered = parse_method("attention:clusters")(step)
    assert softmax(clustered) * round(tokens**0.5) == softmax(step)
