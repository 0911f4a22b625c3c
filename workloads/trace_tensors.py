"""Tensors beside a trace: where they lie, whether they are its own, and how operands read them.

`<trace>.safetensors` beside `<trace>`, told by the hash that the trace holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError, first_line
from workloads.operand_values import with_tensors
from workloads.operations import Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.generic]]


def tensors_path(path: Path) -> Path:
    """Return where the tensors of the trace at `path` lie.

    >>> tensors_path(Path("step.trace")).name
    'step.trace.safetensors'
    """
    return path.with_name(path.name + ".safetensors")


def encode(tensors: Tensors) -> tuple[bytes, str]:
    """Return the content of a safetensors file, and its hash."""
    from safetensors.numpy import save

    content = save(dict(tensors))
    return content, hashlib.sha256(content).hexdigest()


def load_tensors(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the tensors beside the trace at `path`; raise `InputError` for another hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    beside = tensors_path(path)
    try:
        content = beside.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the tensors {beside}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"{beside} must be the tensors written with {path}, but its content differs"
        )
    try:
        return dict(load(content))
    except SafetensorError as error:
        raise InputError(f"{beside} must be a safetensors file: {first_line(error)}") from error


def with_values(workload: Workload, path: Path, sha256: str) -> Workload:
    """Attach the tensors beside the trace at `path`; one that has lost them says so in a note."""
    from safetensors import SafetensorError, safe_open

    beside = tensors_path(path)
    if not beside.is_file():
        lost = f"the tensors {beside.name} are not beside the trace: no values are known"
        return replace(workload, notes=(*workload.notes, lost))
    try:
        with safe_open(str(beside), framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{beside} must be a safetensors file: {first_line(error)}") from error
    readers = {name: TraceTensor(path=path, name=name, sha256=sha256) for name in names}
    return with_tensors(workload, readers)


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class TraceTensor:
    """A tensor beside a trace, read and checked when it is called."""

    path: Path
    name: str
    sha256: str

    def __call__(self) -> NDArray[np.generic]:
        """Return the tensor; raises `InputError` like `load_tensors`."""
        return _kept_tensors(self.path, self.sha256)[self.name]


@lru_cache(maxsize=1)
def _kept_tensors(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return `load_tensors`, read once for all operations of a trace; not to be changed."""
    return load_tensors(path, sha256)
