"""What other tools answer for one product on a 32x32 array, and what `systolic` answers."""

from __future__ import annotations

from simulator import published
from simulator.accelerators import run
from workloads.operations import gemm
from workloads.patterns import parse_pattern


def systolic() -> dict[str, float]:
    """Return compute cycles of each row's product, under the tiling convention of its tool."""
    return {row.quantity: _cycles(row.inputs) for row in published.read("peers/systolic")}


def _cycles(inputs: dict[str, str]) -> float:
    m, k, n = (int(inputs[name]) for name in ("m", "k", "n"))
    rows, cols = (int(side) for side in inputs["array"].split("x"))
    report = run(
        "systolic",
        gemm(m, k, n, pattern=parse_pattern(inputs["pattern"])),
        rows=rows,
        cols=cols,
        dataflow=inputs["dataflow"],
        tile_overlap=inputs["tile_overlap"],
    )
    return report.compute_cycles
