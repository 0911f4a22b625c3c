"""Plots of reports as PNG or SVG: time by layer, roofline, energy, and methods side by side.

Each `draw_...` function draws on the axes that it is given; `figures`, `overview` and `render` put
them together. Nothing here uses pyplot, so no window system and no global state.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from simulator import breakdown, quantities
from simulator.report import Report

Floats = NDArray[np.float64]

PASS_COLOURS = {"FF": "#0072B2", "BP": "#56B4E9", "WU": "#E69F00", "UP": "#999999"}
"""Distinguishable with every common colour blindness (Okabe and Ito)."""

COMPONENT_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # layer names are text
    "svg.hashsalt": "sparsight",  # the same report gives the same file
}

SHOWN_LAYERS = 14

LEAST_SHOWN = 1e-3
"""Share of the largest bar below which a component would not be visible."""


def draw_layers(axes: Axes, report: Report) -> None:
    """Draw the time of each layer, stacked by pass; the smaller layers as one bar."""
    layers = breakdown.largest_layers(report, SHOWN_LAYERS)
    left = np.zeros(len(layers))
    for name in _passes([report]):
        width = np.array([layer.cycles_by_pass.get(name, 0) for layer in layers]) / report.clock_hz
        axes.barh(range(len(layers)), width, left=left, color=_colour(name), label=name)
        left += width
    axes.set_yticks(range(len(layers)), [_shortened(layer.layer) for layer in layers])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.seconds(value)))
    axes.set_title(f"Time by layer: {_title(report)}")
    _legend_below(axes)


def draw_comparison(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw the time of each report, stacked by pass, with its speedup over the first."""
    left = np.zeros(len(reports))
    for name in _passes(reports):
        width = np.array(
            [breakdown.cycles_by(r, "pass").get(name, 0) / r.clock_hz for r in reports]
        )
        axes.barh(range(len(reports)), width, left=left, color=_colour(name), label=name)
        left += width
    for row, (report, end) in enumerate(zip(reports, left, strict=True)):
        text = f" {quantities.seconds(report.seconds)}"
        if row:
            text += f", {reports[0].seconds / report.seconds:.2f}x"
        axes.text(end, row, text, va="center")
    axes.set_yticks(range(len(reports)), _labels(reports))
    axes.set_xlim(0, left.max() * 1.25)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.seconds(value)))
    axes.set_title(f"Time and speedup: {reports[0].workload}")
    _legend_below(axes)


