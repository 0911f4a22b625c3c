"""What the average speed-up of BDWP at 2:8 depends on, among the numbers that the paper leaves out.

    python examples/sat_sensitivity.py

Prints the average over the five networks of the paper for one changed assumption at a time. Takes
ten seconds.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from simulator.accelerators import sat
from simulator.experiments.sat import BATCHES
from workloads import networks
from workloads.methods import bdwp

ASSUMPTIONS: dict[str, dict[str, Any]] = {
    "as assumed": {},
    "vector engine of 16 lanes": {"vector_lanes": 16},
    "vector engine of 64 lanes": {"vector_lanes": 64},
    "vector work and memory free": {"vector_lanes": 65536, "dram_bytes_per_s": 1e15},
    "a quarter of the bandwidth": {"dram_bytes_per_s": 19.2e9},
    "a quarter of the buffers": {
        "left_buffer_bytes": 1 << 20,
        "right_buffer_bytes": 1 << 20,
        "out_buffer_bytes": 1 << 20,
    },
    "output stationary only": {"stationarity": "os"},
    "weight stationary only": {"stationarity": "ws"},
    "selection while weights are read": {"pregeneration": False},
    "adder of 8 cycles, 8 interleaved": {"add_latency": 8, "interleave": 8},
    "no interleaving": {"interleave": 1},
}


def average_speedup(**settings: Any) -> float:
    """Return the mean over the networks of dense over sparse cycles."""
    config = sat.Config(**settings)

    def cycles(step: Any) -> int:
        return sat.simulate(config, sat.schedule(config, step)).cycles

    steps = [networks.find(name, batch=batch).training_step() for name, batch in BATCHES.items()]
    return mean(cycles(step) / cycles(bdwp(2, 8)(step)) for step in steps)


if __name__ == "__main__":
    for assumption, settings in ASSUMPTIONS.items():
        print(f"{assumption:34} {average_speedup(**settings):.2f}x")
