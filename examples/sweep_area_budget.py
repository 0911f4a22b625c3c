"""Search for the fastest and most frugal SAT under an area budget, with NSGA-II.

    python examples/sweep_area_budget.py [--small]

Prints the designs that no other one beats in time and energy. Takes three and a half minutes;
`--small` tries fewer designs.

Areas are those of the 45 nm table that the project's energies come from (M. Horowitz, ISSCC 2014,
recalled): an fp16 multiplier, an fp32 adder, and SRAM cells of 0.37 um2 a bit at 70 % efficiency.
Replace them by your own synthesis: `sparsight rtl synth` prints areas of the generated PEs.

Needs `pip install 'sparsight[search]'`.
"""

from __future__ import annotations

import sys

from simulator.sweep import Study

MULTIPLIER_UM2 = 1640
ADDER_UM2 = 4184
SRAM_UM2_PER_BYTE = 8 * 0.37 / 0.7
BUDGET_MM2 = 30

SMALL = "--small" in sys.argv
BUFFER = {"from": 1 << 16, "to": 1 << 22, "factor": 2}

study = Study(
    name=f"SAT in {BUDGET_MM2} mm2",
    networks=["resnet50"],
    batches=[256],
    methods=["bdwp:2:8"],
    space={
        "rows": {"from": 8, "to": 128, "step": 4},
        "cols": {"from": 8, "to": 128, "step": 4},
        "vector_lanes": {"from": 8, "to": 256, "factor": 2},
        "left_buffer_bytes": BUFFER,
        "right_buffer_bytes": BUFFER,
        "out_buffer_bytes": BUFFER,
    },
    quantities={
        "units_mm2": f"(rows * cols + vector_lanes) * {(MULTIPLIER_UM2 + ADDER_UM2) * 1e-6}",
        "buffers_mm2": "(left_buffer_bytes + right_buffer_bytes + out_buffer_bytes) * "
        f"{SRAM_UM2_PER_BYTE * 1e-6}",
    },
    constraints=[f"units_mm2 + buffers_mm2 <= {BUDGET_MM2}"],
    objectives=["seconds", "energy_j"],
    search={"kind": "nsga2", "points": 200 if SMALL else 3000, "population": 40 if SMALL else 100},
)

if __name__ == "__main__":
    best = study.pareto(study.run(workers=1))
    columns = ["rows", "cols", "vector_lanes", "seconds", "energy_j", "units_mm2", "buffers_mm2"]
    print(best[columns].to_string(index=False))
