"""`sparsight compare`: several methods or accelerators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.report import Report


def compare(
    accelerators: Annotated[list[str], typer.Argument(help="One or more names.")],
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
    )
    chosen = [] if methods is None else methods.split(",")
    configs = inputs.read_configs(accelerators, settings or ())
    workload = inputs.read_comparable(source, chosen)
    output.check_targets(csv=csv, parquet=parquet, plot=plot, report_dir=report_dir)
    reports = comparison.reports(configs, workload, chosen, progress=output.progress)
    rows = comparison.rows(reports)
    if as_json:
        output.print_json(rows)
    else:
        _show(reports, rows)
    if csv is not None or parquet is not None:
        import pandas as pd

        output.write_frame(pd.DataFrame(rows), csv=csv, parquet=parquet)
    fastest = min(reports, key=lambda report: report.seconds)
    output.write_pictures(reports, fastest, plot=plot, report_dir=report_dir)


def _show(reports: Sequence[Report], rows: Sequence[dict[str, Any]]) -> None:
    from simulator.cli import tables

    title = str(rows[0]["workload"])
    names, totals, passes = _columns(rows)
    out = tables.console()
    whole = _table(title, {**names, **_between(totals, passes)})
    if tables.fits(whole):
        out.print(whole)
    else:
        out.print(_table(title, {**names, **totals}))
        out.print(_table("Time by pass", {**names, **passes}))
    tables.show_notes(reports)


Columns = dict[str, list[str]]


def _columns(rows: Sequence[dict[str, Any]]) -> tuple[Columns, Columns, Columns]:
    """Return the texts of the names, of the totals and of the times by pass."""
    from simulator import breakdown, quantities

    names = {name: [str(row[name]) for row in rows] for name in ("accelerator", "method")}
    totals = {
        ">time": [quantities.seconds(row["seconds"]) for row in rows],
        ">speedup": [f"{row['speedup']:.2f}x" for row in rows],
        ">energy": [quantities.joules(row["energy_j"]) for row in rows],
        ">off-chip": [quantities.size(row["dram_bytes"]) for row in rows],
        ">utilisation": [quantities.percent(row["utilisation"], 1) for row in rows],
    }
    passes = {
        f">{name}": [quantities.seconds(row[f"seconds_{name}"]) for row in rows]
        for name in breakdown.PASSES
        if any(row[f"seconds_{name}"] for row in rows)
    }
    return names, totals, passes


def _between(totals: Columns, passes: Columns) -> Columns:
    """Put the times by pass after the time and the speedup."""
    first = dict(list(totals.items())[:2])
    return {**first, **passes, **totals}


def _table(title: str, columns: Columns) -> Table:
    from simulator.cli import tables

    return tables.table(title, list(columns), list(zip(*columns.values(), strict=True)))
