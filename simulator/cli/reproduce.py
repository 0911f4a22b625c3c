"""`sparsight reproduce`: published numbers beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    "recalled": "dim",
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
) -> int:
    """Compare published numbers with ours; exit with 1 if one misses that should not."""
    from simulator import published
    from simulator import reproduce as reproduction
    from simulator.cli import output

    if out is not None and not write:
        raise InputError("--out says where to write, --no-write that nothing is; give one")
    folder = out or Path("sim_results")
    exhibits = published.select(selection)
    judged = {name: reproduction.judge(name) for name in output.progress(exhibits)}
    rows = [each for name in exhibits for each in judged[name]]
    if as_json:
        output.print_json({"rows": [each.as_dict() for each in rows]})
    else:
        _show(judged)
    if write:
        for name in exhibits:
            output.make_folder((folder / name).parent)
            output.write_files(reproduction.files(name, judged[name], folder))
    return int(any(each.verdict == "miss" for each in rows))


def _show(judged: dict[str, list[Judged]]) -> None:
    from simulator.cli import tables

    out = tables.console()
    for name, rows in judged.items():
        columns = ("quantity", ">published", ">ours", ">rel. error", ">tolerance", "verdict")
        out.print(tables.table(name, columns, [_texts(each) for each in rows]))
        reasons = {each.row.expected_miss: None for each in rows if each.row.expected_miss}
        for reason in reasons:
            out.print(f"expected miss: {reason}", style="yellow", highlight=False, markup=False)
        for note in dict.fromkeys(each.row.note for each in rows if each.row.note):
            out.print(f"note: {note}", highlight=False, markup=False)
    out.print(_counts([each for rows in judged.values() for each in rows]))


def _texts(each: Judged) -> Sequence[str | Text]:
    from rich.text import Text

    row = each.row
    bound = "" if row.relation == "=" else f"{row.relation} "
    unit = "" if row.unit == "-" else f" {row.unit}"
    return (
        row.quantity,
        f"{bound}{_number(row.published)}{unit}",
        f"{_number(each.ours)}{unit}" if each.computed else "-",
        f"{100 * each.rel_error:+.2f} %" if each.computed else "-",
        "not asserted" if row.tolerance is None else f"{100 * row.tolerance:g} %",
        Text(each.verdict, style=COLOURS[each.verdict]),
    )


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.4g}"


def _counts(rows: Sequence[Judged]) -> str:
    counts = Counter(each.verdict for each in rows)
    shown = "; recalled rows are shown, not asserted" if counts["recalled"] else ""
    return ", ".join(f"{counts[name]} {name}" for name in COLOURS if counts[name]) + shown
