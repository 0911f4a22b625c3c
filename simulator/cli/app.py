"""The commands of `sparsight`, in the order in which help shows them."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from simulator.cli import compare, lists, reproduce, rtl, run, serve, sweep, traces
from simulator.cli.once import Once

app = typer.Typer(
    help="Simulate and co-design accelerators for sparse training.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sparsight {metadata.version('sparsight')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Simulate and co-design accelerators for sparse training."""


app.command(cls=Once, context_settings=run.CONTEXT)(run.run)
for command in (compare.compare, serve.serve, reproduce.reproduce, sweep.sweep, traces.capture):
    app.command(cls=Once)(command)
app.command(context_settings=rtl.CONTEXT)(rtl.rtl)
app.add_typer(traces.trace_app, name="trace")
for listing in (lists.networks, lists.accelerators, lists.methods, lists.models, lists.explain):
    app.command(cls=Once)(listing)
