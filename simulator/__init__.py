"""What a workload costs on an accelerator: cycles, bytes and energy, and the command line.

>>> import simulator
>>> from workloads import gemm
>>> simulator.run("systolic", gemm(128, 256, 96), dataflow="ws", tile_overlap="none").compute_cycles
5328
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import dataflow  # noqa: F401 (finds a place for compiled kernels, before numba is imported)

if TYPE_CHECKING:
    from simulator.accelerators import find, names, run
    from simulator.comparison import compare
    from simulator.report import Report

__all__ = ["Report", "compare", "find", "names", "run"]

_MODULES = {
    "Report": "simulator.report",
    "compare": "simulator.comparison",
    "find": "simulator.accelerators",
    "names": "simulator.accelerators",
    "run": "simulator.accelerators",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `sparsight --help` needs no numpy."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
