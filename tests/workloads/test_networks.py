import difflib
import inspect

import pytest

from workloads import InputError, MatMul, Pass, Selection, VectorOp, Workload, networks
from workloads.layers import Conv, Linear, Pool, Vector
from workloads.network import Network

NAMES = networks.names()


def gemm_weights(network: Network) -> int:
    """Elements of all dW: the weights that take part in matrix products."""
    return sum(op.out.elements for op in network.training_step().only(Pass.WU).matmuls)


def macs_per_item(network: Network, pass_: Pass) -> float:
    return sum(op.macs for op in network.training_step().only(pass_).matmuls) / network.batch


@pytest.mark.parametrize(
    ("name", "parameters", "source"),
    [
        ("resnet18", 11_689_512, "torchvision documentation of resnet18, num_params"),
        ("resnet50", 25_557_032, "torchvision documentation of resnet50, num_params"),
        ("vit-b16", 86_567_656, "torchvision documentation of vit_b_16, num_params"),
        ("gpt2", 124_439_808, "gpt2 checkpoint of Radford et al., 2019 (124M)"),
    ],
)
def test_parameters_are_the_published_ones(name: str, parameters: int, source: str) -> None:
    assert networks.find(name).parameters == parameters, source


@pytest.mark.parametrize(
    ("name", "gigamacs", "source"),
    [
        ("resnet18", 1.81, "torchvision documentation of resnet18, GFLOPS 1.81"),
        ("resnet50", 4.09, "torchvision documentation of resnet50, GFLOPS 4.09"),
        ("vit-b16", 17.56, "torchvision documentation of vit_b_16, GFLOPS 17.56"),
    ],
)
def test_macs_are_the_published_ones(name: str, gigamacs: float, source: str) -> None:
    assert networks.find(name).macs / 1e9 == pytest.approx(gigamacs, abs=5e-3), source


@pytest.mark.parametrize(
    ("name", "million_weights", "gigamacs"),
    [
        ("resnet9", 6.57, 0.379),
        ("vgg19", 20.07, 0.398),
        ("resnet18-64", 11.27, 0.148),
    ],
)
def test_small_image_networks_have_the_sizes_that_their_tables_give(
    name: str, million_weights: float, gigamacs: float
) -> None:
    """Counts of the weights of convolutions and classifier, without biases and batch norm."""
    network = networks.find(name)
    assert gemm_weights(network) / 1e6 == pytest.approx(million_weights, abs=0.005)
    assert network.macs / 1e9 == pytest.approx(gigamacs, abs=5e-4)


def test_the_small_stem_makes_resnet18_fifteen_times_as_much_work() -> None:
    assert networks.resnet18_64_3x3().macs / 1e9 == pytest.approx(2.22, abs=0.005)


def test_the_small_vit_is_counted_by_hand() -> None:
    network, dim, tokens = networks.vit_32(), 512, 65
    block = 3 * dim * dim + dim * dim + 2 * dim * 512
    weights = 48 * dim + 6 * block + dim * 100
    assert gemm_weights(network) == weights
    assert weights / 1e6 == pytest.approx(9.51, abs=0.005)
    # Biases of patch, projection, both MLP layers and head; 13 norms; class token and positions.
    biases = dim + 6 * (dim + 512 + dim) + 100
    assert network.parameters == weights + biases + 13 * 2 * dim + dim + tokens * dim
    attention = 6 * 2 * 8 * tokens * tokens * 64
    assert network.macs == 64 * 48 * dim + tokens * 6 * block + dim * 100 + attention


def test_bert_base_has_110_million_parameters_and_a_classifier_of_two() -> None:
    dim, hidden = 768, 3072
    embedding = (30522 + 512 + 2) * dim + 2 * dim
    block = 4 * (dim * dim + dim) + 2 * dim * hidden + hidden + dim + 2 * 2 * dim
    published = embedding + 12 * block + dim * dim + dim
    assert published == 109_482_240  # bert-base-uncased, with pooler; "110M" in arXiv 1810.04805
    assert networks.bert_base().parameters == published + 2 * dim + 2


def test_thirty_two_llama_blocks_make_the_published_model() -> None:
    block = networks.llama_7b_block()
    embeddings_and_last_norm = 2 * 32000 * 4096 + 4096
    assert 32 * block.parameters + embeddings_and_last_norm == 6_738_415_616  # 6.7B, table 2
    head = 2048 * 32000 * 4096
    assert (32 * block.macs + head) / 1e9 == pytest.approx(
        14631, abs=0.5
    )  # on transformers' definition


