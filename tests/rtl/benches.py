"""Runs the Makefile of a bench to take away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile, with further arguments, with the tools of this Python's environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", "-C", str(directory), *arguments],
        env={**os.environ, "PATH": path, "COCOTB_ANSI_OUTPUT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
