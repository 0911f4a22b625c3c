"""Which N:M on which array? Methods and arrays together, for equal numbers of PEs.

    python examples/sweep_codesign.py [--small]

Prints, for every network and number of PEs, the fastest pair of method and array. What a pattern
costs in accuracy is not modelled: choose among the patterns that train. Takes a few seconds;
`--small` tries fewer arrays.
"""

from __future__ import annotations

import sys

from simulator.sweep import Study

SIDES = [16, 32] if "--small" in sys.argv else [8, 16, 32, 64, 128]
PATTERNS = ["2:4", "2:8", "1:8", "2:16"]

study = Study(
    name="patterns and arrays",
    networks=["resnet18", "vit-b16"],
    batches=[64],
    methods=["dense", *(f"bdwp:{pattern}" for pattern in PATTERNS)],
    space={
        "rows": SIDES,
        "cols": SIDES,
        # The row edge has to bring M values for every N that are multiplied.
        "feed_values_per_cycle": {"derive": "ceil(method_m / method_n)"},
    },
    quantities={"pes": "rows * cols"},
    objectives=["seconds", "energy_j", "pes"],
)

if __name__ == "__main__":
    table = study.run(workers=1)
    fastest = table.loc[table.groupby(["network", "pes"], observed=True).seconds.idxmin()]
    dense = table[table.method == "dense"].groupby(["network", "pes"], observed=True).seconds.min()
    base = [dense[key] for key in zip(fastest.network, fastest.pes, strict=True)]
    fastest = fastest.assign(speedup=(base / fastest.seconds).round(2))
    columns = ["network", "pes", "method", "rows", "cols", "seconds", "energy_j", "speedup"]
    print(fastest[columns].to_string(index=False))
