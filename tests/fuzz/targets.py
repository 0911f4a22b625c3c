"""The readers that are fuzzed: each takes bytes, and may refuse them with `InputError` only.

One for each kind of text that is typed, and for each kind of file that is read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simulator import accelerators, run_options
from simulator.configuration import override, parse_settings
from simulator.sweep import expressions, study_file
from tests.fuzz import graphs
from tests.workloads.importers import model_files
from workloads import InputError, trace
from workloads.importers import read_model
from workloads.llm import read_requests
from workloads.matrices import read_matrix
from workloads.methods import parse_method
from workloads.patterns import parse_pattern
from workloads.scalesim import read_configuration, read_topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader of bytes, what it may look like, and the words that its format knows."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


def refuses_or_reads(target: Target, content: bytes) -> bool:
    """Return whether the reader took the content; whatever is no `InputError` passes through."""
    try:
        target.read(content)
    except InputError:
        return False
    return True


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sparsight-fuzz-"))


def _file(content: bytes, suffix: str) -> Path:
    path = _folder() / f"{os.getpid()}{suffix}"
    path.write_bytes(content)
    return path


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def _settings(content: bytes) -> object:
    """Read the first line as the accelerator, the others as its settings."""
    name, *settings = _text(content).split("\n")
    config = accelerators.find(name).Config()
    return override(config, parse_settings(settings))


def _options(content: bytes) -> object:
    name, *arguments = _text(content).split("\n")
    return run_options.parse(run_options.chosen_options(accelerators.find(name)), arguments)


def _expression(content: bytes) -> object:
    found = expressions.parse(_text(content), "constraint")
    expressions.check_names(found, ("rows", "cols", "seconds"), "constraint")
    return found


def _study(content: bytes) -> object:
    definition = study_file.read_file(_file(content, ".toml"))
    return definition.cases, definition.spaces, definition.digest


def _default_settings(name: str) -> bytes:
    config = accelerators.find(name).Config()
    fields = [f"{field}={getattr(config, field)}" for field in config.__dataclass_fields__]
    return "\n".join([name, *fields]).encode()


STUDY = b"""version = 1
name = "which array"
accelerators = ["sat", "systolic"]
networks = ["resnet9"]
batches = [2]
methods = ["dense", "bdwp:2:8"]
objectives = ["seconds", "-area_mm2"]
constraints = ["rows * cols <= 4096", "seconds < 1"]

[search]
kind = "sobol"
points = 8
seed = 3

[space]
rows = [16, 32, 64]
cols = {derive = "rows"}
clock_hz = {from = 1e8, to = 1e9, count = 4}

[space.sat]
interleave = {from = 1, to = 8, factor = 2}

[quantities]
area_mm2 = "rows * cols * 0.001 if rows > 16 else 2"
"""

MATRIX = b"""%%MatrixMarket matrix coordinate real general
% a comment
3 4 3
1 1 0.5
2 3 -1e3
3 4 2
"""

TOPOLOGY = b"""Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, \
Num Filter, Strides, Sparsity,
Conv1, 16, 16, 3, 3, 8, 16, 1, 2:4,
Conv2DP, 14, 14, 3, 3, 16, 1, 2, 1:1,
"""

GEMM = b"Layer, M, N, K, Sparsity,\nGEMM1, 64, 32, 128, 1:4,\n"

SCALESIM = b"""[general]
run_name = small
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
[run_presets]
InterfaceBandwidth: CALC
"""


OPERATORS = (
    b"LSTM",
    b"GRU",
    b"RNN",
    b"Range",
    b"Expand",
    b"Where",
    b"Squeeze",
    b"ConstantOfShape",
    b"hidden_size",
    b"layout",
    b"reverse",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
)


def _chakra_node(
    number: int, parent: int, name: str, *tensors: tuple[int, list[int]]
) -> dict[str, object]:
    """Return a node of an execution trace; the last tensor, storage and shape, is its output."""
    values = [[number + i, storage, 0, 8, 4, "cpu"] for i, (storage, _) in enumerate(tensors)]
    columns = {"values": values, "shapes": [shape for _, shape in tensors]}
    columns["types"] = ["Tensor(float)"] * len(tensors)
    known = {"id": number, "ctrl_deps": parent, "name": name, "attrs": []}
    inputs = {key: column[:-1] for key, column in columns.items()}
    return known | {"inputs": inputs, "outputs": {k: column[-1:] for k, column in columns.items()}}


X, W, DY = (5, [2, 4]), (7, [4, 3]), (33, [2, 3])
CHAKRA = json.dumps(
    {
        "schema": "1.1.1-chakra.0.0.4",
        "nodes": [
            _chakra_node(14, 3, "aten::addmm", (9, [3]), X, W, (20, [2, 3])),
            _chakra_node(40, 2, "AddmmBackward0"),
            _chakra_node(45, 40, "aten::mm", DY, (7, [3, 4]), (48, [2, 4])),
            _chakra_node(59, 40, "aten::mm", (33, [3, 2]), X, (61, [3, 4])),
        ],
    }
).encode()
"""A linear layer and its gradients: what is read of a recording of PyTorch."""

NUMBERS = (b"\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\1\0\0\0")
JSON = (b"{}", b"[]", b"null", b"-1", b"0", b"1e999", b'"', b"9" * 30)


def _models() -> dict[str, Target]:
    """Return the readers of model files; a checkpoint is read beside a configuration."""
    return {
        "onnx": Target(read=_model(".onnx"), seeds=(model_files.small_onnx().SerializeToString(),)),
        "safetensors": Target(read=_checkpoint, seeds=(_encoder()[0],), words=(*NUMBERS, *JSON)),
        "configuration": Target(read=_configuration, seeds=(_encoder()[1],), words=JSON),
        "gguf": Target(
            read=_model(".gguf"),
            seeds=(model_files.whole(lambda folder: model_files.write_gguf(folder / "m.gguf")),),
            words=NUMBERS,
        ),
        "tflite": Target(
            read=_model(".tflite"),
            seeds=(
                model_files.whole(lambda folder: model_files.write_tflite(folder / "m.tflite")),
            ),
            words=NUMBERS,
        ),
        "chakra": Target(read=_model(".json"), seeds=(CHAKRA,), words=(b"aten::bmm", *JSON)),
    }


def _model(suffix: str) -> Callable[[bytes], object]:
    return lambda content: read_model(_file(content, suffix))


def _checkpoint(content: bytes) -> object:
    """Read weights whose configuration is right."""
    return _read_beside(content, _encoder()[1])


def _configuration(content: bytes) -> object:
    """Read right weights by a configuration."""
    return _read_beside(_encoder()[0], content)


def _read_beside(weights: bytes, configuration: bytes) -> object:
    path = _file(weights, ".safetensors")
    path.with_name("config.json").write_bytes(configuration)
    return read_model(path)


@cache
def _encoder() -> tuple[bytes, bytes]:
    """Return the weights and the configuration of a small encoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = model_files.write_safetensors(Path(folder))
        return path.read_bytes(), path.with_name("config.json").read_bytes()


