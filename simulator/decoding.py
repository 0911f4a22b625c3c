"""What one iteration of a decoder takes, said alike by every accelerator that decodes.

An iteration gives every request of a batch its next token: the batch passes all layers, through the
pipeline stages in turn, and each layer takes what the one that was simulated takes. Energy and
traffic are those of all tensor-parallel devices.
"""

from __future__ import annotations

from typing import Any

HEADLINE = (
    "time_per_layer_s",
    "cycles_per_layer",
    "time_per_iteration_s",
    "tokens_per_s",
    "energy_per_layer_j",
    "energy_per_token_j",
    "dram_bytes_per_layer",
)
"""Keys that stand before the totals of a report, which cover what was simulated."""


def iteration(
    *,
    layers: int,
    devices: int,
    requests: int,
    clock_hz: float,
    layer_cycles: int,
    layer_pj: float,
    layer_bytes: int,
    output_cycles: int = 0,
    output_pj: float = 0.0,
) -> dict[str, Any]:
    """Return the values of `HEADLINE`, of a decoder of `layers` on `devices` side by side.

    `layer_cycles`, `layer_pj` and `layer_bytes` are those of one layer for all `requests` on one of
    the devices; `output_cycles` and `output_pj` those of what follows the last layer.

    >>> found = iteration(layers=10, devices=2, requests=4, clock_hz=1e9, layer_cycles=100,
    ...                   layer_pj=6e12, layer_bytes=50)
    >>> [found[name] for name in HEADLINE[1:]]
    [100, 1e-06, 4000000.0, 12.0, 30.0, 100]
    """
    cycles = layers * layer_cycles + output_cycles
    joules = devices * 1e-12
    return {
        "time_per_layer_s": layer_cycles / clock_hz,
        "cycles_per_layer": layer_cycles,
        "time_per_iteration_s": cycles / clock_hz,
        "tokens_per_s": requests * clock_hz / cycles,
        "energy_per_layer_j": layer_pj * joules,
        "energy_per_token_j": (layers * layer_pj + output_pj) * joules / requests,
        "dram_bytes_per_layer": devices * layer_bytes,
    }


def covers(what: str, *, layers: int, devices: int) -> str:
    """Say what the totals of a report stand for, and what its headline does."""
    one = f"one of {devices} tensor-parallel devices" if devices > 1 else "the device"
    all_ = f"all {devices}" if devices > 1 else "it"
    return (
        f"simulated time, energy and traffic, utilisation and the tables are those of {what} on "
        f"{one}; energy and bytes per layer and per token are those of {all_}, and an iteration "
        f"passes all {layers} layers"
    )
