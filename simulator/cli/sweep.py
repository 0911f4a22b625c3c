"""`sparsight sweep`: run a study file, or go on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.table import Table

    from simulator.sweep.store import Store

SHOWN, LEAST_SHOWN = 12, 4
"""Rows of the fronts in the tables of a terminal, shared by the workloads; the least of each."""

KEYS = ("accelerator", "method")
"""What always names a row of a table; the table is that of one network and batch."""

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What to sweep.")]
StoreFile = Annotated[
    Path | None, typer.Option("--store", help="Results (default: STUDY.sqlite beside the study).")
]
Workers = Annotated[int | None, typer.Option(help="Processes (default: one a core).")]
Cluster = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="Run on this Dask scheduler.")
]
MaxFailures = Annotated[
    int | None, typer.Option("--max-failures", min=0, help="Stop above so many failed points.")
]
Html = Annotated[Path | None, typer.Option("--report", help="Write one HTML page to look around.")]


def sweep(
    study: StudyFile,
    store: StoreFile = None,
    workers: Workers = None,
    cluster: Cluster = None,
    max_failures: MaxFailures = None,
    report: Html = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    as_json: options.Json = False,
) -> None:
    """Run a study of many designs; show those that no other design beats.

    docs/study.md describes study files, examples/area_budget.toml is one.

    Finished points are kept in the store: the same command goes on where it stopped, and several of
    them share the work. Ctrl-C finishes with what is there.
    """
    from simulator.cli import output
    from simulator.sweep import Study, export
    from simulator.sweep.study import store_path

    if workers is not None and cluster is not None:
        raise InputError("--workers and --cluster cannot be combined; give one")
    output.check_targets(csv=csv, parquet=parquet, others=(report, store))
    made = Study.from_file(study)
    place = store or store_path(study)
    with made.executed(
        place,
        workers=workers,
        cluster=cluster,
        max_failures=max_failures,
        progress=not as_json,
    ) as opened:
        outcome = made.outcome
        assert outcome is not None
        front = export.front(opened)
        summary = {
            "study": made.definition.name,
            "store": str(place),
            "state": outcome.reason,
            "points": outcome.points,
            "failures": outcome.failures,
            "first_failure": export.first_error(opened),
            "objectives": list(made.definition.objectives),
            "pareto": _rows(front),
        }
        if as_json:
            output.print_json(summary)
        else:
            _show(summary, front)
        _export(opened, csv, parquet)
        if report is not None:
            with output.working(f"making {report}"):
                page = made.page(opened).encode()
            output.write_files({report: page})
    if outcome.failures and outcome.failures == outcome.points:
        raise InputError(f"every point of the study failed: {summary['first_failure']}")
    if not outcome.complete:
        raise typer.Exit(130 if outcome.reason == "interrupted" else 1)


def _export(opened: Store, csv: Path | None, parquet: Path | None) -> None:
    """Write every point as a table, and say so."""
    from simulator.cli import output
    from simulator.sweep import export

    for path, write in ((csv, export.write_csv), (parquet, export.write_parquet)):
        if path is not None:
            write(opened, path)
            output.say(f"wrote {path}")


def _rows(front: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the points of the front with plain values; what is missing is None."""
    named = front.drop(columns=["error"]).astype(object)
    columns = {str(name): named[name].where(named[name].notna(), None) for name in named}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _show(summary: dict[str, Any], front: pd.DataFrame) -> None:
    from simulator.cli import output, tables

    if not len(front) and summary["points"]:
        wanted = ", ".join(summary["objectives"])
        output.say(f"no point has every objective ({wanted}) and keeps the constraints")
    groups = front.groupby(["network", "batch"], observed=True, sort=False)
    places: dict[Any, Any] = dict(groups.indices)
    fronts = {_workload(*key): front.iloc[rows] for key, rows in places.items()}
    out = tables.console()
    title = f"{len(front)} of {summary['points']} points are on the front"
    if len(fronts) > 1:
        counts = ", ".join(f"{len(rows)} of {name}" for name, rows in fronts.items())
        out.print(f"{title} of their workload: {counts}\n", highlight=False, markup=False)
    at_most = max(LEAST_SHOWN, SHOWN // max(1, len(fronts)))
    columns, left_out = _fitting_columns(summary, front)
    for name, rows in fronts.items():
        heading = title if len(fronts) == 1 else f"{name}: {len(rows)} on the front"
        out.print(_front_table(heading, _spread(rows, at_most), columns))
    if shared := _shared(front):
        out.print(f"the same for all of them: {shared}", highlight=False, markup=False)
    hidden = sum(max(0, len(rows) - at_most) for rows in fronts.values())
    elsewhere = "--csv, --json or --report"
    if hidden:
        output.say(f"{hidden} further points of the front: {elsewhere}")
    if left_out:
        output.say(f"left out for want of room: {', '.join(left_out)}: {elsewhere}")
    if summary["failures"]:
        first = summary["first_failure"]
        output.say(f"{summary['failures']} points failed, one as {first}; --csv has all errors")
    output.say(f"{summary['state']}; results are in {summary['store']}")


def _workload(network: str, batch: int) -> str:
    return f"{network}, batch {batch}" if batch else network


def _spread(rows: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """Return as many rows, evenly spread, the first and the last among them."""
    import numpy as np

    places = np.linspace(0, len(rows) - 1, min(at_most, len(rows)))
    return rows.iloc[np.round(places).astype(int)]


def _front_table(title: str, rows: pd.DataFrame, columns: Sequence[str]) -> Table:
    from simulator.cli import tables

    named = [f">{name}" if rows[name].dtype.kind in "iuf" else name for name in columns]
    cells = [[_text(row[name]) for name in columns] for row in _rows(rows)]
    return tables.table(title, named, cells)


def _fitting_columns(summary: dict[str, Any], front: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the columns that there is room for, and those left out: never a key or objective."""
    from simulator.cli import tables

    columns, left_out = _shown_columns(summary, front), []
    objectives = [name.removeprefix("-") for name in summary["objectives"]]
    spare = [name for name in columns if name not in (*KEYS, *objectives)]
    spare.sort(key=lambda name: name != "point")
    while spare and not tables.fits(_front_table("", front, columns)):
        dropped = spare.pop(0 if spare[0] == "point" else -1)
        columns.remove(dropped)
        left_out.append(dropped)
    return columns, left_out


def _shown_columns(summary: dict[str, Any], front: pd.DataFrame) -> list[str]:
    """Return what tells the points of one front apart, and the objectives."""
    from simulator.sweep.definition import METRICS

    objectives = [name.removeprefix("-") for name in summary["objectives"]]
    hidden = {"error", "feasible", "network", "batch", *METRICS} - set(objectives)
    varying = [name for name in front.columns if name not in hidden and front[name].nunique() > 1]
    keys = [name for name in KEYS if name in varying]
    others = [name for name in varying if name not in (*keys, *objectives)]
    return [*keys, *others, *objectives]


def _shared(front: pd.DataFrame) -> str:
    """Return what the points of the front have in common: what was run, fields and quantities."""
    from simulator.sweep.definition import METRICS

    named = [name for name in front.columns if name not in {"point", "feasible", "error", *METRICS}]
    same = {name: front[name].iloc[0] for name in named if front[name].nunique(dropna=False) == 1}
    if same.get("batch") == 0:  # the model fixes it
        del same["batch"]
    return ", ".join(f"{name} {_text(value)}" for name, value in same.items())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
