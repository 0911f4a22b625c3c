"""`sparsight run`: one workload on one accelerator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from simulator.cli import options
from workloads.errors import InputError

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Options of one accelerator are read by `simulator.run_options`, which knows its module."""

SHOWN_LAYERS = 12
"""Layers of the human table unless the user says otherwise."""


def run(
    context: typer.Context,
    accelerator: Annotated[str, typer.Argument(help="Name: sparsight accelerators.")],
    network: options.Network = None,
    batch: options.Batch = None,
    tokens: options.Tokens = None,
    inference: options.Inference = False,
    trace: options.Trace = None,
    gemm: options.Gemm = None,
    topology: options.Topology = None,
    model: options.Model = None,
    weights_only: options.WeightsOnly = False,
    method: options.Method = None,
    pattern: options.Pattern = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    plot: options.Plot = None,
    report_dir: options.Html = None,
    timeline: options.Timeline = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Layers shown in the table (default 12).")
    ] = None,
) -> None:
    """Run one workload on one accelerator: time, energy, and where the time goes.

    With a method or a pattern, the dense workload runs too, and the speedup is shown. Some
    accelerators have options of their own: sparsight accelerators NAME lists them.
    """
    from simulator.cli import inputs, output

    job = inputs.read_job(
        accelerator,
        inputs.Source.of(context.params),
        method=method,
        settings=settings or (),
        extra=context.args,
        known=[name for parameter in context.command.params for name in parameter.opts],
    )
    for remark in job.remarks:
        output.say(f"note: {remark}")
    if as_json and layers is not None:
        raise InputError("--layers applies to the table; --json has every operation")
    output.check_targets(
        csv=csv, parquet=parquet, plot=plot, report_dir=report_dir, timeline=timeline
    )
    with output.working("simulating (the first run on a machine compiles)"):
        report = job.simulate(job.workload)
        dense = None if job.dense is None else job.simulate(job.dense)
    _show(report, dense, as_json=as_json, layers=layers or SHOWN_LAYERS)
    output.write_tables(report, csv=csv, parquet=parquet)
    reports = [report] if dense is None else [dense, report]
    output.write_pictures(reports, report, plot=plot, report_dir=report_dir)
    if timeline is not None:
        from simulator.timeline import encode

        output.write_files({timeline: encode(report)})


def _show(report: Any, dense: Any, *, as_json: bool, layers: int) -> None:
    if as_json:
        from simulator.cli import output

        output.print_json(_as_dict(report, dense))
    else:
        from simulator.cli import tables

        tables.show_report(report, dense, layers=layers)


def _as_dict(report: Any, dense: Any) -> dict[str, Any]:
    values: dict[str, Any] = report.as_dict()
    if dense is not None:
        values["dense_cycles"] = dense.cycles
        values["speedup_over_dense"] = dense.cycles / report.cycles
    return values
