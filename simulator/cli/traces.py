"""`sparsight capture` and `sparsight trace`: make trace files, and say what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulator.cli import options
from simulator.cli.once import Once

if TYPE_CHECKING:
    from workloads.operations import Operation, Workload

trace_app = typer.Typer(help="Look into trace files.")


def capture(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="Returns (module, inputs, loss).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Trace to write.")],
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tensor to keep beside it, such as 'conv1.*'; repeat."),
    ] = None,
    statistics: Annotated[bool, typer.Option(help="Measure zeros and N:M energy.")] = True,
) -> None:
    """Run one training step of a PyTorch module and write its trace.

    FUNCTION takes nothing and returns (module, inputs), (module, inputs, loss) or a TrainingStep.
    MODULE is a Python module or a .py file.
    """
    from simulator.cli import output
    from workloads.capture import capture_to_file

    output.check_targets(parquet=out)
    with output.working(f"running one training step of {target}"):
        workload = capture_to_file(
            target, out, statistics=statistics, keep_tensors=tuple(keep or ())
        )
    print(f"{workload.name}: {len(workload)} operations, {workload.macs:,} MACs")
    output.say(f"wrote {out}")


@trace_app.callback()
def traces() -> None:
    """Look into trace files."""


@trace_app.command("list", cls=Once)
def list_traces(as_json: options.Json = False) -> None:
    """List the traces that come with this package."""
    from simulator.cli.lists import show
    from workloads.trace import read_info, shipped

    rows = []
    for name, path in shipped().items():
        info = read_info(path)
        rows.append({"trace": name, "source": info.source, "command": info.command})
    show("Shipped traces: --trace NAME", rows, as_json)


@trace_app.command("show", cls=Once)
def show_trace(
    trace: Annotated[str, typer.Argument(help="Trace file, or the name of a shipped trace.")],
    as_json: options.Json = False,
) -> None:
    """Show what a trace says about itself, and its operations."""
    from simulator.cli import inputs
    from simulator.cli.lists import show
    from workloads.trace import read_info, read_trace

    path = inputs.trace_path(trace)
    info, workload = read_info(path), read_trace(path)
    rows = [_row(op) for op in workload]
    if not as_json:
        for name in ("name", "method", "source", "command"):
            print(f"{name + ':':9}{getattr(info, name)}")
        for note in info.notes:
            print(f"note:    {note}")
        print(f"{len(workload)} operations, {workload.macs:,} MACs")
    show("", rows, as_json)


@trace_app.command("topology", cls=Once)
def write_topology(
    trace: Annotated[str, typer.Argument(help="Trace file, or the name of a shipped trace.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.csv", help="File to write.")],
    form: Annotated[
        Literal["gemm", "conv"], typer.Option(help="Every product, or forward convolutions.")
    ] = "gemm",
) -> None:
    """Write the products of a trace as a SCALE-Sim topology file."""
    from simulator.cli import inputs, output
    from workloads import scalesim
    from workloads.trace import read_trace

    workload: Workload = read_trace(inputs.trace_path(trace))
    output.check_targets(csv=out)
    scalesim.write_topology(out, workload, kind=form)
    output.say(f"wrote {out}")


def _row(op: Operation) -> dict[str, Any]:
    from workloads.operations import MatMul, Selection

    row: dict[str, Any] = {"name": op.name, "pass": str(op.pass_)}
    if isinstance(op, MatMul):
        row |= {"kind": op.kind, "m": op.m, "k": op.k, "n": op.n, "batch": op.batch}
        row |= {"elements": op.out.elements, "pattern": _patterns((op.left, op.right))}
        row["zeros"] = " ".join(_zeros(operand) for operand in (op.left, op.right))
        return row
    kind = "selection" if isinstance(op, Selection) else op.kind
    pattern = str(op.pattern) if isinstance(op, Selection) else "-"
    row |= {"kind": kind, "m": 0, "k": 0, "n": 0, "batch": 1}
    return row | {"elements": op.elements, "pattern": pattern, "zeros": "-"}


def _patterns(operands: Sequence[Any]) -> str:
    sparse = [f"{o.tensor} {o.pattern}" for o in operands if str(o.pattern) != "dense"]
    return ", ".join(sparse) or "dense"


def _zeros(operand: Any) -> str:
    if operand.statistics is None:
        return f"{operand.tensor} ?"
    return f"{operand.tensor} {100 * operand.statistics.zero_fraction:.0f} %"
