"""`sparsight run`: one workload on one accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Options of one accelerator are read by `simulator.run_options`, which knows its module."""

OWN_OPTIONS = "Options of one accelerator: see sparsight accelerators NAME"

Network = Annotated[str | None, typer.Option(help="Network by name: sparsight networks.")]
Batch = Annotated[int | None, typer.Option(help="Images or sequences a step (default 32).")]
Trace = Annotated[str | None, typer.Option(help="Trace file, or the name of a shipped trace.")]
Gemm = Annotated[str | None, typer.Option(metavar="M,K,N", help="One matrix product.")]
Topology = Annotated[Path | None, typer.Option(help="SCALE-Sim topology file (.csv).")]
Method = Annotated[str | None, typer.Option(help="Sparsity method such as bdwp:2:8.")]
Pattern = Annotated[str | None, typer.Option(help="Pattern of the weights of --gemm: 2:8.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a config field; repeat as needed."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Csv = Annotated[Path | None, typer.Option(help="Write the operation table as CSV.")]
Parquet = Annotated[Path | None, typer.Option(help="Write the operation table as Parquet.")]
Plot = Annotated[
    Path | None, typer.Option(metavar="DIR|FILE", help="Write plots: a folder, .png or .svg.")
]
Html = Annotated[Path | None, typer.Option("--report", metavar="DIR", help="Write report.html.")]


def run(
    context: typer.Context,
    accelerator: Annotated[str, typer.Argument(help="Name: sparsight accelerators.")],
    network: Network = None,
    batch: Batch = None,
    trace: Trace = None,
    gemm: Gemm = None,
    topology: Topology = None,
    method: Method = None,
    pattern: Pattern = None,
    settings: Settings = None,
    as_json: Json = False,
    csv: Csv = None,
    parquet: Parquet = None,
    plot: Plot = None,
    report_dir: Html = None,
    layers: Annotated[int, typer.Option(min=1, help="Layers shown in the table.")] = 12,
) -> None:
    """Run one workload on one accelerator: time, energy, and where the time goes.

    With a method or a pattern, the dense workload runs too, and the speedup is shown.
    """
    from simulator.accelerators import find
    from simulator.cli import inputs, output

    source = inputs.Source(
        network=network, batch=batch, trace=trace, gemm=gemm, pattern=pattern, topology=topology
    )
    job = inputs.read_job(
        accelerator,
        source,
        method=method,
        settings=settings or (),
        extra=context.args,
        known=_option_names(context),
    )
    output.check_targets(csv=csv, parquet=parquet, plot=plot, report_dir=report_dir)
    model = find(accelerator)
    report = model.simulate(job.config, model.schedule(job.config, job.workload))
    dense = None
    if job.dense is not None:
        dense = model.simulate(job.config, model.schedule(job.config, job.dense))
    if as_json:
        output.print_json(_as_dict(report, dense))
    else:
        from simulator.cli import tables

        tables.show_report(report, dense, layers=layers)
    output.write_tables(report, csv=csv, parquet=parquet)
    output.write_pictures(report, dense, plot=plot, report_dir=report_dir)


def _as_dict(report: Any, dense: Any) -> dict[str, Any]:
    values: dict[str, Any] = report.as_dict()
    if dense is not None:
        values["dense_cycles"] = dense.cycles
        values["speedup_over_dense"] = dense.cycles / report.cycles
    return values


def _option_names(context: typer.Context) -> list[str]:
    return [name for parameter in context.command.params for name in parameter.opts]
