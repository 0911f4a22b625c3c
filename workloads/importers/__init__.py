"""Read models of other programs as workloads: one training step, or one inference.

==============  ================================================================================
file            what is read
==============  ================================================================================
.onnx           the forward graph; backward and update passes follow from its layers
.safetensors    weights of a transformer, with the config.json beside them
.gguf           weights of a decoder, dequantised, with the metadata in the file
.tflite         the forward graph, weights stored sparsely included
.json, .et,     a Chakra host trace: the step that PyTorch's ExecutionTraceObserver recorded
.json.gz
.zip            one of the above inside an archive, unpacked in memory within bounds
.csv            a SCALE-Sim topology
.trace          a trace of this project
==============  ================================================================================

`read_model` takes a path or the name of a model that an installed package carries. Each format's
library is imported when it is needed. Nothing opens a pickle unless `weights_only` is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workloads.errors import InputError
from workloads.files import is_pickle
from workloads.importers import packages
from workloads.importers.bounded import checked_size, unpack_model
from workloads.importers.checkpoint import read_checkpoint, refuse
from workloads.operations import Pass, Workload

__all__ = ["FORMATS", "packages", "read_model"]

FORMATS = (".onnx", ".safetensors", ".gguf", ".tflite", ".json", ".et", ".gz", ".csv", ".trace")
FP16_NOTE = (
    "operands count as fp16 (2 bytes), as in mixed precision, whatever the file holds; a captured "
    "step counts them as it ran"
)
_PACKED = (".onnx", ".tflite")


def read_model(
    source: Path | str,
    *,
    batch: int | None = None,
    tokens: int | None = None,
    inference: bool = False,
    weights_only: bool = False,
) -> Workload:
    """Return the training step (or the inference) of a model file, or of a package's model.

    `batch` and `tokens` apply to files that do not fix them. Raises `InputError`: what is wrong
    with the file, where, and what would be right.
    """
    path = Path(source)
    if not path.suffix and not path.exists():
        path = packages.locate(str(source))
        found = read_model(path, batch=batch, tokens=tokens, inference=inference)
        return replace(found, name=found.name.replace(path.stem, str(source), 1))
    checked_size(path)
    with open(path, "rb") as file:
        head = file.read(9)
    suffix = path.suffix.lower()
    if is_pickle(path, head):
        if not weights_only:
            raise refuse(path)
        return _in_fp16(read_checkpoint(path, batch=batch, tokens=tokens, inference=inference))
    content = None
    if suffix == ".zip":
        name, content = unpack_model(path, _PACKED)
        path, suffix = path.with_name(Path(name).name), Path(name).suffix.lower()
    if suffix in (".csv", ".trace", ".json", ".et", ".gz"):
        return _fixed(path, suffix, batch, tokens, inference)
    return _in_fp16(_model(path, suffix, content, batch, tokens, inference))


def _in_fp16(workload: Workload) -> Workload:
    """Say which type the operands have: files say how weights are stored, not how they run."""
    return replace(workload, notes=(*workload.notes, FP16_NOTE))


def _model(
    path: Path,
    suffix: str,
    content: bytes | None,
    batch: int | None,
    tokens: int | None,
    inference: bool,
) -> Workload:
    """Read a format that leaves the batch open."""
    _check_batch(batch)
    match suffix:
        case ".onnx":
            from workloads.importers.onnx_model import read_onnx

            return read_onnx(path, batch=batch, tokens=tokens, inference=inference, content=content)
        case ".tflite":
            from workloads.importers.tflite import read_tflite

            _check_unused(path, tokens=tokens)
            return read_tflite(path, batch=batch, inference=inference, content=content)
        case ".safetensors":
            from workloads.importers.weights import read_safetensors

            return read_safetensors(path, batch=batch, tokens=tokens, inference=inference)
        case ".gguf":
            from workloads.importers.weights import read_gguf

            return read_gguf(path, batch=batch, tokens=tokens, inference=inference)
    raise InputError(f"{path} must be a model file of a known kind: {', '.join(FORMATS)} or .zip")


def _fixed(
    path: Path, suffix: str, batch: int | None, tokens: int | None, inference: bool
) -> Workload:
    """Read a format that has recorded one batch."""
    _check_unused(path, batch=batch, tokens=tokens)
    if suffix == ".trace":
        from workloads.trace import read_trace

        found = read_trace(path)
    elif suffix == ".csv":
        from workloads.scalesim import read_topology

        found = read_topology(path)
    else:
        from workloads.importers.chakra import read_chakra

        found = read_chakra(path)
    return found.only(Pass.FF) if inference else found


def _check_unused(path: Path, **options: int | None) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{path} fixes its {name}; leave --{name} out")


def _check_batch(batch: int | None) -> None:
    if batch is not None and (isinstance(batch, bool) or batch < 1):
        raise InputError(f"batch must be a positive whole number, not {batch!r}")
