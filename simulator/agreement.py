"""How well the models agree with what was published, as Markdown: all rows, and a summary.

The summary has one row per exhibit and stands in the README between two markers. What an exhibit
is compared with, and which of its rows stands for it, is data: `published/exhibits.csv`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator import published
from simulator.reproduce import VERDICTS, Judged
from workloads.errors import InputError

BEGIN, END = "<!-- agreement: begin -->", "<!-- agreement: end -->"
"""Lines in a Markdown file between which the summary is written."""

PAGE = "agreement.md"
"""Name of the page of all rows, beside the folders of the papers."""

Table = Mapping[str, Sequence[Judged]]
"""The judged rows of each exhibit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """What a reader must know of an exhibit: the model, what it is held against, its headline."""

    model: str
    compared_with: str
    headline: str


def recorded(folder: Path) -> dict[str, list[Judged]]:
    """Return the rows of every exhibit whose results lie in `folder`, without computing any."""
    return {
        exhibit: _recorded(exhibit, folder / f"{exhibit}.ours.csv")
        for exhibit in published.exhibits()
        if (folder / f"{exhibit}.ours.csv").is_file()
    }


def _recorded(exhibit: str, file: Path) -> list[Judged]:
    with open(file, encoding="utf-8", newline="") as lines:
        ours = {row["quantity"]: float(row["ours"] or "nan") for row in csv.DictReader(lines)}
    return [
        Judged(row=row, ours=ours[row.quantity])
        for row in published.read(exhibit)
        if row.quantity in ours
    ]


def descriptions() -> dict[str, Exhibit]:
    """Return what stands in the table for each described exhibit, in the order of the table."""
    with open(published.FOLDER / "exhibits.csv", encoding="utf-8", newline="") as lines:
        return {
            row["exhibit"]: Exhibit(
                model=row["model"], compared_with=row["compared with"], headline=row["headline"]
            )
            for row in csv.DictReader(lines)
        }


def page(table: Table) -> str:
    """Return one page with every row, the reasons of the misses numbered below."""
    reasons = numbered(each.row.expected_miss for rows in table.values() for each in rows)
    lines = [
        "# Published numbers beside ours",
        "",
        f"Written by `sparsight reproduce`: {counts(table)}.",
        "",
        "| exhibit | quantity | published | ours | error | tolerance | how read | verdict |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
        *(_line(exhibit, each, reasons) for exhibit, rows in table.items() for each in rows),
        "",
        "How read: seen in the source, measured by running another tool, derived from what was",
        "seen, or recalled from memory. Verdicts: `peer`, `recalled` and `shown` are not asserted.",
        "",
        "## Why ours misses",
        "",
        *(f"{number}. {reason}" for reason, number in reasons.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(exhibit: str, each: Judged, reasons: Mapping[str, int]) -> str:
    reason = each.row.expected_miss
    verdict = f"{each.verdict} ({reasons[reason]})" if reason else each.verdict
    return _cells(exhibit, each.row.quantity, *texts(each), each.row.tag, verdict)


def texts(each: Judged) -> tuple[str, str, str, str]:
    """Return published with its unit, ours, relative error and tolerance for a reader."""
    row = each.row
    bound = "" if row.relation == "=" else f"{row.relation} "
    unit = "" if row.unit == "-" else f" {row.unit}"
    return (
        f"{bound}{_number(row.published)}{unit}",
        _number(each.ours) if each.computed else "-",
        _percent(each.rel_error) if each.computed else "-",
        "-" if row.tolerance is None else f"{100 * row.tolerance:g} %",
    )


def numbered(reasons: Iterable[str]) -> dict[str, int]:
    """Number different sentences in the order in which they come; the empty one has no number.

    >>> numbered(["wide", "", "slow", "wide"])
    {'wide': 1, 'slow': 2}
    """
    different = dict.fromkeys(reason for reason in reasons if reason)
    return {reason: number for number, reason in enumerate(different, start=1)}


def counts(table: Table) -> str:
    """Return how many rows have each verdict."""
    found = Counter(each.verdict for rows in table.values() for each in rows)
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict])


def summary(table: Table) -> str:
    """Return one row per exhibit: how many rows agree, how many miss, and one of them."""
    known = descriptions()
    order = [name for name in dict.fromkeys([*known, *table]) if name in table]
    lines = [
        "| model | compared with | rows within tolerance | expected misses | one of the rows |",
        "| --- | --- | --- | --- | --- |",
        *(_summary_line(name, known.get(name), table[name]) for name in order),
    ]
    return "\n".join(lines) + "\n"


def _summary_line(name: str, known: Exhibit | None, rows: Sequence[Judged]) -> str:
    found = Counter(each.verdict for each in rows)
    asserted = sum(each.row.tolerance is not None for each in rows)
    agreeing = f"{found['ok']} of {asserted}" if asserted else "none asserted"
    misses = str(found["expected-miss"] or "")
    if known is None:
        return _cells("", f"`{name}`", agreeing, misses, "")
    examples = [_example(each) for each in rows if each.row.quantity == known.headline]
    return _cells(known.model, known.compared_with, agreeing, misses, "".join(examples))


def _example(each: Judged) -> str:
    shown, ours, error, _ = texts(each)
    mark = {"ok": "", "expected-miss": ", expected miss"}.get(each.verdict, ", not asserted")
    return f"{each.row.quantity}: {shown}, ours {ours} ({error}{mark})"


def between_markers(text: str, table: str) -> str:
    """Return `text` with `table` between its markers; raise `InputError` if it has none.

    >>> between_markers(f"# How well\\n{BEGIN}\\nold\\n{END}\\n", "new\\n").splitlines()
    ['# How well', '<!-- agreement: begin -->', 'new', '<!-- agreement: end -->']
    """
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise InputError(f"the summary goes between the lines {BEGIN} and {END}; there are none")
    return f"{before}{begin}{table}{end}{after}"


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.4g}"


def _percent(share: float) -> str:
    """Return a share with its sign; 0 % is exact, 0.00 % rounded."""
    text = f"{100 * share:+.2f} %"
    return "0 %" if share == 0 else text[1:] if float(text[:-2]) == 0 else text
