"""`sparsight reproduce`: published numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import options
from workloads.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from simulator.reproduce import Judged, Verdict

COLOURS: dict[Verdict, str] = {
    "ok": "green",
    "miss": "red",
    "expected-miss": "yellow",
    "peer": "cyan",
    "recalled": "dim",
    "shown": "dim",
}


def reproduce(
    selection: Annotated[
        str | None, typer.Argument(metavar="[PAPER[/EXHIBIT]]", help="All if left out.")
    ] = None,
    as_json: options.Json = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write (default sim_results).")
    ] = None,
    write: Annotated[bool, typer.Option(help="Write the files.")] = True,
    summary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table of models into this Markdown file."),
    ] = None,
) -> int:
    """Compare published numbers with ours; exit with 1 if one misses that should not."""
    from simulator import agreement, published
    from simulator import reproduce as reproduction
    from simulator.cli import output

    if not write and (out is not None or summary is not None):
        raise InputError("--out and --summary say where to write, --no-write that nothing is")
    folder = out or Path("sim_results")
    exhibits = published.select(selection)
    text = None if summary is None else _read_text(summary)
    for name in exhibits if write else ():
        output.make_folder((folder / name).parent)
    judged = {name: reproduction.judge(name) for name in output.progress(exhibits)}
    rows = [each for name in exhibits for each in judged[name]]
    if as_json:
        output.print_json({"rows": [each.as_dict() for each in rows]})
    else:
        _show(judged, notes=selection is not None)
    if write:
        for name in exhibits:
            output.write_files(reproduction.files(name, judged[name], folder))
        whole = agreement.recorded(folder)
        output.write_files({folder / agreement.PAGE: agreement.page(whole).encode()})
        if summary is not None and text is not None:
            table = agreement.between_markers(text, agreement.summary(whole))
            output.write_files({summary: table.encode()})
    return int(any(each.verdict == "miss" for each in rows))


def _read_text(file: Path) -> str:
    """Return a Markdown file with markers, or refuse it before any time is spent."""
    from simulator import agreement

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file} as a text: {error}") from error
    agreement.between_markers(text, "")
    return text


def _show(judged: dict[str, list[Judged]], *, notes: bool) -> None:
    """Print one table of all rows, the reasons of the misses below it, and how many agree."""
    from simulator import agreement
    from simulator.cli import tables

    every = [each for rows in judged.values() for each in rows]
    reasons = agreement.numbered(each.row.expected_miss for each in every)
    out = tables.console(wide=150)
    columns = ("quantity", ">published", ">ours", ">error", ">tolerance", "how read", "verdict")
    out.print(tables.table("", columns, _lines(judged, reasons)))
    for reason, number in reasons.items():
        out.print(f"[{number}] {reason}", style="yellow", highlight=False, markup=False)
    if notes:
        for note in dict.fromkeys(each.row.note for each in every if each.row.note):
            out.print(f"note: {note}", highlight=False, markup=False)
    out.print(f"{agreement.counts(judged)}; peer, recalled and shown rows are not asserted")


def _lines(
    judged: dict[str, list[Judged]], reasons: dict[str, int]
) -> Iterator[Sequence[str | Text]]:
    from rich.text import Text

    from simulator import agreement

    for name, rows in judged.items():
        yield Text(name, style="bold"), "", "", "", "", "", ""
        for each in rows:
            verdict = Text(each.verdict, style=COLOURS[each.verdict])
            if each.row.expected_miss:
                verdict.append(f" [{reasons[each.row.expected_miss]}]")
            yield f"  {each.row.quantity}", *agreement.texts(each), each.row.tag, verdict