def draw_energy(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw the energy of each report, stacked by component."""
    components = list(dict.fromkeys(name for r in reports for name in r.energy_pj))
    left = np.zeros(len(reports))
    for component, colour in zip(components, COMPONENT_COLOURS * 3, strict=False):
        width = np.array([r.energy_pj.get(component, 0.0) for r in reports]) * 1e-12
        if width.max() > LEAST_SHOWN * max(r.energy_j or 0.0 for r in reports):
            axes.barh(range(len(reports)), width, left=left, color=colour, label=component)
            left += width
    for row, end in enumerate(left):
        axes.text(end, row, f" {quantities.joules(end)}", va="center")
    axes.set_yticks(range(len(reports)), _labels(reports))
    axes.set_xlim(0, left.max() * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.joules(value)))
    axes.set_title(f"Energy: {reports[0].workload}")
    _legend_below(axes)


def draw_roofline(axes: Axes, report: Report) -> None:
    """Draw every product: useful FLOP/s over useful FLOP per off-chip byte, area as its time."""
    frame = {name: np.asarray(column) for name, column in report.columns.items()}
    product = (frame["useful_macs"] > 0) & (frame["cycles"] > 0)
    flop, cycles = 2.0 * frame["useful_macs"][product], frame["cycles"][product]
    intensity, speed = flop / frame["dram_bytes"][product], flop * report.clock_hz / cycles
    passes, area = frame["pass"][product], 20 + 600 * cycles / cycles.sum()
    for name in _passes([report]):
        chosen = passes == name
        if chosen.any():
            axes.scatter(
                intensity[chosen],
                speed[chosen],
                s=area[chosen],
                color=_colour(name),
                alpha=0.6,
                linewidths=0,
                label=name,
            )
    _draw_roof(axes, report, intensity, speed)
    axes.set_xlabel("useful FLOP per off-chip byte")
    axes.set_ylabel("useful FLOP/s")
    axes.set_title(f"Roofline: {_title(report)}")
    legend = axes.legend(title="pass (area: time)", frameon=False, loc="lower right")
    for handle in legend.legend_handles:
        handle.set_sizes([40])  # type: ignore[union-attr]


def _draw_roof(axes: Axes, report: Report, intensity: Floats, speed: Floats) -> None:
    """Draw the two bounds and choose logarithmic axes that hold them and every point."""
    peak = 2.0 * report.peak_macs_per_cycle * report.clock_hz
    bandwidth = _bandwidth_bytes_per_s(report)
    ridge = peak / bandwidth
    low, high = min(intensity.min(), ridge / 8) / 1.5, max(intensity.max(), ridge * 8) * 1.5
    axes.plot([low, ridge, high], [bandwidth * low, peak, peak], color="black", linewidth=1)
    axes.loglog()
    axes.set_xlim(low, high)
    axes.set_ylim(min(speed.min(), bandwidth * low) / 1.5, peak * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: quantities.plain(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.text(high, peak * 1.1, f"peak {quantities.rate(peak, 'FLOP/s')}", ha="right")
    axes.text(low * 1.1, peak * 1.1, f"slope {quantities.rate(bandwidth, 'B/s')} off-chip")


def _bandwidth_bytes_per_s(report: Report) -> float:
    """Return the off-chip bandwidth: the config's, or the one that the operations saw."""
    stated = getattr(report.config, "dram_bytes_per_s", None)
    if stated is not None:
        return float(stated)
    cycles = np.asarray(report.columns["memory_cycles"])
    moved = np.asarray(report.columns["dram_bytes"])[cycles > 0]
    return float((moved * report.clock_hz / cycles[cycles > 0]).max())


def figures(reports: Sequence[Report], closest: Report) -> dict[str, Figure]:
    """Return one figure per plot, by name; the first report is the baseline of the others."""
    drawn: dict[str, tuple[Callable[[Axes], None], tuple[float, float]]] = {
        "layers": (lambda axes: draw_layers(axes, closest), (8, 4.6))
    }
    if np.any(np.asarray(closest.columns["useful_macs"])):
        drawn["roofline"] = (lambda axes: draw_roofline(axes, closest), (8, 4.6))
    bars = (8, 1.3 + 0.5 * len(reports))
    if len(reports) > 1:
        drawn["comparison"] = (lambda axes: draw_comparison(axes, reports), bars)
    if closest.energy_pj:
        drawn["energy"] = (lambda axes: draw_energy(axes, reports), bars)
    with mpl.rc_context(STYLE):
        return {name: _figure(draw, size) for name, (draw, size) in drawn.items()}


def overview(reports: Sequence[Report], closest: Report) -> Figure:
    """Return all plots on one page."""
    with mpl.rc_context(STYLE):
        page = Figure(figsize=(14, 8), layout="constrained")
        ((layers, roofline), (time, energy)) = page.subplots(2, 2, height_ratios=(2.2, 1))
        draw_layers(layers, closest)
        draw_roofline(roofline, closest)
        draw_comparison(time, reports)
        draw_energy(energy, reports)
    return page


def encode(figure: Figure, form: str) -> bytes:
    """Return a figure as the bytes of a `png` or `svg` file, the same for the same report."""
    sink = io.BytesIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if form == "svg" else None
        figure.savefig(sink, format=form, dpi=150, metadata=metadata)
    return sink.getvalue()


def render(reports: Sequence[Report], closest: Report, target: Path) -> dict[Path, bytes]:
    """Return the files to write: one page for a .png or .svg, one PNG a plot for a folder."""
    if target.suffix:
        return {target: encode(overview(reports, closest), target.suffix[1:])}
    drawn = figures(reports, closest)
    return {target / f"{name}.png": encode(figure, "png") for name, figure in drawn.items()}


def _figure(draw: Callable[[Axes], None], size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    return figure


def _passes(reports: Sequence[Report]) -> list[str]:
    found = {name for report in reports for name in breakdown.cycles_by(report, "pass")}
    return sorted(found, key=breakdown.pass_order)


def _colour(name: str) -> str:
    return PASS_COLOURS.get(name, "#CC79A7")


def _legend_below(axes: Axes) -> None:
    axes.legend(
        frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=2.5
    )
    axes.set_ylim(len(axes.get_yticks()) - 0.4, -0.6)


def _title(report: Report) -> str:
    return f"{report.workload}, {report.method}, on {report.accelerator}"


def _labels(reports: Sequence[Report]) -> list[str]:
    """Name reports by what differs: method, accelerator, or both."""
    several = len({report.accelerator for report in reports}) > 1
    return [f"{r.accelerator} {r.method}" if several else r.method for r in reports]


def _shortened(text: str, at_most: int = 28) -> str:
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"
