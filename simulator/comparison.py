"""Several methods or accelerators side by side, as reports and as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simulator import breakdown, quantities
from simulator.accelerators import find
from simulator.report import Report
from workloads.operations import Workload

if TYPE_CHECKING:
    import pandas as pd


FACTS = ("weight_bytes", "flop_ratio", "published")
"""Columns of a comparison of methods that do not depend on the accelerator."""


def compare(
    accelerators: Sequence[str] | Mapping[str, Any],
    workload: Workload,
    methods: Iterable[str] = (),
) -> pd.DataFrame:
    """Return one row per accelerator and method: time, speedup over the first row, energy, traffic.

    `accelerators` are names, or names with a config each. `methods` are texts such as "bdwp:2:8";
    without any, the workload runs as it is.

    >>> from workloads import NM, gemm
    >>> frame = compare(["systolic"], gemm(512, 512, 512, pattern=NM(2, 8)))
    >>> frame[["accelerator", "cycles", "speedup"]].to_dict("records")
    [{'accelerator': 'systolic', 'cycles': 32830, 'speedup': 1.0}]
    """
    import pandas as pd

    return pd.DataFrame(rows(reports(accelerators, workload, methods)))


def reports(
    accelerators: Sequence[str] | Mapping[str, Any],
    workload: Workload,
    methods: Iterable[str] = (),
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Report]:
    """Return a report for each accelerator and method; `progress` wraps the loop over them."""
    from workloads.methods import parse_method

    named = [parse_method(text) for text in methods]
    variants = [method(workload) for method in named] or [workload]
    models = {name: find(name) for name in accelerators}
    configs = {name: model.Config() for name, model in models.items()}
    if isinstance(accelerators, Mapping):
        configs |= accelerators
    pairs = [(name, variant) for name in models for variant in variants]
    made = [
        models[name].simulate(configs[name], models[name].schedule(configs[name], variant))
        for name, variant in progress(pairs)
    ]
    if not named:
        return made
    facts = [_facts(variant, workload) for variant in variants]
    return [
        replace(report, extra={**report.extra, **facts[at % len(facts)]})
        for at, report in enumerate(made)
    ]


def _facts(variant: Workload, dense: Workload) -> dict[str, Any]:
    """Say what a method makes of the workload, whatever the accelerator, and what it reports."""
    from workloads.methods import presets
    from workloads.methods.accounting import weight_bytes

    known = presets.presets().get(variant.method)
    return {
        "weight_bytes": weight_bytes(variant),
        "flop_ratio": variant.kept_macs / dense.macs,
        "published": known.published if known else "-",
    }


def notes(reports: Sequence[Report]) -> list[str]:
    """Return what the reports say of themselves, each sentence once, and whose it is.

    A sentence of all reports has no name in front; one that all methods of an accelerator share has
    the accelerator's, one of a method on all accelerators the method's.
    """
    owners: dict[str, list[Report]] = {}
    for report in reports:
        for note in dict.fromkeys(report.notes):
            owners.setdefault(note, []).append(report)
    return [_owned(note, found, reports) for note, found in owners.items()]


def _owned(note: str, owners: Sequence[Report], reports: Sequence[Report]) -> str:
    names = dict.fromkeys(report.accelerator for report in owners)
    methods = dict.fromkeys(report.method for report in owners)
    label = [", ".join(names)] if len(names) < len({r.accelerator for r in reports}) else []
    runs = [report for report in reports if report.accelerator in names]
    if any(report.method not in methods for report in runs):
        label.append(", ".join(methods))
    if not label or note.startswith((*names, *methods)):
        return note
    return f"{' with '.join(label)}: {note}"


def rows(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Return the totals of each report with its speedup and energy ratio over the first."""
    firsts = {report.accelerator: report for report in reversed(reports)}
    return [_row(report, reports[0], firsts[report.accelerator]) for report in reports]


def is_grid(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether rows compare several methods on several accelerators."""
    return all(len({row[name] for row in rows}) > 1 for name in ("accelerator", "method"))


def total_columns(rows: Sequence[Mapping[str, Any]]) -> breakdown.Columns:
    """Return the totals of rows as texts; with several of both, also the speedup by method."""
    by_method = {">by method": [f"{row['method_speedup']:.2f}x" for row in rows]}
    return {
        ">time": [quantities.seconds(row["seconds"]) for row in rows],
        ">speedup": [f"{row['speedup']:.2f}x" for row in rows],
        **(by_method if is_grid(rows) else {}),
        ">energy": [quantities.joules(row["energy_j"]) for row in rows],
        ">off-chip": [quantities.size(row["dram_bytes"]) for row in rows],
        ">utilisation": [quantities.percent(row["utilisation"], 1) for row in rows],
    }


def name_columns(rows: Sequence[Mapping[str, Any]]) -> breakdown.Columns:
    """Return what names each row: its accelerator and its method."""
    return {name: [str(row[name]) for row in rows] for name in ("accelerator", "method")}


def published_column(rows: Sequence[Mapping[str, Any]]) -> breakdown.Columns:
    """Return what the authors of the methods report, as a column; none if nothing is known."""
    found = [str(row["published"]) for row in rows]
    return {"published": found} if set(found) != {"-"} else {}


def _row(report: Report, first: Report, own: Report) -> dict[str, Any]:
    by_pass = breakdown.cycles_by(report, "pass")
    energy, first_energy = report.energy_j, first.energy_j
    return {
        "accelerator": report.accelerator,
        "workload": report.workload,
        "method": report.method,
        "cycles": report.cycles,
        "seconds": report.seconds,
        "speedup": first.seconds / report.seconds,
        "method_speedup": own.seconds / report.seconds,
        **{f"seconds_{p}": by_pass.get(p, 0) / report.clock_hz for p in breakdown.PASSES},
        "energy_j": energy,
        "energy_ratio": first_energy / energy if energy and first_energy else None,
        "dram_bytes": report.dram_bytes,
        "useful_macs": report.useful_macs,
        "utilisation": report.utilisation,
        **{name: report.extra[name] for name in FACTS if name in report.extra},
    }
