"""Small model files of every format, made by the libraries of the formats themselves."""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOKENS, DIM, HEADS, HIDDEN, VOCABULARY = 8, 16, 2, 32, 24


def onnx_model(nodes: list[Any], inputs: dict[str, list[Any]], weights: dict[str, Any], out: str):
    """Return an ONNX model of float tensors."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


def small_onnx(batch: Any = "N") -> Any:
    """A convolution with stride, a residual addition, a pool, a classifier."""
    from onnx import helper

    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(16, 3, 3, 3)).astype(np.float32),
        "b1": np.zeros(16, np.float32),
        "w2": rng.normal(size=(16, 16, 3, 3)).astype(np.float32),
        "fc": rng.normal(size=(10, 16)).astype(np.float32),
        "fcb": np.zeros(10, np.float32),
    }
    nodes = [
        helper.make_node(
            "Conv", ["x", "w1", "b1"], ["c1"], name="conv1", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["a"], name="add"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "fc", "fcb"], ["y"], name="fc", transB=1),
    ]
    return onnx_model(nodes, {"x": [batch, 3, 8, 8]}, weights, "y")


def write_onnx(path: Path, model: Any) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@functools.cache
def whole(write: Callable[[Path], Path]) -> bytes:
    """Return the content of the file that `write` makes in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder)).read_bytes()


def bert_tensors() -> dict[str, np.ndarray]:
    """Weights of one BERT block, named as the common library names them."""
    rng = np.random.default_rng(1)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    block = "encoder.layer.0."
    parts = {
        "attention.self.query": (DIM, DIM),
        "attention.self.key": (DIM, DIM),
        "attention.self.value": (DIM, DIM),
        "attention.output.dense": (DIM, DIM),
        "intermediate.dense": (HIDDEN, DIM),
        "output.dense": (DIM, HIDDEN),
    }
    tensors = {f"{block}{name}.weight": weight(*shape) for name, shape in parts.items()}
    tensors |= {f"{block}{name}.bias": weight(shape[0]) for name, shape in parts.items()}
    tensors["embeddings.word_embeddings.weight"] = weight(VOCABULARY, DIM)
    tensors["pooler.dense.weight"] = weight(DIM, DIM)
    return tensors


def write_safetensors(folder: Path, **config: object) -> Path:
    from safetensors.numpy import save_file

    path = folder / "model.safetensors"
    save_file(bert_tensors(), path)
    known = {"model_type": "bert", "num_attention_heads": HEADS, "max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(known | config))
    return path


def write_gguf(path: Path, **more: tuple[int, ...]) -> Path:
    """One block of a decoder with grouped heads; two matrices are quantised.

    `more` are shapes of further tensors.
    """
    import gguf

    rng = np.random.default_rng(2)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["a", "b", "c"])
    shapes = {
        "token_embd": (24, 32),
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
    }
    for name, shape in (shapes | more).items():
        values = rng.normal(size=shape).astype(np.float32)
        if name.endswith(("q", "k")):
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class Flat:
    """A FlatBuffers file written front to back, with absolute offsets patched afterwards."""

    def __init__(self, identifier: bytes) -> None:
        self.content = bytearray(4) + identifier

    def number(self, form: str, value: int) -> int:
        at = len(self.content)
        self.content += struct.pack(form, value)
        return at

    def point(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.content, at, target - at)

    def vector(self, values: np.ndarray) -> int:
        at = self.number("<I", len(values))
        self.content += values.tobytes()
        return at

    def tables(self, makers: list[Any]) -> int:
        at = self.number("<I", len(makers))
        slots = [self.number("<I", 0) for _ in makers]
        for slot, make in zip(slots, makers, strict=True):
            self.point(slot, make())
        return at

    def table(self, fields: dict[int, tuple[str, Any]]) -> int:
        """Write a table: field number to (form, value) or ("->", function that writes a target)."""
        count = max(fields, default=-1) + 1
        vtable = len(self.content)
        self.content += bytes(4 + 2 * count)
        at = self.number("<i", len(self.content) - vtable)
        slots = {}
        for number, (form, value) in fields.items():
            place = self.number("<I", 0) if form == "->" else self.number(form, value)
            struct.pack_into("<H", self.content, vtable + 4 + 2 * number, place - at)
            if form == "->":
                slots[place] = value
        struct.pack_into("<HH", self.content, vtable, 4 + 2 * count, len(self.content) - at)
        for place, make in slots.items():
            self.point(place, make())
        return at


