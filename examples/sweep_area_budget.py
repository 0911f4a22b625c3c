"""Search for the fastest and most frugal SAT under an area budget, with NSGA-II.

    python examples/sweep_area_budget.py [--small]

Prints the designs that no other one beats in time and energy. Takes three and a half minutes;
`--small` tries fewer designs.

The area is the `area_mm2` that SAT states, from the 45 nm table of `simulator.area`. A quantity of
the same name replaces it by that of your own synthesis (`sparsight rtl synth` prints areas of the
generated PEs): quantities={"area_mm2": "rows * cols * 0.006 + ..."}.

Needs `pip install 'sparsight[search]'`.
"""

from __future__ import annotations

import sys

from simulator.sweep import Study

BUDGET_MM2 = 30

SMALL = "--small" in sys.argv
BUFFERS = ("left_buffer_bytes", "right_buffer_bytes", "out_buffer_bytes")

study = Study(
    name=f"SAT in {BUDGET_MM2} mm2",
    networks=["resnet50"],
    batches=[256],
    methods=["bdwp:2:8"],
    space={
        "rows": {"from": 8, "to": 128, "step": 4},
        "cols": {"from": 8, "to": 128, "step": 4},
        "vector_lanes": {"from": 8, "to": 256, "factor": 2},
        **{name: {"from": 1 << 16, "to": 1 << 22, "factor": 2} for name in BUFFERS},
    },
    constraints=[f"area_mm2 <= {BUDGET_MM2}"],
    objectives=["seconds", "energy_j"],
    search={"kind": "nsga2", "points": 200 if SMALL else 3000, "population": 40 if SMALL else 100},
)

if __name__ == "__main__":
    best = study.pareto(study.run(workers=1))
    columns = ["rows", "cols", "vector_lanes", *BUFFERS, "seconds", "energy_j", "area_mm2"]
    print(best[columns].to_string(index=False))
