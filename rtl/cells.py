"""Counts the gates of Verilog text with yosys."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from workloads.errors import InputError

SCRIPT = (
    "read_verilog design.v; hierarchy -top {top}; proc; opt -fast; wreduce; alumacc; "
    "opt -fast; memory -nomap; opt -fast; techmap; opt -fast; "
    "tee -q -o stat.json stat -json -top {top}"
)


def count_cells(verilog: str, *, top: str) -> dict[str, int]:
    """Return `cells` (one- and two-input gates, multiplexers, flip-flops) and `flip_flops`.

    Gates as yosys' `techmap` builds them, before any optimisation for a technology: good for
    comparing blocks, not an area. Memories are left out. Raises `InputError` if yosys is missing
    or refuses the text.
    """
    if shutil.which("yosys") is None:
        raise InputError(
            "yosys is not installed; `apt-get install yosys` or `brew install yosys` brings it"
        )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "design.v").write_text(verilog)
        command = ["yosys", "-q", "-p", SCRIPT.format(top=top)]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            raise InputError(f"yosys does not take {top}: {said[-1]}")
        text = (directory / "stat.json").read_text()
    # Between the modules and their sum stands a tree that is no JSON.
    total, _ = json.JSONDecoder().raw_decode(text, text.index('"design": ') + len('"design": '))
    kinds = total["num_cells_by_type"]
    gates = {kind: count for kind, count in kinds.items() if kind.startswith("$_")}
    return {
        "cells": sum(gates.values()),
        "flip_flops": sum(count for kind, count in gates.items() if "DFF" in kind),
    }
