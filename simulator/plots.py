"""Plots of reports as PNG or SVG: time by layer, roofline, energy, and methods side by side.

Each `draw_...` function draws on the axes that it is given; `figures`, `overview` and `render` put
them together. Nothing here uses pyplot, so no window system and no global state.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
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

COMPONENT_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442",
    "#332288", "#882255", "#44AA99", "#000000", "#DDCC77", "#117733", "#AA4499", "#BBBBBB",
    "#661100", "#88CCEE", "#999933", "#CC6677",
)  # fmt: skip
"""No two alike: those of Okabe and Ito first, then those of Tol. The smallest components share
the last one if there are more."""

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

LINEAR_SPAN = 20.0
"""How many times the smallest total the largest may be for both to be read on one linear axis."""

ROW_INCHES = 0.32
"""Height of a row of a bar chart, so that the names of two do not touch."""


def draw_layers(axes: Axes, report: Report) -> None:
    """Draw the time of each layer, stacked by pass; that of the smaller layers as a text."""
    layers = breakdown.largest_layers(report, SHOWN_LAYERS)
    rest = layers.pop() if len(breakdown.by_layer(report)) > len(layers) else None
    left = np.zeros(len(layers))
    for name in _passes([report]):
        width = np.array([layer.cycles_by_pass.get(name, 0) for layer in layers]) / report.clock_hz
        axes.barh(range(len(layers)), width, left=left, color=_colour(name), label=name)
        left += width
    names = [_shortened(layer.layer) for layer in layers]
    if rest is not None:
        whole = sum(layer.cycles for layer in (*layers, rest))
        share = quantities.percent(rest.cycles, whole)
        text = f" {breakdown.time_text(report, rest.cycles)} together, {share} of all; not drawn"
        axes.text(0, len(layers), text, va="center", style="italic")
        names.append(rest.layer)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.seconds(value)))
    axes.set_title(f"Time by layer: {_title(report)}")
    _legend_below(axes)


def draw_comparison(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw the time of each report by pass, with its speedup over the first."""
    by_pass = [breakdown.cycles_by(report, "pass") for report in reports]
    parts = {
        name: np.array(
            [each.get(name, 0) / r.clock_hz for each, r in zip(by_pass, reports, strict=True)]
        )
        for name in _passes(reports)
    }
    texts = [quantities.seconds(report.seconds) for report in reports]
    for row, report in enumerate(reports[1:], 1):
        texts[row] += f", {reports[0].seconds / report.seconds:.2f}x"
    axes.set_title(f"Time and speedup: {reports[0].workload}")
    colours = {name: _colour(name) for name in parts}
    _draw_totals(axes, reports, parts, colours, texts)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.seconds(value)))


def draw_energy(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw the energy of each report by component; the number beside it is that of the tables."""
    names = dict.fromkeys(name for r in reports for name in r.energy_pj)
    joules = {
        name: np.array([r.energy_pj.get(name, 0.0) for r in reports]) * 1e-12 for name in names
    }
    least = LEAST_SHOWN * max(report.energy_j or 0.0 for report in reports)
    shown = [name for name in joules if joules[name].max() > least]
    colours = dict(itertools.zip_longest(shown, COMPONENT_COLOURS[: len(shown)]))
    colours = {name: colour or COMPONENT_COLOURS[-1] for name, colour in colours.items()}
    axes.set_title(f"Energy: {reports[0].workload}")
    texts = [quantities.joules(report.energy_j) for report in reports]
    _draw_totals(axes, reports, {name: joules[name] for name in shown}, colours, texts)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantities.joules(value)))


def _draw_totals(
    axes: Axes,
    reports: Sequence[Report],
    parts: Mapping[str, Floats],
    colours: Mapping[str, str],
    texts: Sequence[str],
) -> None:
    """Draw a row a report, its parts stacked, or as points where the totals lie decades apart.

    `parts` holds one value a report; `texts` stand at the end of each row.
    """
    rows, ends = np.arange(len(reports)), np.sum(list(parts.values()), axis=0)
    begin = 0.0
    if ends.max() > LINEAR_SPAN * ends[ends > 0].min(initial=np.inf):
        seen = {name: values > LEAST_SHOWN * ends for name, values in parts.items()}
        begin = min(parts[name][seen[name]].min(initial=np.inf) for name in parts) / 1.5
        for name, values in parts.items():
            points = values[seen[name]], rows[seen[name]]
            axes.scatter(*points, color=colours[name], label=name, zorder=2)
        axes.scatter(ends, rows, marker="|", s=120, color="black", label="all", zorder=3)
        axes.set_xscale("log")
        axes.set_xlim(begin, ends.max() * (ends.max() / begin) ** 0.3)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_title(f"{axes.get_title(loc='left')} (logarithmic)")
    else:
        left = np.zeros(len(reports))
        for name, width in parts.items():
            axes.barh(rows, width, left=left, color=colours[name], label=name)
            left += width
        axes.set_xlim(0, ends.max() * 1.25 or 1.0)
    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        place = max(end, begin), row
        axes.annotate(text, place, (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, [_shortened(label) for label in _labels(reports)])
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
    bars = _bars_inches(reports)
    heights = {
        "layers": _layers_inches(closest),
        "roofline": 4.6,
        "comparison": bars,
        "energy": bars,
    }
    drawn = _plots(reports, closest)
    if len(reports) == 1:
        del drawn["comparison"]
    with mpl.rc_context(STYLE):
        return {name: _figure(draw, (8, heights[name])) for name, draw in drawn.items()}


def overview(reports: Sequence[Report], closest: Report) -> Figure:
    """Return all plots on one page."""
    drawn = _plots(reports, closest)
    heights = (5.4, _bars_inches(reports))
    with mpl.rc_context(STYLE):
        page = Figure(figsize=(14, sum(heights)), layout="constrained")
        places = page.subplots(2, 2, height_ratios=heights).ravel()
        for axes, name in zip(places, ("layers", "roofline", "comparison", "energy"), strict=True):
            if name in drawn:
                drawn[name](axes)
            else:
                axes.set_axis_off()
    return page


def _plots(reports: Sequence[Report], closest: Report) -> dict[str, Callable[[Axes], None]]:
    """Return what draws each plot that the reports have numbers for, by its name."""
    drawn: dict[str, Callable[[Axes], None]] = {"layers": lambda axes: draw_layers(axes, closest)}
    if np.any(np.asarray(closest.columns["useful_macs"])):
        drawn["roofline"] = lambda axes: draw_roofline(axes, closest)
    drawn["comparison"] = lambda axes: draw_comparison(axes, reports)
    if closest.energy_j:
        drawn["energy"] = lambda axes: draw_energy(axes, reports)
    return drawn


def _bars_inches(reports: Sequence[Report]) -> float:
    """Return the height of a chart with a row a report, its title and its legend."""
    return 1.8 + ROW_INCHES * len(reports)


def _layers_inches(report: Report) -> float:
    """Return the height of the chart of layers: bars of few layers are no thicker than of many."""
    return min(4.6, 1.4 + 0.36 * sum(layer.cycles > 0 for layer in breakdown.by_layer(report)))


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
