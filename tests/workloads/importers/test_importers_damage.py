"""Whatever is wrong with a file, the answer is one sentence, soon and in little memory."""

from __future__ import annotations

import json
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.workloads.importers.model_files import (
    onnx_model,
    small_onnx,
    write_chakra,
    write_gguf,
    write_onnx,
    write_safetensors,
    write_tflite,
)
from workloads import InputError
from workloads.importers import bounded, read_model

WRITERS: dict[str, Callable[[Path], Path]] = {
    "onnx": lambda folder: write_onnx(folder / "m.onnx", small_onnx()),
    "safetensors": write_safetensors,
    "gguf": lambda folder: write_gguf(folder / "m.gguf"),
    "tflite": lambda folder: write_tflite(folder / "m.tflite"),
    "chakra": lambda folder: write_chakra(folder / "m.json"),
}
MOST_BYTES = 64 << 20


def refusal(path: Path, **options) -> str:
    with pytest.raises(InputError) as error:
        read_model(path, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut, overwrite or lengthen a file at a random place."""
    at = rng.randrange(len(content))
    match rng.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + rng.randbytes(1) + content[at + 1 :]
        case 2:
            filler = rng.choice([b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f"])
            return content[:at] + filler + content[at + 8 :]
    return content[:at] + rng.randbytes(rng.randrange(1, 9)) + content[at:]


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_damage_gives_one_sentence_or_another_model(tmp_path: Path, kind: str) -> None:
    """Hundreds of damaged copies; each reads as a workload or is refused, within 64 MiB."""
    path = WRITERS[kind](tmp_path)
    whole, rng, sentences = path.read_bytes(), random.Random(20231), list[str]()
    read_model(path)
    tracemalloc.start()
    for _ in range(40 if kind == "chakra" else 150):
        path.write_bytes(damaged(whole, rng))
        try:
            read_model(path)
        except InputError as error:
            sentences.append(str(error))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sentences) > 20
    assert not any("\n" in sentence for sentence in sentences)
    assert peak < MOST_BYTES


def test_every_value_of_a_trace_may_be_wrong(tmp_path: Path) -> None:
    path = write_chakra(tmp_path / "m.json")
    trace = json.loads(path.read_text())
    wanted = ("addmm", "aten::mm", "convolution", "Backward", "attention")
    trace["nodes"] = [n for n in trace["nodes"] if any(w in n["name"] for w in wanted)]
    rng = random.Random(3)
    wrong = [None, -1, 0, "x", [], {}, 1.5, 2**70, [[]], True, [-3, 4], [2**50, 2**50]]
    sentences = []
    for _ in range(250):
        copy = json.loads(json.dumps(trace))
        place = rng.choice(copy["nodes"])
        for _ in range(rng.randrange(4)):
            inner = list(place.values()) if isinstance(place, dict) else place
            inner = [each for each in inner if isinstance(each, (dict, list)) and each]
            place = rng.choice(inner) if inner else place
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        place[key] = rng.choice(wrong)
        path.write_text(json.dumps(copy))
        try:
            read_model(path)
        except InputError as error:
            sentences.append(str(error))
    assert len(sentences) > 20
    assert not any("\n" in sentence for sentence in sentences)


def test_a_dynamic_size_must_be_given(tmp_path: Path) -> None:
    model = small_onnx()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    path = write_onnx(tmp_path / "m.onnx", model)
    assert "size 2 of input 'x'" in refusal(path)
    assert "dynamic (height); give it a number with --tokens" in refusal(path)
    assert read_model(path, tokens=8).macs > 0


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    model = small_onnx()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -8
    assert "size 2 of input 'x'" in refusal(write_onnx(tmp_path / "m.onnx", model))
    model = small_onnx()
    model.graph.initializer[0].dims[0] = -16
    assert "sizes of 'w1'" in refusal(write_onnx(tmp_path / "m.onnx", model))


def test_a_size_beyond_all_memory_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    model = small_onnx()
    model.graph.initializer[0].dims[0] = 2**40
    assert "at most" in refusal(write_onnx(tmp_path / "m.onnx", model))


def test_a_tall_image_takes_no_longer_than_a_small_one(tmp_path: Path) -> None:
    """A stride of 2 splits its 2^31 rows into two phases by arithmetic, not one by one."""
    model = small_onnx()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**31
    step = read_model(write_onnx(tmp_path / "m.onnx", model))
    first = next(op for op in step.matmuls if op.name == "conv1.FF")
    assert first.m == 2**30 * 4


def test_sizes_that_a_library_believes_cost_bounded_memory(tmp_path: Path) -> None:
    """An index list that states 2^40 entries and holds one, as the end of a slice."""
    from onnx import helper

    nodes = [
        helper.make_node("Slice", ["x", "start", "end"], ["s"], name="slice"),
        helper.make_node("MatMul", ["s", "w"], ["y"], name="product"),
    ]
    weights = {"w": np.ones((4, 4), np.float32), "start": np.zeros(1, int), "end": np.ones(1, int)}
    model = onnx_model(nodes, {"x": [4, 4]}, weights, "y")
    model.graph.initializer[2].dims[0] = 2**40
    sentence = refusal(write_onnx(tmp_path / "m.onnx", model))
    assert "cannot be inferred in bounded memory" in sentence


@pytest.mark.parametrize(
    ("strides", "message"), [(b"", "must be of type list"), ([1, 2, 3], "must be 2 numbers")]
)
def test_strides_that_are_none_are_refused(tmp_path: Path, strides, message: str) -> None:
    from onnx import helper

    model = small_onnx()
    kept = [a for a in model.graph.node[0].attribute if a.name != "strides"]
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.extend([*kept, helper.make_attribute("strides", strides)])
    assert message in refusal(write_onnx(tmp_path / "m.onnx", model))


@pytest.mark.parametrize("place", range(0, 46, 2))
def test_a_checkpoint_with_a_damaged_directory_is_refused(tmp_path: Path, place: int) -> None:
    """Every field of the first entry of the zip's directory, and of its end, overwritten."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pt"
    torch.save({"w": torch.ones(2, 2)}, path)
    whole = path.read_bytes()
    for start in (whole.rfind(b"PK\x01\x02"), whole.rfind(b"PK\x05\x06")):
        path.write_bytes(whole[: start + place] + b"\xff\xfe" + whole[start + place + 2 :])
        refusal(path, weights_only=True)


def test_a_product_without_elements_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Slice", ["x", "start", "start"], ["s"], name="slice"),
        helper.make_node("MatMul", ["s", "w"], ["y"], name="product"),
    ]
    weights = {"w": np.ones((4, 4), np.float32), "start": np.zeros(1, int)}
    model = onnx_model(nodes, {"x": [4, 4]}, weights, "y")
    sentence = refusal(write_onnx(tmp_path / "m.onnx", model))
    assert sentence.endswith("cannot multiply (0, 4) by (4, 4)")


