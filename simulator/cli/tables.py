"""Reports as tables for a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from simulator import breakdown, comparison, quantities
from simulator.breakdown import time_text
from simulator.cli import details
from simulator.report import Report


def console(wide: int = 120) -> Console:
    """Return the console on standard output; if it is no terminal, `wide` columns or COLUMNS.

    Below 80 columns lines are wrapped: narrower tables would lose their names.
    """
    probe = Console()
    sized = probe.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=max(probe.width, 80 if sized else wide))


class _Titled(Table):
    """A table under a title that may be wider than its columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title, self.title = self.title, None
        if title:
            yield Text(str(title), style="bold")
        yield from super().__rich_console__(console, options)
        self.title = title


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Make a table; columns whose name starts with `>` are numbers, aligned to the right.

    Where the terminal is narrow, texts are folded and numbers stay whole. Texts are shown as they
    are: a layer called `[red]` is no markup.
    """
    made = _Titled(title=title or None, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        if name.startswith(">"):
            made.add_column(name.removeprefix(">"), justify="right", no_wrap=True)
        else:
            made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def of_columns(title: str, columns: breakdown.Columns) -> Table:
    """Make a table of named columns."""
    return table(title, list(columns), list(zip(*columns.values(), strict=True)))


def fits(made: Table) -> bool:
    """Return whether a table is no wider than the terminal."""
    out = console()
    unlimited = out.options.update(max_width=10_000)
    return Measurement.get(out, unlimited, made).maximum <= out.width


def show_report(report: Report, dense: Report | None, *, layers: int) -> None:
    """Print totals, where the time goes, and the layers that take most of it."""
    out = console()
    method = "" if report.method == "dense" else f", {report.method}"
    out.print(Text(f"\n{report.workload}{method} on {report.accelerator}", style="bold"))
    out.print(_totals(report, dense))
    for title, columns, rows in details.tables(report.extra):
        made = table(title, columns, rows)
        made.show_header = any(name.strip(">") for name in columns)
        out.print(made)
    if len(breakdown.cycles_by(report, "pass")) > 1:
        out.print(_passes(report, dense))
    by_pass = _layers(report, layers, passes=True)
    out.print(by_pass if fits(by_pass) else _layers(report, layers, passes=False))
    if report.energy_pj:
        out.print(_energy(report, dense))
    show_notes([report])


def show_notes(reports: Sequence[Report]) -> None:
    """Print the notes of the reports, each sentence once."""
    out = console()
    for note in comparison.notes(reports):
        out.print(f"note: {note}", style="yellow", highlight=False, markup=False)


def _totals(report: Report, dense: Report | None) -> Table:
    rows = [] if "versions" in report.extra else _time_and_traffic(report)
    rows += _lines(report, [name for name in report.extra if name not in report.headline])
    if dense is not None:
        speedup = f"{dense.cycles / report.cycles:.2f}x"
        rows.append(("speedup", speedup, f"dense takes {quantities.seconds(dense.seconds)}"))
    made = table("", ("", ">", ""), rows)
    made.show_header = False
    return made


def _time_and_traffic(report: Report) -> list[tuple[str, str, str]]:
    simulated = "simulated " if report.headline else ""
    energy = details.energy_covers(report.energy_pj)
    return [
        *_lines(report, report.headline, energy=energy),
        (
            f"{simulated}time",
            quantities.seconds(report.seconds),
            f"{quantities.count(report.cycles)} cycles",
        ),
        (
            "utilisation",
            quantities.percent(report.utilisation, 1),
            f"useful MACs over cycles x {quantities.count(report.peak_macs_per_cycle)}",
        ),
        (f"{simulated}energy", quantities.joules(report.energy_j), energy),
        (f"{simulated}off-chip traffic", quantities.size(report.dram_bytes), "reads and writes"),
    ]


def _lines(
    report: Report, names: Iterable[str], *, energy: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield the lines of those details that are numbers or texts; `energy` says what it covers."""
    for name in names:
        value = report.extra[name]
        if details.is_scalar(value):
            shown, unit = quantities.of_key(name, value)
            yield quantities.label(name), shown, energy if name.endswith("_j") else unit


def _passes(report: Report, dense: Report | None) -> Table:
    ours, theirs = (breakdown.cycles_by(r, "pass") if r else {} for r in (report, dense))
    total = sum(ours.values())
    rows = []
    for name in sorted({**ours, **theirs}, key=breakdown.pass_order):
        cycles = ours.get(name, 0)
        row = [name, time_text(report, cycles), quantities.percent(cycles, total)]
        if dense is not None:
            row += [time_text(dense, theirs.get(name, 0)), _ratio(theirs.get(name), cycles)]
        rows.append(row)
    extra = (">dense", ">speedup") if dense is not None else ()
    return table("Time by pass", ("pass", ">time", ">share", *extra), rows)


def _layers(report: Report, at_most: int, *, passes: bool) -> Table:
    """Make the table of layers, with a column for each pass if there is room for `passes`."""
    layers = breakdown.largest_layers(report, at_most)
    shown = breakdown.step_passes(report) if passes else []
    overlap = breakdown.overlap(report)
    title = f"Time by layer: {overlap}" if overlap else "Time by layer"
    return of_columns(title, breakdown.layer_columns(report, layers, shown))


def _energy(report: Report, dense: Report | None) -> Table:
    total = sum(report.energy_pj.values())
    rows = []
    for name, value in report.energy_pj.items():
        row = [name, quantities.joules(value * 1e-12), quantities.percent(value, total)]
        if dense is not None:
            row.append(quantities.joules(dense.energy_pj.get(name, 0) * 1e-12))
        rows.append(row)
    extra = (">dense",) if dense is not None else ()
    return table("Energy by component", ("component", ">energy", ">share", *extra), rows)


def _ratio(theirs: int | None, ours: int | None) -> str:
    return f"{theirs / ours:.2f}x" if theirs and ours else "-"