SPARSE_ROWS = np.array(
    [[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 4, 0], [5, 6, 7, 8], [0, 0, 0, 9]], np.float16
)
"""The pointwise kernel of `write_tflite`: 5 outputs, 4 inputs, 9 of 20 weights stored."""


def write_tflite(path: Path) -> Path:
    """A pointwise convolution whose weights are stored compressed by rows (CSR)."""
    flat = Flat(b"TFL3")
    stored = SPARSE_ROWS[SPARSE_ROWS != 0]

    def ints(*values: int) -> Any:
        return lambda: flat.vector(np.array(values, "<i4"))

    def tensor(shape: tuple[int, ...], kind: int, buffer: int, sparse: bool = False) -> Any:
        fields = {0: ("->", ints(*shape)), 1: ("<b", kind), 2: ("<I", buffer)}
        if sparse:
            fields[6] = ("->", lambda: rows_that_are_kept(flat))
        return lambda: flat.table(fields)

    def options() -> int:
        return flat.table({0: ("<b", 0), 1: ("<i", 1), 2: ("<i", 1)})

    def operator() -> int:
        return flat.table(
            {0: ("<I", 0), 1: ("->", ints(0, 1)), 2: ("->", ints(2)), 4: ("->", options)}
        )

    def graph() -> int:
        tensors = [
            tensor((1, 6, 6, 4), 0, 0),
            tensor((5, 1, 1, 4), 1, 1, sparse=True),
            tensor((1, 6, 6, 5), 0, 0),
        ]
        return flat.table(
            {0: ("->", lambda: flat.tables(tensors)), 3: ("->", lambda: flat.tables([operator]))}
        )

    def data() -> int:
        return flat.table({0: ("->", lambda: flat.vector(stored.view("u1")))})

    def code() -> int:
        return flat.table({0: ("<b", 3), 3: ("<i", 3)})

    root = flat.table(
        {
            0: ("<I", 3),
            1: ("->", lambda: flat.tables([code])),
            2: ("->", lambda: flat.tables([graph])),
            4: ("->", lambda: flat.tables([lambda: flat.table({}), data])),
        }
    )
    struct.pack_into("<I", flat.content, 0, root)
    path.write_bytes(bytes(flat.content))
    return path


def rows_that_are_kept(flat: Flat) -> int:
    """Write where the values of `SPARSE_ROWS` stand: dense dimensions, the last one by rows."""
    segments = np.concatenate([[0], np.cumsum((SPARSE_ROWS != 0).sum(axis=1))]).astype("<i4")
    columns = np.nonzero(SPARSE_ROWS)[1].astype("u1")

    def vector(values: np.ndarray) -> Any:
        return lambda: flat.table({0: ("->", lambda: flat.vector(values))})

    def dimension(size: int) -> Any:
        return lambda: flat.table({0: ("<b", 0), 1: ("<i", size)})

    def compressed() -> int:
        return flat.table(
            {
                0: ("<b", 1),
                2: ("<B", 1),
                3: ("->", vector(segments)),
                4: ("<B", 3),
                5: ("->", vector(columns)),
            }
        )

    order = np.arange(4, dtype="<i4")
    dims = [dimension(5), dimension(1), dimension(1), compressed]
    return flat.table({0: ("->", lambda: flat.vector(order)), 2: ("->", lambda: flat.tables(dims))})


def write_chakra(path: Path) -> Path:
    """Record one step of a convolution, a linear layer and fused attention."""
    module, inputs = chakra_module()
    return recorded(lambda: module(inputs).sum().backward(), path)


def recorded(run: Callable[[], None], path: Path) -> Path:
    """Record what `run` does with PyTorch's observer of execution traces."""
    from torch.profiler import ExecutionTraceObserver

    observer = ExecutionTraceObserver()
    observer.register_callback(str(path))
    observer.start()
    run()
    observer.stop()
    observer.unregister_callback()
    return path


def chakra_module() -> Any:
    """Return the module that `write_chakra` records, and its input."""
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 16, 3, padding=1, stride=2)
            self.qkv = nn.Linear(16, 48)
            self.out = nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.conv(x).relu().flatten(2).transpose(1, 2)
            q, k, v = (part.unsqueeze(1) for part in self.qkv(tokens).chunk(3, -1))
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.out(mixed.squeeze(1))

    return Small(), torch.randn(4, 8, 6, 6)