def test_backward_data_of_resnet50_leaves_out_the_stem() -> None:
    network = networks.resnet50(batch=2)
    stem = 112 * 112 * 64 * 3 * 7 * 7
    assert macs_per_item(network, Pass.BP) == network.macs - stem
    assert macs_per_item(network, Pass.WU) == network.macs


def test_attention_costs_twice_as_much_backwards() -> None:
    network = networks.vit_b16(batch=1)
    attention = 12 * 2 * 12 * 197 * 197 * 64
    patch = 196 * 768 * 3 * 16 * 16
    assert macs_per_item(network, Pass.BP) == network.macs - patch + attention
    assert macs_per_item(network, Pass.WU) == network.macs - attention


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_that_is_trained_gets_a_gradient_and_an_update(name: str) -> None:
    network = networks.find(name, batch=1)
    step = network.training_step()
    updated = {op.layer: op.elements for op in step.vector_ops if op.kind == "update"}
    assert updated == {x.name: x.parameters for x in network.layers if x.parameters}
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            (product,) = [op for op in step.only(Pass.WU).matmuls if op.layer == layer.name]
            assert product.out.dtype == "fp32"


@pytest.mark.parametrize("name", NAMES)
def test_names_of_operations_are_unique_and_passes_come_in_order(name: str) -> None:
    step = networks.find(name, batch=1).training_step()
    assert len({op.name for op in step}) == len(step)
    order = [op.pass_ for op in step]
    assert order == sorted(order, key=lambda p: {Pass.FF: 0, Pass.UP: 2}.get(p, 1))
    backward = [op.layer for op in step if op.pass_ in (Pass.BP, Pass.WU)]
    forward = list(dict.fromkeys(op.layer for op in step if op.pass_ is Pass.FF))
    seen = [layer for layer in dict.fromkeys(backward) if layer in forward]
    assert [forward.index(layer) for layer in seen] == sorted(
        map(forward.index, seen), reverse=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_only_the_first_trained_layer_has_no_backward_data(name: str) -> None:
    step = networks.find(name, batch=1).training_step()
    forward = {op.layer: op.position for op in step.only(Pass.FF).matmuls}
    backward = {op.layer for op in step.only(Pass.BP).matmuls}
    without = set(forward) - backward
    assert without == {layer for layer, position in forward.items() if position == "first"}
    starts_with_product = name not in ("bert-base", "gpt2", "gpt3-xl", "llama-7b-block")
    assert len(without) == starts_with_product


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_scales_products_and_not_updates(name: str) -> None:
    one, three = (networks.find(name, batch=b).training_step() for b in (1, 3))
    assert three.macs == 3 * one.macs
    assert three.only(Pass.UP).operations == one.only(Pass.UP).operations


@pytest.mark.parametrize("name", NAMES)
def test_inference_is_forward_only_and_cheaper(name: str) -> None:
    network = networks.find(name, batch=1)
    inference, step = network.inference(), network.training_step().only(Pass.FF)
    assert {op.pass_ for op in inference} == {Pass.FF}
    assert inference.macs == step.macs
    assert not any(op.kind in ("batchnorm", "loss") for op in inference.vector_ops)


def vector_kinds(step: Workload, layer: str) -> list[tuple[Pass, str, bool]]:
    return [(op.pass_, op.kind, op.fused) for op in step.vector_ops if op.layer == layer]


def test_batch_norm_reads_its_input_once_forward_and_twice_backward() -> None:
    step = networks.resnet9(batch=2).training_step()
    elements = 2 * 64 * 32 * 32
    work = [op for op in step.vector_ops if op.layer == "prep.bn" and op.pass_ is not Pass.UP]
    assert [(op.pass_, op.fused) for op in work] == [
        (Pass.FF, True),
        (Pass.FF, False),
        (Pass.BP, False),
        (Pass.BP, False),
    ]
    # fp16: Y in, normalised out; dY and Y for the sums; dY and Y in, dX out.
    assert [op.read_bytes for op in work] == [0, 2 * elements, 4 * elements, 4 * elements]
    assert [op.write_bytes for op in work] == [0, 2 * elements, 0, 2 * elements]


def test_relu_and_residual_ride_on_the_products() -> None:
    step = networks.resnet50(batch=1).training_step()
    assert vector_kinds(step, "layer1.0.relu") == [
        (Pass.FF, "relu", True),
        (Pass.BP, "relu", True),
    ]
    assert vector_kinds(step, "layer1.0.add") == [(Pass.FF, "add", True)]
    assert vector_kinds(step, "layer1.0.split") == [(Pass.BP, "split", True)]


def test_the_update_moves_22_bytes_a_parameter() -> None:
    update = next(op for op in networks.resnet9().training_step().only(Pass.UP).vector_ops)
    master, momentum, gradient, copy = 4, 4, 4, 2
    assert update.read_bytes == (master + momentum + gradient) * update.elements
    assert update.write_bytes == (master + momentum + copy) * update.elements


def test_softmax_stands_between_scores_and_context() -> None:
    step = networks.vit_32(batch=1).training_step()
    attention = [op.name for op in step if op.layer == "block0.attn"]
    assert attention == [
        "block0.attn.scores.FF",
        "block0.attn.normalise.FF",
        "block0.attn.context.FF",
        "block0.attn.dP.BP",
        "block0.attn.dV.BP",
        "block0.attn.gradient.BP",
        "block0.attn.dQ.BP",
        "block0.attn.dK.BP",
    ]


def test_a_tied_head_is_updated_with_the_embedding() -> None:
    network = networks.gpt2(batch=1)
    updates = {op.layer: op.elements for op in network.training_step().only(Pass.UP).vector_ops}
    assert "head" not in updates
    assert updates["embedding"] == (50257 + 1024) * 768


def test_the_embedding_has_no_backward_data() -> None:
    step = networks.bert_base(batch=1, tokens=16).training_step()
    assert [op.pass_ for op in step if op.layer == "embedding"] == [Pass.FF, Pass.WU, Pass.UP]


def test_max_pooling_compares_every_element_of_every_window() -> None:
    pool = Pool(name="p", kind="max", channels=2, in_hw=(8, 8), kernel=3, stride=2, padding=1)
    (forward,) = pool.operations(Pass.FF, 3, "inner")
    (backward,) = pool.operations(Pass.BP, 3, "inner")
    windows, inputs = 3 * 2 * 4 * 4, 3 * 2 * 8 * 8
    assert isinstance(forward, VectorOp)
    assert isinstance(backward, VectorOp)
    assert forward.elements == windows * 9
    assert (forward.read_bytes, forward.write_bytes) == (2 * inputs, 2 * windows)
    assert (backward.read_bytes, backward.write_bytes) == (2 * (windows + inputs), 2 * inputs)
    assert pool.operations(Pass.WU, 3, "inner") == ()


def test_a_convolution_may_have_a_bias() -> None:
    conv = Conv(
        name="c", in_channels=8, out_channels=4, in_hw=(6, 6), kernel=3, padding=1, bias=True
    )
    assert conv.parameters == 8 * 4 * 9 + 4
    kinds = [type(op) for op in conv.operations(Pass.FF, 1, "inner")]
    assert kinds == [MatMul, VectorOp]


def test_a_method_is_applied_to_the_step() -> None:
    def method(workload: Workload) -> Workload:
        return workload.only(Pass.FF)

    assert {op.pass_ for op in networks.resnet9(batch=1).training_step(method)} == {Pass.FF}


def test_a_dense_step_selects_nothing() -> None:
    step = networks.resnet9(batch=1).training_step()
    assert not any(isinstance(op, Selection) for op in step)


@pytest.mark.parametrize("batch", [0, -1, True, 1.5])
def test_the_batch_is_a_positive_whole_number(batch: int) -> None:
    with pytest.raises(InputError, match="batch of vgg19 must be a positive whole number, not"):
        networks.vgg19(batch=batch)


def test_layer_names_are_unique() -> None:
    layers = tuple(Vector(name="a", kind="relu", elements=1) for _ in range(2))
    with pytest.raises(InputError, match=r"layers of x must have names of their own, not \['a'\]"):
        Network(name="x", source="", input="", batch=1, layers=layers)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet51", "did you mean resnet50?"), ("zzz", f"known are {', '.join(NAMES)}")],
)
def test_an_unknown_network_gets_a_hint(name: str, hint: str) -> None:
    assert bool(difflib.get_close_matches(name, NAMES)) is hint.startswith("did you mean")
    with pytest.raises(InputError) as error:
        networks.find(name)
    assert str(error.value) == f"no network is called {name!r}; {hint}"


def test_find_passes_batch_and_tokens_on() -> None:
    network = networks.find("bert-base", batch=3, tokens=64)
    assert (network.batch, network.input) == (3, "sequence of 64 tokens")


def test_images_have_no_tokens() -> None:
    with pytest.raises(InputError, match="network resnet9 reads images and has no tokens to set"):
        networks.find("resnet9", tokens=4)


def test_there_is_a_position_for_every_token() -> None:
    with pytest.raises(InputError, match="tokens of gpt2 must be a whole number from 1 to 1024"):
        networks.find("gpt2", tokens=1025)


def test_every_builder_is_found_by_name() -> None:
    exported = [getattr(networks, name) for name in networks.__all__]
    builders = [
        f for f in exported if "batch" in inspect.signature(f).parameters and f is not networks.find
    ]
    assert sorted(build().name for build in builders) == NAMES
