"""PyTorch checkpoints are pickles, which can run any code: refused, or read weights-only.

Weights-only loading (`torch.load(weights_only=True)`) unpickles nothing but tensors and plain
containers. It still parses a pickle, so it happens only when the user asks for it by name.
"""

from __future__ import annotations

import importlib.util
import warnings
import zipfile
from pathlib import Path
from typing import Any

from workloads.errors import InputError, first_line
from workloads.importers.bounded import MOST_FILE_BYTES, checked_size
from workloads.importers.statistics import KeptTensor, sampled_rows
from workloads.operations import Workload


def refuse(path: Path) -> InputError:
    """Return the error that names the safe ways."""
    return InputError(
        f"{path} looks like a pickle or a PyTorch checkpoint, which can run any code when it is "
        "opened; save its weights as safetensors, export it to ONNX, or capture the model with "
        "'sparsight capture module:function'; --weights-only reads its tensors alone"
    )


def read_checkpoint(
    path: Path, *, batch: int | None = None, tokens: int | None = None, inference: bool = False
) -> Workload:
    """Return a training step of the transformer whose weights a checkpoint holds, weights-only.

    `config.json` beside it names heads and activation. Raises `InputError` if the file holds
    anything but tensors in plain containers.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"reading {path} needs PyTorch; pip install 'sparsight[torch]'")
    import torch

    from workloads.importers import weights

    checked_size(path)
    _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is in the error
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever its input provokes
        # PyTorch's sentence about a refused object advises to load it all the same.
        reason = "" if "weights_only" in first_line(error) else f": {first_line(error)}"
        raise InputError(
            f"{path} must be a whole checkpoint with nothing but tensors in it{reason}"
        ) from error
    found = _flat(path, state)
    tensors = {n: t.detach() for n, t in found.items() if isinstance(t, torch.Tensor)}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided:
            raise InputError(f"tensor {name!r} of {path} must be dense, not of {tensor.layout}")

    def sampled(name: str) -> Any:
        tensor = tensors[name]
        if not tensor.is_floating_point():
            return None
        return tensor[torch.from_numpy(sampled_rows(tuple(tensor.shape)))].float().numpy()

    file = weights.WeightFile(
        path=path,
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        known=weights.beside(path),
        sampled=sampled,
        readers={
            name: KeptTensor(tensor.float().numpy())
            for name, tensor in tensors.items()
            if tensor.is_floating_point()
        },
    )
    return weights.transformer_step(file, batch=batch, tokens=tokens, inference=inference)


def _flat(path: Path, state: Any) -> dict[str, Any]:
    """Return the mapping of names to tensors, one level down if the file nests it."""
    if not isinstance(state, dict):
        raise InputError(
            f"{path} must hold a mapping of names to tensors, not a {type(state).__name__}"
        )
    nested = (state.get(key) for key in ("state_dict", "model", "model_state_dict"))
    inner = next((each for each in nested if isinstance(each, dict)), state)
    return {str(key): value for key, value in inner.items()}


def _check_zip(path: Path) -> None:
    """Refuse a checkpoint whose parts unpack to more than is read."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise InputError(f"{path} must be a whole checkpoint: {first_line(error)}") from error
    if unpacked > MOST_FILE_BYTES or unpacked > 4 * path.stat().st_size + (1 << 20):
        raise InputError(f"{path} must unpack to what a checkpoint holds, not to {unpacked} bytes")
