"""The readers that are fuzzed: each takes bytes, and may refuse them with `InputError` only."""

from __future__ import annotations

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
    return {
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
