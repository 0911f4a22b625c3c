"""Where the time of single designs goes, layer by layer, simulated again for the report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.accelerators import find
from simulator.breakdown import cycles_by, pass_order
from simulator.report import Report
from simulator.sweep.definition import Case
from simulator.sweep.evaluate import workload

LAYERS = 80
"""Layers of a design that are shown by name, at most; the others share the name `OTHER`."""

OTHER = "other layers"


def breakdowns(
    points: Iterable[dict[str, Any]], fields: dict[str, list[str]], seconds: float
) -> tuple[list[dict[str, Any] | None], list[list[str]]]:
    """Return the breakdown of every point and the lists of layers that they refer to.

    A point has `accelerator`, `method`, `case` (a `Case`) and the `fields` of its accelerator. Time
    is spent for `seconds`, in the order of the points; the rest has None.
    """
    ends = time.monotonic() + seconds
    layers: dict[tuple[str, Case], int] = {}
    names: list[list[str]] = []
    found: list[dict[str, Any] | None] = []
    for point in points:
        if time.monotonic() > ends:
            found.append(None)
            continue
        report = _simulate(point, fields[point["accelerator"]])
        key = (point["accelerator"], point["case"])
        if key not in layers:
            layers[key] = len(names)
            names.append(_largest(report))
        found.append({"layers": layers[key], **_summed(report, names[layers[key]])})
    return found, names


def _simulate(point: dict[str, Any], fields: list[str]) -> Report:
    model = find(point["accelerator"])
    config = model.Config(**{name: point[name] for name in fields})
    return model.simulate(
        config,
        model.schedule(config, workload(point["accelerator"], point["case"], point["method"])),
    )


def _largest(report: Report) -> list[str]:
    """Return the layers that take most time, in network order, and a name for the others."""
    cycles = cycles_by(report, "layer")
    largest = {name for name in list(cycles)[:LAYERS] if cycles[name]}
    in_order = dict.fromkeys(str(name) for name in report.columns["layer"])
    return [name for name in in_order if name in largest] + [OTHER]


def _summed(report: Report, names: list[str]) -> dict[str, Any]:
    """Return cycles by pass and layer, MACs and bytes by layer, and the roofs of the design."""
    place = {name: i for i, name in enumerate(names)}
    layers = np.array([place.get(str(name), len(names) - 1) for name in report.columns["layer"]])
    passes = np.asarray(report.columns["pass"]).astype(str)
    cycles = np.asarray(report.columns["cycles"])
    bandwidth = getattr(report.config, "dram_bytes_per_s", None)
    return {
        "cycles": {
            name: _by(layers, cycles * (passes == name), len(names))
            for name in sorted(set(passes.tolist()), key=pass_order)
        },
        "macs": _by(layers, np.asarray(report.columns["useful_macs"]), len(names)),
        "bytes": _by(layers, np.asarray(report.columns["dram_bytes"]), len(names)),
        "energy_pj": {name: float(value) for name, value in report.energy_pj.items()},
        "clock_hz": report.clock_hz,
        "peak_macs_per_s": report.peak_macs_per_cycle * report.clock_hz,
        "dram_bytes_per_s": bandwidth,
    }


def _by(layers: NDArray[np.int64], counts: NDArray[Any], width: int) -> list[int]:
    total = np.zeros(width, np.int64)
    np.add.at(total, layers, counts.astype(np.int64))
    return [int(value) for value in total]
