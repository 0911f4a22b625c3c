"""NPU with PIM: clocks of one decoder layer in the published simulator, beside ours."""

from __future__ import annotations

from simulator import published
from simulator.accelerators import neupims
from workloads.llm import read_requests


def reference() -> dict[str, float]:
    """Return clocks of a layer for each run: system, batch of requests, sub-batches, refresh."""
    return {row.quantity: _cycles(row.inputs) for row in published.read("neupims/reference")}


def _cycles(inputs: dict[str, str]) -> float:
    config = neupims.Config(
        system=inputs["system"],  # type: ignore[arg-type]
        sub_batch=inputs["sub_batch"],  # type: ignore[arg-type]
        refresh=inputs["refresh"] == "on",
    )
    batch = read_requests(published.FOLDER / "neupims" / f"{inputs['trace']}.csv")
    report = neupims.simulate(config, neupims.schedule(config, batch))
    return float(report.extra["cycles_per_layer"])
