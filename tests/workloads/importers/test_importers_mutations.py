"""Mutations of well-formed files, found and shrunk by Hypothesis: a workload or one sentence."""

from __future__ import annotations

import copy
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workloads.importers.model_files import (
    small_onnx,
    whole,
    write_chakra,
    write_gguf,
    write_safetensors,
    write_tflite,
)
from workloads import InputError, Workload
from workloads.importers import read_model

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

SIZES = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 7, 2**16, 2**31, 2**40, 2**63 - 1])
WRONG = st.sampled_from([None, -1, 0, 1, "x", "", [], {}, 1.5, 2**70, [[]], True, [-3, 4], [2**50]])
OPERATORS = st.sampled_from(
    ["Conv", "MatMul", "Gemm", "Reshape", "Transpose", "Loop", "Expand", "Tile", "Pad", "Resize",
     "ConvTranspose", "Slice", "Split", "Gather", "Range", "Squeeze", "LSTM", "Where", "Nope", ""]
)  # fmt: skip


def reads_or_refuses(name: str, content: bytes, beside: dict[str, str] | None = None) -> None:
    """Read a file; what is wrong with it must be one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        for other, text in (beside or {}).items():
            (Path(folder) / other).write_text(text)
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            assert isinstance(read_model(path), Workload)
        except InputError as error:
            sentence = str(error)
            assert "\n" not in sentence
            assert len(sentence) < 800


def change_one(tree: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Replace, remove or double one value of a JSON tree, at any depth."""
    tree = copy.deepcopy(tree)
    place = tree
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    match draw(st.sampled_from(["replace", "remove", "double"])):
        case "replace":
            place[key] = draw(WRONG)
        case "remove":
            del place[key]
        case "double":
            place.update({"again": place[key]}) if isinstance(place, dict) else place.append(
                place[key]
            )
    return tree


@quick
@given(st.data())
def test_nodes_and_tensors_of_a_graph_may_be_wrong(data: st.DataObject) -> None:
    model = small_onnx()
    graph = model.graph
    names = sorted({"", "x", "y", *(name for node in graph.node for name in node.input)})
    for _ in range(data.draw(st.integers(1, 3))):
        node, tensor = (
            data.draw(st.sampled_from(graph.node)),
            data.draw(st.sampled_from(graph.initializer)),
        )
        match data.draw(st.integers(0, 6)):
            case 0:
                node.op_type = data.draw(OPERATORS)
            case 1:
                node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(
                    st.sampled_from(names)
                )
            case 2:
                node.output[0] = data.draw(st.sampled_from(names))
            case 3:
                tensor.dims[data.draw(st.integers(0, len(tensor.dims) - 1))] = data.draw(SIZES)
            case 4:
                tensor.data_type = data.draw(st.integers(0, 24))
            case 5:
                sizes = graph.input[0].type.tensor_type.shape.dim
                sizes[data.draw(st.integers(0, 3))].dim_value = data.draw(SIZES)
            case 6:
                for attribute in node.attribute:
                    attribute.type = data.draw(st.integers(0, 14))
                    attribute.ints[:] = [data.draw(SIZES) for _ in attribute.ints]
    reads_or_refuses("m.onnx", model.SerializeToString())


def test_a_product_of_one_input_beside_others_is_refused_or_left_out() -> None:
    model = small_onnx()
    model.graph.node[1].op_type = "MatMul"
    model.graph.node[0].op_type = ""
    reads_or_refuses("m.onnx", model.SerializeToString())


@quick
@given(st.data())
def test_the_header_and_the_metadata_of_weights_may_be_wrong(data: st.DataObject) -> None:
    content = whole(write_safetensors)
    (length,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    config: Any = {"model_type": "bert", "num_attention_heads": 2, "max_position_embeddings": 64}
    if data.draw(st.booleans()):
        header = change_one(header, data.draw)
    else:
        keys = ["num_hidden_layers", "num_key_value_heads", "hidden_act", "vocab_size", "head_dim"]
        config = change_one(config | {data.draw(st.sampled_from(keys)): 1}, data.draw)
    text = json.dumps(header).encode()
    packed = struct.pack("<Q", len(text)) + text + rest
    reads_or_refuses("model.safetensors", packed, {"config.json": json.dumps(config)})


@quick
@given(st.data())
def test_any_value_of_an_execution_trace_may_be_wrong(data: st.DataObject) -> None:
    trace = json.loads(whole(chakra))
    wanted = ("addmm", "aten::mm", "convolution", "attention")
    trace["nodes"] = [n for n in trace["nodes"] if any(w in n["name"] for w in wanted)]
    reads_or_refuses("m.json", json.dumps(change_one(trace, data.draw)).encode())


def chakra(folder: Path) -> Path:
    return write_chakra(folder / "m.json")


def gguf(folder: Path) -> Path:
    return write_gguf(folder / "m.gguf")


def tflite(folder: Path) -> Path:
    return write_tflite(folder / "m.tflite")


@quick
@given(st.data())
def test_any_number_of_a_binary_file_may_be_wrong(data: st.DataObject) -> None:
    """Offsets, counts and sizes: 1, 2, 4 or 8 bytes anywhere, once or twice."""
    write = data.draw(st.sampled_from([gguf, tflite]))
    content = bytearray(whole(write))
    for _ in range(data.draw(st.integers(1, 2))):
        form = data.draw(st.sampled_from(["<b", "<h", "<i", "<q"]))
        size = struct.calcsize(form)
        at = data.draw(st.integers(0, len(content) - size))
        value = max(-(2 ** (8 * size - 1)), min(data.draw(SIZES), 2 ** (8 * size - 1) - 1))
        struct.pack_into(form, content, at, value)
    reads_or_refuses(f"m.{write.__name__}", bytes(content))
