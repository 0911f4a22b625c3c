"""What code and what workload a result came from, as short hashes."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dataflow
import simulator
import workloads

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
    return hashlib.sha256(repr(tuple(workload)).encode()).hexdigest()[:16]
