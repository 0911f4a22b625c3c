"""Published numbers as data: one CSV per exhibit, beside this file, read and never computed with.

`<paper>/<exhibit>.paper.csv` has the columns

=============  =====================================================================================
quantity       what is stated; unique in the exhibit
published      the number
unit           its unit, - for a ratio
relation       `=`, or `<=` / `>=` if the source states a bound on ours
tolerance      largest accepted relative error; empty: shown, not asserted
source         paper, section or table, or the tool that was run
tag            seen (in the source), measured (by running another tool), derived (arithmetic on what
               was seen) or recalled (from memory: never asserted)
note           what a reader must know to judge the comparison
expected_miss  why ours misses; empty for a row that must agree
=============  =====================================================================================

Further columns are the inputs of the experiment, such as shapes. `simulator.reproduce` computes
ours, with the function of the exhibit's name in `simulator.experiments.<paper>`. Other CSV files of
a paper are what its experiments read: request traces, our synthesis table, names of systems.
`exhibits.csv` says what each exhibit compares (`simulator.agreement`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from workloads.errors import InputError, nearest

FOLDER = Path(__file__).parent
SUFFIX = ".paper.csv"
COLUMNS = (
    "quantity",
    "published",
    "unit",
    "relation",
    "tolerance",
    "source",
    "tag",
    "note",
    "expected_miss",
)
RELATIONS = ("=", "<=", ">=")
TAGS = ("seen", "measured", "derived", "recalled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published number. `tolerance` is None where nothing is asserted."""

    exhibit: str
    quantity: str
    published: float
    unit: str
    relation: str
    tolerance: float | None
    source: str
    tag: str
    note: str
    expected_miss: str
    inputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"{self.exhibit}, {self.quantity}"
        assert self.relation in RELATIONS, f"{where}: relation {self.relation!r}"
        assert self.tag in TAGS, f"{where}: tag {self.tag!r}"
        assert self.source, f"{where}: a published number needs its source"
        assert self.tolerance is None or self.tolerance >= 0, f"{where}: negative tolerance"
        assert self.tolerance is None or self.tag != "recalled", f"{where}: recalled and asserted"
        assert not self.expected_miss or self.tolerance is not None, f"{where}: cannot miss"


@cache
def exhibits() -> tuple[str, ...]:
    """Return all exhibits as `paper/exhibit`, sorted."""
    files = FOLDER.glob(f"*/*{SUFFIX}")
    return tuple(sorted(f"{f.parent.name}/{f.name.removesuffix(SUFFIX)}" for f in files))


def select(selection: str | None) -> tuple[str, ...]:
    """Return the exhibits of a paper, the one exhibit `paper/exhibit`, or all for None.

    >>> select("peers/systolic")
    ('peers/systolic',)
    """
    if selection is None:
        return exhibits()
    chosen = tuple(e for e in exhibits() if selection in (e, e.partition("/")[0]))
    if not chosen:
        known = [*dict.fromkeys(e.partition("/")[0] for e in exhibits()), *exhibits()]
        hint = nearest(selection, known)
        raise InputError(f"no published exhibit is called {selection!r}; {hint}")
    return chosen


def path(exhibit: str) -> Path:
    """Return the file of an exhibit."""
    return FOLDER / f"{exhibit}{SUFFIX}"


def read(exhibit: str) -> list[Row]:
    """Return the rows of an exhibit in the order of its file."""
    with open(path(exhibit), encoding="utf-8", newline="") as file:
        rows = [_row(exhibit, values) for values in csv.DictReader(file)]
    quantities = [row.quantity for row in rows]
    assert len(set(quantities)) == len(quantities), f"{exhibit} names a quantity twice"
    return rows


def _row(exhibit: str, values: dict[str, str]) -> Row:
    missing = [name for name in COLUMNS if values.get(name) is None]
    assert not missing, f"{exhibit} lacks the columns {missing}"
    return Row(
        exhibit=exhibit,
        quantity=values["quantity"],
        published=float(values["published"]),
        unit=values["unit"],
        relation=values["relation"],
        tolerance=float(values["tolerance"]) if values["tolerance"] else None,
        source=values["source"],
        tag=values["tag"],
        note=values["note"],
        expected_miss=values["expected_miss"],
        inputs={name: text for name, text in values.items() if name not in COLUMNS},
    )
