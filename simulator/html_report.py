"""One self-contained HTML page about one or several reports: sentences, tables, inlined plots."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

from simulator import breakdown, comparison, quantities
from simulator.glossary import GLOSSARY
from simulator.report import Report, config_values

MOST_COLUMNS = 8
"""Columns of a summary that fit a page; the only row of a wider one is turned."""

TERMS = (*breakdown.PASSES, "speedup", "utilisation", "dram_bytes", "energy_j", "bottleneck")
"""Terms that the page explains at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
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
        overlap=breakdown.overlap(closest),
        layers=_layers(closest),
        configs=_configs(reports),
        terms=_terms(),
        version=_version(),
    )


def lead(baseline: Report, closest: Report) -> str:
    """Say the result in two sentences."""
    where = f"{_longest_pass(closest)}{quantities.percent(closest.utilisation, 1)} of the multiply "
    where += "slots do useful work."
    if closest is baseline:
        whole = closest.extra["time_per_iteration_s"] if closest.headline else closest.seconds
        what = "An iteration of " if closest.headline else ""
        return f"{what}{closest.workload} takes {quantities.seconds(whole)}. {where}"
    return (
        f"{closest.method} on {closest.accelerator} takes {quantities.seconds(closest.seconds)}: "
        f"{baseline.seconds / closest.seconds:.2f} times as fast as {baseline.method} on "
        f"{baseline.accelerator} ({quantities.seconds(baseline.seconds)}). {where}"
    )


def _longest_pass(report: Report) -> str:
    """Say which pass takes most of the time, if there are several."""
    shares = breakdown.cycles_by(report, "pass")
    most = next(iter(shares))
    share = quantities.percent(shares[most], sum(shares.values()))
    return f"Of its time, {most} takes {share}, and " if len(shares) > 1 else ""


def _summary(reports: Sequence[Report]) -> TextTable:
    rows = comparison.rows(reports)
    totals = _headlines(reports) or comparison.total_columns(rows)
    columns = comparison.name_columns(rows) | totals
    if "weight_bytes" in rows[0]:
        columns[">weights"] = [quantities.size(row["weight_bytes"]) for row in rows]
        columns |= comparison.published_column(rows)
    return _table(columns if len(columns) <= MOST_COLUMNS or len(rows) > 1 else _turned(columns))


def _turned(columns: breakdown.Columns) -> breakdown.Columns:
    """Return the only row of a table as two columns: what, and how much."""
    return {"": [name.removeprefix(">") for name in columns], ">": [c[0] for c in columns.values()]}


def _headlines(reports: Sequence[Report]) -> breakdown.Columns:
    """Return what reports state before their totals, if they do."""
    return {
        f">{quantities.label(name)}": [
            quantities.of_key(name, report.extra[name])[0] for report in reports
        ]
        for name in reports[0].headline
    }


def _layers(report: Report) -> TextTable:
    layers = [layer for layer in breakdown.by_layer(report) if layer.cycles]
    return _table(breakdown.layer_columns(report, layers, breakdown.step_passes(report)))


def _configs(reports: Sequence[Report]) -> TextTable:
    configs = {report.accelerator: report.config for report in reports}
    rows = [
        (name, field, _value(value))
        for name, config in configs.items()
        for field, value in config_values(config).items()
    ]
    names, fields, values = (list(column) for column in zip(*rows, strict=True))
    return _table({"accelerator": names, "field": fields, ">value": values})


def _value(value: Any) -> str:
    """Write a field as `--set` reads it, large numbers with an exponent if that is exact."""
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else str(value)


def _terms() -> TextTable:
    terms = [GLOSSARY[name] for name in TERMS]
    return _table(
        {
            "term": list(TERMS),
            "unit": [term.unit for term in terms],
            "meaning": [term.meaning for term in terms],
        }
    )


def _table(columns: breakdown.Columns) -> TextTable:
    numbers = frozenset(i for i, name in enumerate(columns) if name.startswith(">"))
    rows = list(zip(*columns.values(), strict=True))
    return TextTable(columns=[n.removeprefix(">") for n in columns], rows=rows, numbers=numbers)


def _together(names: Iterable[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last


def _version() -> str:
    try:
        return metadata.version("sparsight")
    except metadata.PackageNotFoundError:
        return "(not installed)"
