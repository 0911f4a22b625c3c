"""Sweep the shape of SAT's array from a script; print the designs that no other design beats.

    python examples/sweep_arrays.py [--small] [REPORT.html]

With a file name, one page to look around in is written. Takes a few seconds; `--small` tries fewer
designs.
"""

from __future__ import annotations

import sys

from simulator.sweep import Study

STEP = 32 if "--small" in sys.argv else 8

study = Study(
    name="shape of the array",
    networks=["resnet50"],
    batches=[256],
    methods=["dense", "bdwp:2:8"],
    space={
        "rows": {"from": 16, "to": 128, "step": STEP},
        "cols": {"from": 16, "to": 128, "step": STEP},
        "interleave": {"from": 1, "to": 8, "factor": 2},
    },
    quantities={"pes": "rows * cols"},
    objectives=["seconds", "pes"],
)

if __name__ == "__main__":
    pages = [name for name in sys.argv[1:] if name.endswith(".html")]
    best = study.pareto(study.run(report=pages[0] if pages else None))
    print(best[["method", "rows", "cols", "interleave", "seconds", "pes"]].to_string(index=False))
