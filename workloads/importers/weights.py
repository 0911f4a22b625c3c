"""Read safetensors and GGUF files: shapes of all weights, and values for their statistics.

Both formats hold tensors without a graph; see `workloads.importers.transformer` for what is made of
them. Files are mapped, not loaded: memory holds one tensor at a time.
"""

from __future__ import annotations

import importlib.util
import json
import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError, first_line
from workloads.importers.bounded import checked_size, read_bytes
from workloads.importers.gguf_file import Header, Tensor, read_header
from workloads.importers.statistics import sampled_rows, with_weights
from workloads.importers.transformer import Hyperparameters, network_of
from workloads.importers.transformer_parts import Matrix, oriented
from workloads.operand_values import Reader
from workloads.operations import Workload

DEFAULT_TOKENS = 128
MOST_TENSORS = 100_000
MOST_SIZE = 1 << 40
MOST_SIDE = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """What a file of weights holds: shapes by the names of tensors, metadata, and values.

    `sampled` gives the `sampled_rows` of a tensor, None if its values are not known; `readers` give
    whole weights.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    known: Hyperparameters
    sampled: Callable[[str], NDArray[Any] | None]
    readers: Mapping[str, Reader]


def read_safetensors(
    path: Path, *, batch: int | None = None, tokens: int | None = None, inference: bool = False
) -> Workload:
    """Return a training step (or inference) of the transformer whose weights a file holds.

    `config.json` beside it names heads and activation. Raises `InputError` if the file is damaged
    or if it does not hold a transformer.
    """
    from safetensors import SafetensorError, safe_open

    checked_size(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
            types = {name: each.get_dtype() for name, each in slices.items()}

            def sampled(name: str) -> NDArray[Any] | None:
                if not values_known(types[name]):
                    return None
                values = np.asarray(file.get_tensor(name))
                return values[sampled_rows(values.shape)]

            found = WeightFile(
                path=path,
                shapes=shapes,
                known=beside(path),
                sampled=sampled,
                readers={n: SafetensorsWeight(path, n) for n in shapes if values_known(types[n])},
            )
            return transformer_step(found, batch=batch, tokens=tokens, inference=inference)
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, MemoryError) as error:
        raise InputError(
            f"{path} must be a whole safetensors file, but it is damaged: {first_line(error)}"
        ) from error


def read_gguf(
    path: Path, *, batch: int | None = None, tokens: int | None = None, inference: bool = False
) -> Workload:
    """Return a training step (or inference) of the model in a GGUF file, weights dequantised.

    Raises `InputError` if the file is damaged or if its metadata lacks what a decoder needs.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            "reading GGUF files needs the gguf library; pip install 'sparsight[models]'"
        )
    size = checked_size(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = read_header(path, content)
        shapes = {name: tensor.shape for name, tensor in header.tensors.items()}

        def sampled(name: str) -> NDArray[Any]:
            tensor = header.tensors[name]
            chosen = sampled_rows(tensor.shape)
            return _dequantised(path, content, size, header.start, tensor, chosen)

        found = WeightFile(
            path=path,
            shapes=shapes,
            known=_metadata(path, header.keys),
            sampled=sampled,
            readers={name: GgufWeight(path, name) for name in shapes},
        )
        return transformer_step(found, batch=batch, tokens=tokens, inference=inference)


def values_known(kind: str) -> bool:
    """Say whether numpy holds a safetensors type of floating-point numbers."""
    return kind in ("F16", "F32", "F64")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Turned:
    """A weight that the file holds as (in, out), where `reader` takes it for (out, in)."""

    reader: Reader

    def __call__(self) -> NDArray[Any]:
        """Return the matrix (in, out)."""
        return self.reader().T


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SafetensorsWeight:
    """A matrix (out, in) of a safetensors file, read whole, as (in, out), when it is called."""

    path: Path
    name: str

    def __call__(self) -> NDArray[Any]:
        """Return the matrix."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(self.path), framework="numpy") as file:
                return np.asarray(file.get_tensor(self.name)).T
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f"cannot read {self.name!r} of {self.path}: {first_line(error)}"
            ) from error


@dataclass(frozen=True, slots=True, weakref_slot=True)
class GgufWeight:
    """A matrix (out, in) of a GGUF file, dequantised whole, as (in, out), when it is called."""

    path: Path
    name: str

    def __call__(self) -> NDArray[Any]:
        """Return the matrix."""
        size = checked_size(self.path)
        with (
            open(self.path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            header = _kept_header(self.path, size, self.path.stat().st_mtime_ns)
            tensor = header.tensors[self.name]
            rows = np.arange(tensor.shape[0])
            return _dequantised(self.path, content, size, header.start, tensor, rows).T


@lru_cache(maxsize=1)
def _kept_header(path: Path, size: int, changed_ns: int) -> Header:
    """Return the header of a file of this size and time, read once for all its tensors."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return read_header(path, content)


def _dequantised(
    path: Path,
    content: mmap.mmap,
    size: int,
    start: int,
    tensor: Tensor,
    chosen: NDArray[np.intp],
) -> NDArray[Any]:
    """Return the chosen rows of a tensor as floats."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    try:
        kind = GGMLQuantizationType(tensor.type)
        block, block_bytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise InputError(
            f"tensor {tensor.name!r} of {path} has the unknown quantisation type {tensor.type}"
        ) from None
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    row_bytes = columns // block * block_bytes
    first = start + tensor.offset
    if columns % block or first + rows * row_bytes > size:
        raise InputError(
            f"tensor {tensor.name!r} of {path} must lie in the file as {rows} rows of "
            f"{columns} values in blocks of {block}, but does not"
        )
    stored = [
        np.frombuffer(content[first + row * row_bytes : first + (row + 1) * row_bytes], np.uint8)
        for row in chosen
    ]
    packed = np.stack(stored)
    plain = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}
    try:
        with np.errstate(all="ignore"):  # damaged scales become infinite, which is refused later
            found = dequantize(packed.view(plain[kind]) if kind in plain else packed, kind)
    except (NotImplementedError, ValueError) as error:
        raise InputError(
            f"tensor {tensor.name!r} of {path} cannot be dequantised: {first_line(error)}"
        ) from error
    return np.asarray(found, np.float32)


def transformer_step(
    file: WeightFile, *, batch: int | None, tokens: int | None, inference: bool
) -> Workload:
    """Return the step of the transformer whose weights `file` holds.

    `batch` is 1 and `tokens` those of the metadata where None is given.
    """
    matrices = _matrices(file.path, file.shapes)
    known = file.known
    length = known.tokens or min(DEFAULT_TOKENS, known.context) if tokens is None else tokens
    network, notes = network_of(
        file.path, matrices, known, batch=1 if batch is None else batch, tokens=length
    )
    step = network.inference() if inference else network.training_step()
    used = {op.layer for op in step.matmuls}
    weights = {
        matrix.layer: found.T if matrix.transposed else found
        for matrix in oriented(matrices)
        if matrix.layer in used and (found := file.sampled(f"{matrix.layer}.weight")) is not None
    }
    whole = {
        matrix.layer: Turned(reader) if matrix.transposed else reader
        for matrix in oriented(matrices)
        if matrix.layer in weights and (reader := file.readers.get(f"{matrix.layer}.weight"))
    }
    step = with_weights(step, weights, whole)
    return replace(step, notes=(*step.notes, *notes, *_unread(file.shapes)))


def _unread(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Name the weights of three axes and more that are not read, such as stacked experts."""
    names = [n for n, shape in shapes.items() if math.prod(shape) > max(shape, default=1)]
    left = [n for n in names if len(shapes[n]) > 2 and not _is_patch(n, shapes[n])]
    if not left:
        return ()
    return (f"NOT in this workload: {len(left)} weights of three axes and more, such as {left[0]}",)


def _is_patch(name: str, shape: tuple[int, ...]) -> bool:
    """Say whether a kernel turns the patches of an image into tokens."""
    return len(shape) == 4 and "patch_embed" in name and name.endswith(".weight")


def _matrices(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Matrix]:
    """Return the two-dimensional weights by the name of their layer."""
    if len(shapes) > MOST_TENSORS:
        raise InputError(f"{path} has {len(shapes)} tensors; at most {MOST_TENSORS} are read")
    found = {}
    for name, shape in shapes.items():
        if any(not 0 < size < MOST_SIZE for size in shape) or math.prod(shape) > MOST_SIZE:
            raise InputError(f"tensor {name!r} of {path} must have positive sizes, not {shape}")
        layer = name.removesuffix(".weight")
        if _is_patch(name, shape) or (len(shape) == 2 and name.endswith(".weight")):
            sizes = shape[0], math.prod(shape[1:])
            found[layer] = Matrix(layer, *sizes, bias=f"{layer}.bias" in shapes)
    return found


def beside(path: Path) -> Hyperparameters:
    """Read `config.json` beside the weights."""
    config = path.with_name("config.json")
    if not config.is_file():
        raise InputError(
            f"{path} holds weights without a graph; a config.json beside it must name its heads, "
            "or give the model as ONNX or as a PyTorch function"
        )
    try:
        found = json.loads(read_bytes(config, most=1 << 20))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{config} must be JSON: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{config} must be a JSON object")
    heads = _whole(config, found, "num_attention_heads", "n_head", "n_heads")
    decoder = "rms_norm_eps" in found
    image = _patches(config, found)
    return Hyperparameters(
        heads=heads,
        kv_heads=_whole(config, found, "num_key_value_heads", default=heads),
        tokens=image,
        experts_per_token=_whole(config, found, "num_experts_per_tok", default=1),
        language_model="LM" in str(found.get("architectures")),
        norm="rmsnorm" if decoder else "layernorm",
        activation="relu" if found.get("hidden_act") == "relu" else "gelu",
        rotary=decoder or "rope_theta" in found,
        context=image
        or _whole(config, found, "max_position_embeddings", "n_positions", default=1 << 20),
        source=f"weights {path.name} ({found.get('model_type', 'model')}) with config.json",
    )


def _patches(config: Path, found: Mapping[str, Any]) -> int | None:
    """Return the patches of an image and the class token; None if the model reads no images."""
    if not {"image_size", "patch_size"} <= found.keys():
        return None
    side, patch = (_whole(config, found, name) for name in ("image_size", "patch_size"))
    if patch > side or side > MOST_SIDE:
        raise InputError(
            f"image_size in {config} must lie between the patch_size {patch} and {MOST_SIDE}, "
            f"not {side}"
        )
    return (side // patch) ** 2 + 1


def _metadata(path: Path, plain: Mapping[str, object]) -> Hyperparameters:
    """Read the hyper-parameters among the keys of a GGUF file."""
    family = plain.get("general.architecture")
    if not isinstance(family, str):
        raise InputError(f"{path} must name its general.architecture, but does not")
    values = {key.removeprefix(f"{family}."): value for key, value in plain.items()}
    heads = _whole(path, values, "attention.head_count")
    rms = "attention.layer_norm_rms_epsilon" in values
    return Hyperparameters(
        heads=heads,
        kv_heads=_whole(path, values, "attention.head_count_kv", default=heads),
        norm="rmsnorm" if rms else "layernorm",
        activation="gelu",
        rotary="rope.dimension_count" in values or rms,
        context=_whole(path, values, "context_length", default=1 << 20),
        source=f"weights {path.name} ({plain.get('general.name', family)}), GGUF",
    )


def _whole(path: Path, found: Mapping[str, Any], *keys: str, default: int | None = None) -> int:
    """Return the first of `keys` that is there; it must be a positive whole number."""
    for key in keys:
        if key in found and found[key] is not None:
            value = found[key]
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32:
                raise InputError(f"{key} in {path} must be a positive whole number, not {value!r}")
            return value
    if default is None:
        raise InputError(f"{path} must say {keys[0]}, but does not")
    return default
