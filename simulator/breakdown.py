"""Where the time goes: a report's operations grouped by layer, pass and bottleneck.

Where operations overlap, their cycles add up to more than the report's total; shares are then of
the sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import quantities
from simulator.report import Report
from workloads.operations import Pass

PASSES = tuple(map(str, Pass))
"""The passes of a training step in order; reports of other work have passes of other names."""

Columns = dict[str, list[str]]
"""A table as texts: names of columns, those of numbers with `>` in front, and their cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """Cycles of one layer (or of several, summed) by pass, and what bounds most of them.

    `patterns` are those of its products, without repetition; empty if it has no product.
    """

    layer: str
    cycles_by_pass: dict[str, int]
    patterns: tuple[str, ...]
    bottleneck: str

    @property
    def pattern(self) -> str:
        """The sparse patterns, else dense, else a dash if the layer has no product."""
        sparse = [pattern for pattern in self.patterns if pattern != "dense"]
        return quantities.short(", ".join(sparse or self.patterns)) or "-"

    @property
    def cycles(self) -> int:
        """Cycles of all passes."""
        return sum(self.cycles_by_pass.values())


def by_layer(report: Report) -> list[LayerTime]:
    """Return the time of every layer, in the order of first appearance."""
    indices: dict[str, list[int]] = defaultdict(list)
    for index, layer in enumerate(_values(report, "layer")):
        indices[layer].append(index)
    columns = {name: _values(report, name) for name in ("pass", "cycles", "bottleneck", "k")}
    columns["pattern"] = _patterns(report)
    return [_layer_time(layer, columns, chosen) for layer, chosen in indices.items()]


def largest_layers(report: Report, at_most: int) -> list[LayerTime]:
    """Return the layers that take most time, in network order, the rest summed as the last row."""
    layers = by_layer(report)
    if len(layers) <= at_most:
        return layers
    chosen = sorted(layers, key=lambda layer: -layer.cycles)[: at_most - 1]
    rest = [layer for layer in layers if layer not in chosen]
    return [layer for layer in layers if layer in chosen] + [_summed(rest)]


def pass_order(name: str) -> tuple[int, str]:
    """Return what passes are sorted by: those of a training step in order, others by name."""
    return (PASSES.index(name) if name in PASSES else len(PASSES), name)


def time_text(report: Report, cycles: int) -> str:
    """Return the time of some cycles for people; a dash for none."""
    return quantities.seconds(cycles / report.clock_hz) if cycles else "-"


def layer_columns(report: Report, layers: Sequence[LayerTime], passes: Sequence[str]) -> Columns:
    """Return the table of these layers, with a column for each of `passes`."""
    total = sum(layer.cycles for layer in layers)

    def times(name: str) -> list[str]:
        return [time_text(report, layer.cycles_by_pass.get(name, 0)) for layer in layers]

    return {
        "layer": [layer.layer for layer in layers],
        "pattern": [layer.pattern for layer in layers],
        **{f">{name}": times(name) for name in passes},
        ">time": [time_text(report, layer.cycles) for layer in layers],
        ">share": [quantities.percent(layer.cycles, total) for layer in layers],
        "bound by": [layer.bottleneck for layer in layers],
    }


def overlap(report: Report) -> str:
    """Say how much work shares the report's time, if any; shares of layers are of that work."""
    work = sum(_values(report, "cycles"))
    if work <= report.cycles:
        return ""
    return f"{time_text(report, work)} of work that overlaps in {time_text(report, report.cycles)}"


def step_passes(report: Report) -> list[str]:
    """Return the passes of a training step that a report has, in order."""
    found = set(_values(report, "pass"))
    return [name for name in PASSES if name in found]


def cycles_by(report: Report, column: str) -> dict[str, int]:
    """Return the cycles of the operations grouped by a text column, most first."""
    total: dict[str, int] = defaultdict(int)
    for key, cycles in zip(_values(report, column), _values(report, "cycles"), strict=True):
        total[key] += cycles
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _layer_time(layer: str, columns: dict[str, list[Any]], chosen: Sequence[int]) -> LayerTime:
    by_pass: dict[str, int] = defaultdict(int)
    by_bottleneck: dict[str, int] = defaultdict(int)
    for index in chosen:
        by_pass[columns["pass"][index]] += columns["cycles"][index]
        by_bottleneck[columns["bottleneck"][index]] += columns["cycles"][index]
    patterns = {columns["pattern"][index] for index in chosen if columns["k"][index]} - {"-"}
    return LayerTime(
        layer=layer,
        cycles_by_pass=dict(by_pass),
        patterns=tuple(sorted(patterns)),
        bottleneck=max(by_bottleneck, key=lambda name: by_bottleneck[name]),
    )


def _patterns(report: Report) -> list[str]:
    names = report.columns.get("pattern", ["dense"] * len(report.columns["name"]))
    return [str(name) for name in names]


def _summed(layers: Sequence[LayerTime]) -> LayerTime:
    by_pass: dict[str, int] = defaultdict(int)
    for layer in layers:
        for name, cycles in layer.cycles_by_pass.items():
            by_pass[name] += cycles
    patterns = sorted({pattern for layer in layers for pattern in layer.patterns})
    return LayerTime(
        layer=f"{len(layers)} other layers",
        cycles_by_pass=dict(by_pass),
        patterns=tuple(patterns),
        bottleneck="-",
    )


def _values(report: Report, column: str) -> list[Any]:
    values: list[Any] = np.asarray(report.columns[column]).tolist()
    return values
