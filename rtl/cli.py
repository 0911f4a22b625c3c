"""The commands of `sparsight rtl`: list designs, generate Verilog and benches, count gates.

`app` is a typer application for the command line to mount.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rtl.designs import DESIGNS, Design, find, measured, with_settings
from rtl.settings import split

app = typer.Typer(help="Generate Verilog from the simulator's parameters.", add_completion=False)

Setting = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter as field=value; may be repeated.")
]
NUMBER = "INTEGER"  # read by `whole_number`, as --set is
Rows = Annotated[str | None, typer.Option(metavar=NUMBER, help="Rows of the array.")]
Cols = Annotated[str | None, typer.Option(metavar=NUMBER, help="Columns of the array.")]
LargestN = Annotated[str | None, typer.Option("--n", metavar=NUMBER, help="Largest N of N:M.")]
LargestM = Annotated[str | None, typer.Option("--m", metavar=NUMBER, help="Largest M of N:M.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DesignName = Annotated[str, typer.Argument(help="A name that `rtl list` shows.")]


@app.command("list")
def list_designs(
    name: Annotated[str | None, typer.Argument(help="Show the parameters of this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show what can be generated, with its size at the defaults; or the parameters of one."""
    rows = [_row(design) for design in (DESIGNS if name is None else [find(name)])]
    if as_json:
        print(json.dumps({"designs": rows}))
        return
    _show_designs(rows)
    print("Lines of Verilog and generic gates (yosys, memories left out) at the defaults.")
    if name is None:
        print("sparsight rtl list NAME lists the parameters of a design, --json those of all.")
        return
    print("\nParameters, for --set field=value:")
    for field, value in rows[0]["parameters"].items():
        print(f"  {field} = {value}")


SHOWN = ("design", "summary", "timing", "lines", "cells", "flip_flops")


def _show_designs(rows: list[dict[str, Any]]) -> None:
    """Print the designs; where it is narrow, texts are folded, names and numbers stay whole."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("design", no_wrap=True)
    for name in ("what", "timing"):
        made.add_column(name, overflow="fold")
    for name in ("lines", "gates", "flip-flops"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        sizes = (f"{row[name]:,}" if name in row else "-" for name in SHOWN[3:])
        made.add_row(*(row[name] for name in SHOWN[:3]), *sizes)
    probe = Console()
    sized = probe.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    Console(width=max(probe.width, 80 if sized else 120)).print(made)


def _row(design: Design) -> dict[str, Any]:
    sizes = measured().get(design.name, {})
    return {
        "design": design.name,
        "summary": design.summary,
        "timing": design.timing,
        **{name: int(sizes[name]) for name in SHOWN[3:] if name in sizes},
        "parameters": dataclasses.asdict(design.parameters),
    }


@app.command()
def generate(
    name: DesignName,
    output: Annotated[Path, typer.Option("--output", "--out", "-o", help="Verilog file to write.")],
    rows: Rows = None,
    cols: Cols = None,
    n: LargestN = None,
    m: LargestM = None,
    settings: Setting = None,
    module: Annotated[str, typer.Option(help="Name of the module.")] = "",
) -> None:
    """Write the synthesisable Verilog of a design."""
    from rtl.export import write_verilog

    design = find(name)
    parameters = with_settings(design, _settings(settings, rows=rows, cols=cols, n=n, m=m))
    called = module or design.module
    write_verilog(design.make(parameters), name=called, path=output)
    print(f"{output}: module {called}")


@app.command()
def bench(
    name: DesignName,
    output: Annotated[Path, typer.Option("--output", "--out", "-o", help="Directory to write to.")],
    rows: Rows = None,
    cols: Cols = None,
    n: LargestN = None,
    m: LargestM = None,
    settings: Setting = None,
    cycles: Annotated[
        int | None,
        typer.Option(help="Cycles to record; by default a whole program, or 200 of random inputs."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 1,
) -> None:
    """Write Verilog, vectors and a cocotb test that replays them: `make` runs it with Icarus."""
    from rtl.bench import write_bench

    design = find(name)
    parameters = with_settings(design, _settings(settings, rows=rows, cols=cols, n=n, m=m))
    made = write_bench(design, parameters, directory=output, cycles=cycles, seed=seed)
    module = made.module
    print(f"{output}: {module}.v, vectors.json ({made.cycles} cycles), test_{module}.py, Makefile")
    if made.still:
        names = ", ".join(made.still)
        print(f"never changed, so that no fault shows in it: {names}", file=sys.stderr)


@app.command()
def measure(name: DesignName, settings: Setting = None, as_json: Json = False) -> None:
    """Count the lines, generic gates and flip-flops of a design with yosys."""
    row = measure_design(find(name), split(settings or ()))
    if as_json:
        print(json.dumps(row))
    else:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


@app.command()
def synth(
    name: DesignName,
    settings: Setting = None,
    liberty: Annotated[
        Path | None, typer.Option(help="Cell library; Debian's OSU 0.18 um by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure area, clock and energy with yosys and OpenSTA: bit-weight designs, PIM, hash."""
    from rtl.synthesis.command import synth as measure_synthesis

    row = measure_synthesis(name, split(settings or ()), liberty)
    if as_json:
        print(json.dumps(row))
    else:
        shown = row | {"area": f"{row['area']} um2"}
        print("\n".join(f"{key:18} {value}" for key, value in shown.items()))


def measure_design(design: Design, settings: dict[str, str]) -> dict[str, Any]:
    """Return design, lines, cells and flip-flops, as in `blocks.csv`."""
    from rtl.cells import count_cells
    from rtl.export import verilog_text

    component = design.make(with_settings(design, settings))
    text = verilog_text(component, name=design.module)
    sizes = count_cells(text, top=design.module)
    return {"design": design.name, "lines": len(text.splitlines()), **sizes}


def _settings(settings: list[str] | None, **short: str | None) -> dict[str, str]:
    """Return the settings by field, those with an option of their own included."""
    named = {field: value for field, value in short.items() if value is not None}
    return named | split(settings or (), given=named)