def _trace_seeds() -> tuple[bytes, ...]:
    return (trace.shipped()["digits-vit"].read_bytes(),)


@cache
def targets() -> dict[str, Target]:
    """Return the targets by name."""
    return _texts() | _files()


def _texts() -> dict[str, Target]:
    """Return what is typed at the command line, and studies."""
    models = accelerators.names()
    return {
        "settings": Target(
            read=_settings,
            seeds=tuple(_default_settings(name) for name in models),
            words=(b"=", b"\n", b"nan", b"1e999", b"-1", b"true", b"0x10", b"1_0"),
        ),
        "options": Target(
            read=_options,
            seeds=(b"smash\n--matrix\na.mtx\n--version=v3", b"neupims\n--tp\n4\n--no-refresh"),
            words=(b"--", b"=", b"\n", b"--b"),
        ),
        "pattern": Target(
            read=lambda content: parse_pattern(_text(content)),
            seeds=(b"2:4", b"dense", b"2:8t", b"unstructured:0.25", b"block:16x16:0.5"),
            words=(b":", b"x", b"0", b"-", b"1e-9", b"nan", b"group"),
        ),
        "method": Target(
            read=lambda content: parse_method(_text(content)),
            seeds=(b"bdwp:2:8", b"dense", b"mask:2:4+moe:8:2[0.2-0.9]", b"rigl:0.1:100", b"spdf"),
            words=(b":", b"+", b"0", b"inf", b"unstructured", b"lora", b"1e400"),
        ),
        "expression": Target(
            read=_expression,
            seeds=(b"rows * cols <= 4096", b"seconds < 1 and rows > 2", b"1 if rows else -cols**2"),
            words=(b"**", b"()", b"lambda", b"rows", b"9" * 30, b"__", b"[0]", b"'a'"),
        ),
        "study": Target(
            read=_study,
            seeds=(STUDY,),
            words=(
                b"[[space]]",
                b"= inf",
                b"= nan",
                b"{}",
                b"[]",
                b'"',
                b"from",
                b"derive",
                b"1e9",
            ),
        ),
    }


def _files() -> dict[str, Target]:
    """Return traces, requests, matrices, layer tables and models."""
    return _models() | {
        "trace": Target(
            read=lambda content: trace.read_trace(_file(content, ".trace")), seeds=_trace_seeds()
        ),
        "requests": Target(
            read=lambda content: read_requests(_file(content, ".csv")),
            seeds=(b"seq_len,ch_idx\n100,0\n2048,31\n",),
            words=(b",", b"\n", b'"', b"\0", b"-1", b"9" * 5000),
        ),
        "matrix": Target(
            read=lambda content: read_matrix(_file(content, ".mtx")),
            seeds=(MATRIX, MATRIX.replace(b"general", b"symmetric").replace(b"3 4 3", b"4 4 3")),
            words=(b"pattern", b"integer", b"complex", b"array", b"hermitian", b"9" * 20, b"nan"),
        ),
        "topology": Target(
            read=lambda content: read_topology(_file(content, ".csv")),
            seeds=(TOPOLOGY, GEMM),
            words=(b",", b"\n", b"-1", b"0", b"4:2", b"9" * 12, b"DP"),
        ),
        "scalesim": Target(
            read=lambda content: read_configuration(_file(content, ".cfg")),
            seeds=(SCALESIM,),
            words=(b"[", b"]", b":", b"=", b"%(x)s", b"nan", b"os", b"USER"),
        ),
        "recurrent": Target(
            read=lambda content: read_model(_file(content, ".onnx")),
            seeds=tuple(graphs.recurrent(cell) for cell in graphs.GATES),
            words=OPERATORS,
        ),
        "folding": Target(
            read=lambda content: read_model(_file(content, ".onnx")),
            seeds=(graphs.folded(),),
            words=OPERATORS,
        ),
    }
