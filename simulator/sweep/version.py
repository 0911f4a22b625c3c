"""What code and what workload a result came from, as short hashes."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import dataflow
import simulator
import workloads
from workloads.operations import Workload

NOT_RESULTS = ("cli", "templates", "published", "experiments")
"""Parts of `simulator` that show results but do not make them."""


@cache
def code_version() -> str:
    """Return the version of sparsight with a hash of the source that results depend on."""
    digest = hashlib.sha256()
    for package in (workloads, dataflow, simulator):
        assert package.__file__ is not None
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if package is not simulator or inside.parts[0] not in NOT_RESULTS:
                digest.update(f"{package.__name__}/{inside.as_posix()}\0".encode())
                digest.update(path.read_bytes())
    try:
        number = version("sparsight")
    except PackageNotFoundError:
        number = "uninstalled"
    return f"{number}+{digest.hexdigest()[:12]}"


def workload_hash(workload: Any) -> str:
    """Return a hash of everything that a workload asks to compute, its name left out."""
    digest = hashlib.sha256()
    _add(digest, tuple(workload) if isinstance(workload, Workload) else workload)
    return digest.hexdigest()[:16]


def _add(digest: Any, value: Any) -> None:
    """Add a value to a hash: the elements of arrays, the fields of dataclasses, else its repr."""
    digest.update(f"\0{type(value).__name__}\0".encode())
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (tuple, list)):
        for part in value:
            _add(digest, part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _add(digest, getattr(value, field.name))
    else:
        digest.update(repr(value).encode())