def test_weights_that_do_not_fit_their_channels_are_refused(tmp_path: Path) -> None:
    """The last size of the sparse kernel (4) states 2^28 columns for 9 stored values."""
    path = write_tflite(tmp_path / "m.tflite")
    whole = path.read_bytes()
    shape = np.array([5, 1, 1, 4], "<i4").tobytes()
    assert whole.count(shape) == 1
    wide = np.array([5, 1, 1, 2**28], "<i4").tobytes()
    path.write_bytes(whole.replace(shape, wide))
    tracemalloc.start()
    assert "must have weights for 4 channels in and 5 out" in refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES


def test_a_cyclic_graph_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    model = onnx_model(nodes, {"x": [1, 4]}, {}, "b")
    sentence = refusal(write_onnx(tmp_path / "m.onnx", model))
    assert sentence.endswith("reads 'b' before it is there: the graph is cyclic or not sorted")


def test_control_flow_and_unknown_products_are_refused(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Einsum", ["x", "w"], ["y"], name="e", equation="ij,jk->ik")
    model = onnx_model([node], {"x": [4, 4]}, {"w": np.ones((4, 4), np.float32)}, "y")
    assert "e (Einsum)" in refusal(write_onnx(tmp_path / "m.onnx", model))
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [], [])
    loop = helper.make_node("If", ["x"], ["y"], name="if", then_branch=inner, else_branch=inner)
    model = onnx_model([loop], {"x": [1]}, {}, "y")
    assert "has a sub-graph" in refusal(write_onnx(tmp_path / "m.onnx", model))


@pytest.mark.parametrize("kind", ["MatMulNBits", "QGemm", "FusedConv", "Attention", "QMoE"])
def test_products_of_another_domain_are_refused(tmp_path: Path, kind: str) -> None:
    from onnx import helper

    node = helper.make_node(kind, ["x", "w"], ["y"], name="e", domain="com.microsoft")
    model = onnx_model([node], {"x": [4, 4]}, {"w": np.ones((4, 4), np.float32)}, "y")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert f"e ({kind}) of" in refusal(write_onnx(tmp_path / "m.onnx", model))


def test_weights_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    model = small_onnx()
    model.graph.initializer[0].raw_data = b"123"
    assert "'w1'" in refusal(write_onnx(tmp_path / "m.onnx", model))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["m.pt", "m.bin", "m.safetensors", "m.onnx"])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str, protocol: int) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    (tmp_path / name).write_bytes(pickle.dumps(Trap(), protocol))
    assert "can run any code" in refusal(tmp_path / name)
    if name == "m.pt":
        pytest.importorskip("torch")
        refusal(tmp_path / name, weights_only=True)
    assert not (tmp_path / "opened").exists()


