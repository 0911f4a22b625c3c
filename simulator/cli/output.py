"""What commands print and write: JSON, tables as CSV or Parquet, pictures, the HTML report."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.files import file_named, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from rich.progress import Progress
    from rich.status import Status

    from simulator.report import Report


BAR_AFTER_S = 2.0
"""Seconds after which a progress bar appears."""


def print_json(value: Any) -> None:
    """Print one JSON value on standard output, and nothing else."""
    print(json.dumps(value, allow_nan=False, indent=2))


def say(sentence: str) -> None:
    """Tell the user something beside the result, on standard error."""
    print(sentence, file=sys.stderr)


def check_targets(
    *,
    csv: Path | None = None,
    parquet: Path | None = None,
    plot: Path | None = None,
    report_dir: Path | None = None,
    timeline: Path | None = None,
    others: Sequence[Path | None] = (),
) -> None:
    """Refuse a place that cannot be written before any time is spent; make folders.

    `others` are files of any other kind.
    """
    places = (csv, parquet, plot, report_dir, timeline, *others)
    named = [file.absolute() for file in places if file is not None]
    if len(set(named)) < len(named):
        twice = next(file for file in named if named.count(file) > 1)
        raise InputError(f"{twice} is named for two outputs; give each a place of its own")
    page = plot if plot is not None and plot.suffix else None
    for file in (csv, parquet, page, timeline, *others):
        if file is not None:
            _check_file(file)
    if plot is not None and plot.suffix not in ("", ".png", ".svg"):
        raise InputError(f"--plot must be a folder or end in .png or .svg, not {plot.name!r}")
    if timeline is not None and timeline.suffix != ".json":
        raise InputError(f"--timeline must end in .json, not be {timeline.name!r}")
    for folder in (report_dir, plot if plot is not None and not plot.suffix else None):
        if folder is not None:
            make_folder(folder)


def _check_file(file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise InputError(f"cannot write {file}: there is no folder {folder}")
    _check_writable(file_named(file).parent, f"cannot write {file}")


def _check_writable(folder: Path, refusal: str) -> None:
    if not os.access(folder, os.W_OK):
        raise InputError(f"{refusal}: the folder {folder} may not be written")


def write_tables(report: Report, *, csv: Path | None, parquet: Path | None) -> None:
    """Write the operation table of a report."""
    if csv is not None or parquet is not None:
        write_frame(report.frame(), csv=csv, parquet=parquet)


def write_frame(frame: pd.DataFrame, *, csv: Path | None, parquet: Path | None) -> None:
    """Write a table, whole or not at all."""
    contents: dict[Path, bytes] = {}
    if csv is not None:
        contents[csv] = frame.to_csv(index=False).encode()
    if parquet is not None:
        sink = io.BytesIO()
        frame.to_parquet(sink, index=False)
        contents[parquet] = sink.getvalue()
    write_files(contents)


def write_rows(
    rows: Sequence[Mapping[str, Any]], *, csv: Path | None, parquet: Path | None = None
) -> None:
    """Write rows as a table, where one was asked for."""
    if csv is not None or parquet is not None:
        import pandas as pd

        write_frame(pd.DataFrame(rows), csv=csv, parquet=parquet)


def write_files(contents: dict[Path, bytes]) -> None:
    """Write files whole or not at all, and say which."""
    write_whole(contents)
    for path in contents:
        say(f"wrote {path}")


def write_pictures(
    reports: Sequence[Report], closest: Report, *, plot: Path | None, report_dir: Path | None
) -> None:
    """Draw the plots and the HTML report that were asked for; the first report is the baseline."""
    if plot is not None:
        from simulator import plots

        write_files(plots.render(reports, closest, plot))
    if report_dir is not None:
        from simulator import html_report

        write_files({report_dir / "report.html": html_report.render(reports, closest).encode()})


def progress(items: Iterable[Any]) -> Iterable[Any]:
    """Yield the items with a bar on standard error that appears once two seconds have passed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    known = list(items)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=len(known))
    with _shown_after_a_while(bar):
        for item in known:
            yield item
            bar.advance(task)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on standard error, after two seconds, that something of unknown length is going on."""
    from rich.console import Console

    with _shown_after_a_while(Console(stderr=True).status(what)):
        yield


@contextmanager
def _shown_after_a_while(shown: Progress | Status) -> Iterator[None]:
    """Start what is shown once two seconds have passed, even if the work never pauses."""
    started = threading.Event()

    def start() -> None:
        started.set()
        shown.start()

    timer = threading.Timer(BAR_AFTER_S, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if started.is_set():
            shown.stop()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; raise `InputError` if the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    _check_writable(folder, "cannot write there")
