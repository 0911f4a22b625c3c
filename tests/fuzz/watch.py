"""Count the inputs of a target, time them, and write down what should not have happened."""

from __future__ import annotations

import resource
import time
import traceback
from pathlib import Path

from tests.fuzz.targets import Target, refuses_or_reads

SLOW_S = 5.0
"""An input that takes longer is a finding."""

MOST_GROWTH = 512 << 20
"""Bytes by which the process may grow while a target runs."""


class Watch:
    """Counts inputs of one target, times them, and keeps what went wrong."""

    def __init__(self, name: str, target: Target, findings: Path) -> None:
        """Start with nothing counted."""
        self.name, self.target, self.findings = name, target, findings
        self.inputs = self.read = self.wrong = 0
        self.slowest_s = 0.0
        self.before = _memory_bytes()

    def __call__(self, content: bytes) -> None:
        """Try one input; write it down if it is a finding."""
        began = time.perf_counter()
        try:
            self.read += refuses_or_reads(self.target, content)
        except Exception:
            self._keep(content, traceback.format_exc())
        took = time.perf_counter() - began
        self.inputs += 1
        self.slowest_s = max(self.slowest_s, took)
        if took > SLOW_S:
            self._keep(content, f"took {took:.1f} s")

    def _keep(self, content: bytes, why: str) -> None:
        self.wrong += 1
        self.findings.mkdir(parents=True, exist_ok=True)
        file = self.findings / f"{self.name}-{self.inputs}"
        file.write_bytes(content)
        file.with_suffix(".why").write_text(why)

    @property
    def grown(self) -> int:
        """Bytes by which the process has grown."""
        return _memory_bytes() - self.before

    def line(self, engine: str, seconds: float) -> str:
        """Say what was tried and found."""
        return (
            f"{self.name:<12} {engine:<11} {seconds:6.0f} s {self.inputs:>9} inputs "
            f"{self.read:>9} read  slowest {self.slowest_s:6.3f} s  "
            f"grew {max(self.grown, 0) >> 20:>4} MiB  {self.wrong} findings"
        )


def _memory_bytes() -> int:
    """Return the resident size, or its peak where the system does not tell the size."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