def test_weights_whose_header_begins_like_a_pickle_are_read(tmp_path: Path) -> None:
    """The size of a safetensors header, 8 bytes with the smallest first: 0x80, then 2 to 5."""
    path = write_safetensors(tmp_path)
    macs, whole = read_model(path).macs, path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, rest = whole[8 : 8 + length], whole[8 + length :]
    for size in (0x10280, 0x10380, 0x10480, 0x10580):
        path.write_bytes(struct.pack("<Q", size) + header.ljust(size) + rest)
        assert read_model(path).macs == macs


def test_a_checkpoint_without_tensors_by_name_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    write_safetensors(tmp_path)
    path = tmp_path / "m.pt"
    torch.save([torch.ones(2, 2)], path)
    sentence = refusal(path, weights_only=True)
    assert sentence == f"{path} must hold a mapping of names to tensors, not a list"
    torch.save({"model": {0: torch.ones(2, 2)}}, path)
    assert "none of its 0 matrices is named like one" in refusal(path, weights_only=True)
    torch.save({"w": torch.eye(2).to_sparse()}, path)
    assert "tensor 'w' of" in refusal(path, weights_only=True)


@pytest.mark.parametrize("name", ["../out.onnx", "/tmp/out.onnx", "a/../../out.onnx", "c:\\x.onnx"])
def test_a_name_that_leaves_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "m.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, small_onnx().SerializeToString())
    before = set(tmp_path.parent.rglob("out.onnx"))
    assert "leaves its folder; nothing was unpacked" in refusal(archive)
    assert set(tmp_path.parent.rglob("out.onnx")) == before


def test_a_zip_bomb_is_refused_within_bounded_memory(tmp_path: Path) -> None:
    """40 MB of zeros pack into 40 kB: a thousandfold, where weights reach about one."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m.onnx", bytes(40_000_000))
    tracemalloc.start()
    sentence = refusal(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "but it unpacks to more" in sentence
    assert peak < 3 * bounded.MOST_EXPANSION * archive.stat().st_size


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch) -> None:
    import gzip

    packed = tmp_path / "m.json.gz"
    packed.write_bytes(gzip.compress(bytes(1_000_000)))
    monkeypatch.setattr(bounded.read_bytes, "__kwdefaults__", {"most": 100_000})
    assert "must unpack to at most 100000 bytes" in refusal(packed)


def test_an_archive_holds_one_model(tmp_path: Path) -> None:
    archive = tmp_path / "m.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("README", "nothing")
    assert "must hold one model" in refusal(archive)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "9.0.0-chakra"}, "has the Chakra schema '9.0.0-chakra'"),
        ({"nodes": []}, "must record a matrix product"),
        ({"nodes": 3}, "a JSON object with a list of nodes"),
        ({"nodes": [3]}, "entry 0"),
    ],
)
def test_a_trace_of_another_kind_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": []} | change))
    assert message in refusal(path)


def test_a_node_that_is_its_own_ancestor_is_refused(tmp_path: Path) -> None:
    empty = {"values": [], "shapes": [], "types": []}
    nodes = [
        {"id": i, "ctrl_deps": 5 - i, "name": "aten::add", "inputs": empty, "outputs": empty}
        for i in (2, 3)
    ]
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": nodes}))
    assert "must not be its own ancestor: the trace is cyclic" in refusal(path)


def test_weights_need_the_metadata_beside_them(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path, num_attention_heads=3)
    assert "heads of model.safetensors must divide the 16 outputs" in refusal(path)
    (tmp_path / "config.json").write_text("[")
    assert "config.json must be JSON" in refusal(path)
    (tmp_path / "config.json").unlink()
    assert "a config.json beside it must name its heads" in refusal(path)


def test_more_tokens_than_positions_are_refused(tmp_path: Path) -> None:
    assert "must lie between 1 and 64" in refusal(write_safetensors(tmp_path), tokens=65)


@pytest.mark.parametrize("name", ["m.xyz", "m.txt"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text")
    assert "must be a model file of a known kind" in refusal(tmp_path / name)


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert "is empty" in refusal(tmp_path / "m.onnx")
    assert "cannot read" in refusal(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "directory" in refusal(tmp_path / "folder.onnx")


def test_an_operator_without_inputs_does_not_end_the_reading(tmp_path: Path) -> None:
    """The state of a streaming model: its first operator reads nothing."""
    path = write_tflite(tmp_path / "m.tflite")
    whole = path.read_bytes()
    inputs = np.array([2, 0, 1], "<i4").tobytes()  # a vector of two: the inputs of the operator
    assert whole.count(inputs) == 1
    path.write_bytes(whole.replace(inputs, np.array([0, 0, 1], "<i4").tobytes()))
    assert "must hold a convolution or a product" in refusal(path)
