"""`sparsight compare`: several methods or accelerators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options

if TYPE_CHECKING:
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
    chosen = methods.split(",") if methods else []
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
        ]
        for row in rows
    ]
    columns = ["accelerator", "method", ">time", ">speedup", *(f">{p}" for p in used)]
    columns += [">energy", ">off-chip", ">utilisation"]
    out = tables.console()
    out.print(tables.table(f"{rows[0]['workload']}", columns, texts))
    tables.show_notes(reports)
