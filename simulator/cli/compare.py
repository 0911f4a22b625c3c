"""`sparsight compare`: several methods or accelerators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.breakdown import Columns
    from simulator.report import Report
    from workloads.operations import Workload

WORK = (">energy", ">off-chip", ">utilisation")  # totals that are not times


def compare(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ACCELERATOR...", help="One or more names.")
    ] = None,
    accelerators: Annotated[
        str | None, typer.Option(help="The same, comma-separated; all for every one.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Comma-separated, the first is the baseline; N:M is 2:8 if left out."),
    ] = None,
    network: options.Network = None,
    batch: options.Batch = None,
    tokens: options.Tokens = None,
    inference: options.Inference = False,
    trace: options.Trace = None,
    gemm: options.Gemm = None,
    topology: options.Topology = None,
    matrix: options.Matrix = None,
    right: options.RightMatrix = None,
    model: options.Model = None,
    weights_only: options.WeightsOnly = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Integrate each method's schedule over a run of N steps."),
    ] = None,
    pattern: options.Pattern = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    plot: options.Plot = None,
    report_dir: options.Html = None,
) -> None:
    """Compare methods and accelerators on one workload; the first row is the baseline.

    --set FIELD=VALUE applies to every accelerator, --set NAME.FIELD=VALUE to one of them.
    """
    from simulator import comparison
    from simulator.cli import inputs, output

    chosen = _listed(methods)
    if steps is not None and not chosen:
        raise InputError("--steps integrates methods over a run; name some with --methods")
    workload = inputs.read_comparable(inputs.Source.of(context.params), chosen)
    wanted, given = inputs.read_accelerators(names or (), accelerators, workload, settings or ())
    configs = inputs.read_configs(wanted, given)
    output.check_targets(csv=csv, parquet=parquet, plot=plot, report_dir=report_dir)
    reports = comparison.reports(configs, workload, chosen, progress=output.progress)
    rows = comparison.rows(reports)
    if steps is not None:
        _add_runs(rows, configs, workload, chosen, steps)
    if as_json:
        output.print_json(rows)
    else:
        _show(reports, rows)
    output.write_rows(rows, csv=csv, parquet=parquet)
    fastest = min(reports, key=lambda report: report.seconds)
    output.write_pictures(reports, fastest, plot=plot, report_dir=report_dir)


def _listed(methods: str | None) -> list[str]:
    """Return the methods of a comma-separated list, each of which may stand there once.

    An N:M method without its N:M gets the 2:8 of SAT, and a note says so.
    """
    from simulator.cli import output
    from workloads.methods import names

    given = [] if methods is None else methods.split(",")
    short = {text for text in given if text in names() and text != "dense"}
    chosen = [f"{text}:2:8" if text in short else text for text in given]
    for text in chosen:
        if chosen.count(text) > 1:
            raise InputError(f"method {text} is named twice; name it once")
    for text in given:
        if text in short:
            output.say(f"note: {text} is taken as {text}:2:8; write {text}:N:M for another")
    return chosen


def _add_runs(
    rows: Sequence[dict[str, Any]],
    configs: dict[str, Any],
    workload: Workload,
    methods: Sequence[str],
    steps: int,
) -> None:
    """Add time, energy and break-even of a whole run, against the first method of each."""
    from simulator import training_run
    from workloads.methods import parse_method

    for at, (accelerator, config) in enumerate(configs.items()):
        runs = [
            training_run.train(accelerator, config, workload, parse_method(text), steps=steps)
            for text in methods
        ]
        for row, run in zip(rows[at * len(runs) :], runs, strict=False):
            row["run_seconds"] = run.seconds
            row["run_energy_j"] = run.energy_j
            row["break_even_step"] = training_run.break_even(run, runs[0])


def _show(reports: Sequence[Report], rows: Sequence[dict[str, Any]]) -> None:
    from simulator import comparison
    from simulator.cli import tables

    title = str(rows[0]["workload"])
    names, totals = comparison.name_columns(rows), comparison.total_columns(rows)
    passes = _passes(rows)
    out = tables.console()
    whole = tables.of_columns(title, {**names, **_between(totals, passes)})
    if tables.fits(whole):
        out.print(whole)
    else:
        for heading, columns in _parts(title, names, totals):
            out.print(tables.of_columns(heading, {**names, **columns}))
        out.print(tables.of_columns("Time by pass", {**names, **passes}))
    if "run_seconds" in rows[0]:
        out.print(tables.of_columns("Whole run", {**names, **_run_columns(rows)}))
    if "weight_bytes" in rows[0]:
        out.print(tables.of_columns("Methods, whatever the accelerator", _method_columns(rows)))
    tables.show_notes(reports)


def _parts(title: str, names: Columns, totals: Columns) -> list[tuple[str, Columns]]:
    """Part the totals in two tables if one would cut names or numbers."""
    from simulator.cli import tables

    if tables.holds_words(tables.of_columns("", {**names, **totals})):
        return [(title, totals)]
    times = {name: texts for name, texts in totals.items() if name not in WORK}
    return [(title, times), ("Energy, traffic and use", {name: totals[name] for name in WORK})]


def _passes(rows: Sequence[dict[str, Any]]) -> Columns:
    """Return the texts of the times by pass."""
    from simulator import breakdown, quantities

    return {
        f">{name}": [quantities.seconds(row[f"seconds_{name}"]) for row in rows]
        for name in breakdown.PASSES
        if any(row[f"seconds_{name}"] for row in rows)
    }


def _run_columns(rows: Sequence[dict[str, Any]]) -> Columns:
    """Return the texts of a whole run; it pays after the step that the last column names."""
    from simulator import quantities

    paid = [row["break_even_step"] for row in rows]
    return {
        ">time": [quantities.seconds(row["run_seconds"]) for row in rows],
        ">energy": [quantities.joules(row["run_energy_j"]) for row in rows],
        ">pays after": ["-" if step is None else f"step {step}" for step in paid],
    }


def _method_columns(rows: Sequence[dict[str, Any]]) -> Columns:
    """Return what each method makes of the workload and what its authors report."""
    from simulator import comparison, quantities

    once = list({row["method"]: row for row in rows}.values())
    return {
        "method": [row["method"] for row in once],
        ">weights": [quantities.size(row["weight_bytes"]) for row in once],
        ">MACs left": [f"{row['flop_ratio']:.3f}" for row in once],
        **comparison.published_column(once),
    }


def _between(totals: Columns, passes: Columns) -> Columns:
    """Put the times by pass after the time and the speedup."""
    speeds = (">time", ">speedup", ">by method")
    first = {name: column for name, column in totals.items() if name in speeds}
    return {**first, **passes, **totals}
