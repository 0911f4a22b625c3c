"""One self-contained HTML page about one or several reports: sentences, tables, inlined plots."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata, resources

from simulator import breakdown, comparison, quantities
from simulator.glossary import GLOSSARY
from simulator.report import Report, config_values

TERMS = ("FF", "BP", "WU", "UP", "speedup", "utilisation", "dram_bytes", "energy_j", "bottleneck")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table as text; `numbers` are the indices of the columns aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int]


def render(reports: Sequence[Report], closest: Report) -> str:
    """Return the page. The first report is the baseline, `closest` is shown layer by layer."""
    import jinja2

    from simulator import plots

    template = resources.files("simulator").joinpath("templates/report.html").read_text("utf-8")
    drawn = {
        name: plots.encode(figure, "svg")
        for name, figure in plots.figures(reports, closest).items()
    }
    order = [name for name in ("comparison", "layers", "energy", "roofline") if name in drawn]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        title=f"{reports[0].workload} on {_together(r.accelerator for r in reports)}",
        lead=lead(reports[0], closest),
        summary=_summary(reports),
        notes=comparison.notes(reports),
        images=[(name, base64.b64encode(drawn[name]).decode()) for name in order],
        closest=f"{closest.method} on {closest.accelerator}",
        layers=_layers(closest),
        configs=_configs(reports),
        terms=_grid("term", "unit", "meaning", rows=[_term(name) for name in TERMS]),
        version=_version(),
    )


def lead(baseline: Report, closest: Report) -> str:
    """Say the result in two sentences."""
    shares = breakdown.cycles_by(closest, "pass")
    most = next(iter(shares))
    where = (
        f"Of its time, {most} takes {quantities.percent(shares[most], sum(shares.values()))}, "
        f"and {quantities.percent(closest.utilisation, 1)} of the multiply slots do useful work."
    )
    if closest is baseline:
        return f"{closest.workload} takes {quantities.seconds(closest.seconds)}. {where}"
    return (
        f"{closest.method} on {closest.accelerator} takes {quantities.seconds(closest.seconds)}: "
        f"{baseline.seconds / closest.seconds:.2f} times as fast as {baseline.method} on "
        f"{baseline.accelerator} ({quantities.seconds(baseline.seconds)}). {where}"
    )


def _summary(reports: Sequence[Report]) -> Grid:
    found = comparison.rows(reports)
    facts, grid = "weight_bytes" in found[0], comparison.is_grid(found)
    rows = [
        (
            row["accelerator"],
            row["method"],
            quantities.seconds(row["seconds"]),
            f"{row['speedup']:.2f}x",
            *((by,) if grid else ()),
            quantities.joules(row["energy_j"]),
            quantities.size(row["dram_bytes"]),
            quantities.percent(row["utilisation"], 1),
            *((quantities.size(row["weight_bytes"]), row["published"]) if facts else ()),
        )
        for row, by in zip(found, comparison.by_method(found), strict=True)
    ]
    speeds = (">speedup", ">by method") if grid else (">speedup",)
    names = ("accelerator", "method", ">time", *speeds, ">energy", ">off-chip", ">utilisation")
    return _grid(*names, *((">weights", "published") if facts else ()), rows=rows)


def _layers(report: Report) -> Grid:
    layers = [layer for layer in breakdown.by_layer(report) if layer.cycles]
    total = sum(layer.cycles for layer in layers)
    passes = [name for name in breakdown.PASSES if name in breakdown.cycles_by(report, "pass")]

    def time(cycles: int) -> str:
        return quantities.seconds(cycles / report.clock_hz) if cycles else "-"

    rows = [
        (
            layer.layer,
            layer.pattern,
            *(time(layer.cycles_by_pass.get(name, 0)) for name in passes),
            time(layer.cycles),
            quantities.percent(layer.cycles, total),
            layer.bottleneck,
        )
        for layer in layers
    ]
    names = ("layer", "pattern", *(f">{p}" for p in passes), ">time", ">share", "bound by")
    return _grid(*names, rows=rows)


def _configs(reports: Sequence[Report]) -> Grid:
    configs = {report.accelerator: report.config for report in reports}
    rows = [
        (name, field, str(value))
        for name, config in configs.items()
        for field, value in config_values(config).items()
    ]
    return _grid("accelerator", "field", ">value", rows=rows)


def _term(name: str) -> tuple[str, str, str]:
    term = GLOSSARY[name]
    return name, term.unit, term.meaning


def _grid(*names: str, rows: Sequence[Sequence[str]]) -> Grid:
    numbers = frozenset(i for i, name in enumerate(names) if name.startswith(">"))
    return Grid(columns=[n.removeprefix(">") for n in names], rows=rows, numbers=numbers)


def _together(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def _version() -> str:
    try:
        return metadata.version("sparsight")
    except metadata.PackageNotFoundError:
        return "(not installed)"
