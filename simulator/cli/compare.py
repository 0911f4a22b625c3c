"""`sparsight compare`: several methods or accelerators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.report import Report
    from workloads.operations import Workload


def compare(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ACCELERATOR...", help="One or more names.")
    ] = None,
    accelerators: Annotated[
        str | None, typer.Option(help="The same, comma-separated; all for every one.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Comma-separated, the first is the baseline.")
    ] = None,
    network: options.Network = None,
    batch: options.Batch = None,
    tokens: options.Tokens = None,
    inference: options.Inference = False,
    trace: options.Trace = None,
    gemm: options.Gemm = None,
    topology: options.Topology = None,
    model: options.Model = None,
    weights_only: options.WeightsOnly = False,
    steps: Annotated[
        int | None, typer.Option(help="Integrate each method's schedule over a run of N steps.")
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

    source = inputs.Source(
        network=network,
        batch=batch,
        tokens=tokens,
        inference=inference,
        trace=trace,
        gemm=gemm,
        pattern=pattern,
        topology=topology,
        model=model,
        weights_only=weights_only,
    )
    chosen = methods.split(",") if methods else []
    if steps is not None and not chosen:
        raise InputError("--steps integrates methods over a run; name some with --methods")
    workload = inputs.read_comparable(source, chosen)
    wanted = inputs.read_accelerators(names or (), accelerators, workload)
    configs = inputs.read_configs(wanted, settings or ())
    output.check_targets(csv=csv, parquet=parquet, plot=plot, report_dir=report_dir)
    reports = comparison.reports(configs, workload, chosen, progress=output.progress)
    rows = comparison.rows(reports)
    if steps is not None:
        _add_runs(rows, configs, workload, chosen, steps)
    if as_json:
        output.print_json(rows)
    else:
        _show(reports, rows)
    if csv is not None or parquet is not None:
        import pandas as pd

        output.write_frame(pd.DataFrame(rows), csv=csv, parquet=parquet)
    fastest = min(reports, key=lambda report: report.seconds)
    output.write_pictures(reports, fastest, plot=plot, report_dir=report_dir)


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
    from simulator import breakdown, quantities
    from simulator.cli import tables

    used = [p for p in breakdown.PASSES if any(row[f"seconds_{p}"] for row in rows)]
    texts = [
        [
            row["accelerator"],
            row["method"],
            quantities.seconds(row["seconds"]),
            f"{row['speedup']:.2f}x",
            *(quantities.seconds(row[f"seconds_{p}"]) for p in used),
            quantities.joules(row["energy_j"]),
            quantities.size(row["dram_bytes"]),
            quantities.percent(row["utilisation"], 1),
            *_own(row),
        ]
        for row in rows
    ]
    columns = ["accelerator", "method", ">time", ">speedup", *(f">{p}" for p in used)]
    columns += [">energy", ">off-chip", ">utilisation"]
    if "weight_bytes" in rows[0]:
        columns += [">weights", ">FLOPs"]
    if "run_seconds" in rows[0]:
        columns += [">run", ">run energy", ">pays after"]
    out = tables.console()
    out.print(tables.table(f"{rows[0]['workload']}", columns, texts))
    for method, claim in {row["method"]: row.get("published", "-") for row in rows}.items():
        if claim != "-":
            out.print(f"published for {method}: {claim}", highlight=False, markup=False)
    tables.show_notes(reports)


def _own(row: dict[str, Any]) -> list[str]:
    """Return the cells of the columns that only some comparisons have."""
    from simulator import quantities

    cells = []
    if "weight_bytes" in row:
        cells += [quantities.size(row["weight_bytes"]), f"{row['flop_ratio']:.3f}"]
    if "run_seconds" in row:
        paid = row["break_even_step"]
        cells += [quantities.seconds(row["run_seconds"]), quantities.joules(row["run_energy_j"])]
        cells.append("-" if paid is None else f"step {paid}")
    return cells
