"""Area, clock and energy of the synthesised designs, as the shipped table has them.

`rtl.synthesis.table` writes it: yosys and OpenSTA, OSU 0.18 um cells, no wires. Nothing here needs
those tools.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from workloads.errors import InputError

TABLE = Path(__file__).parents[2] / "published" / "bitweight" / "synthesis.csv"


class Row(NamedTuple):
    """One design: area in um2, minimum period in ns, energy in pJ per operation."""

    design: str
    parameters: dict[str, int]
    area: float
    flops: int
    min_period_ns: float
    energy_per_op_pj: float
    settled_energy_pj: float
    ops_per_cycle: float

    @property
    def energy_per_cycle_pj(self) -> float:
        """Energy of a cycle in which the design works."""
        return self.energy_per_op_pj * self.ops_per_cycle


@cache
def table() -> tuple[Row, ...]:
    """Return all rows of the shipped table."""
    with TABLE.open(newline="") as file:
        return tuple(_row(each) for each in csv.DictReader(file))


@cache
def find(design: str, width: int = 8, acc_width: int | None = None) -> Row:
    """Return a design's row at an operand width; widths that were not synthesised are scaled.

    From the next smaller synthesised width on, or else from the smallest, area and energy grow
    with the width (the square of it for multipliers), the period stays. Raises `InputError` for a
    design that is not in the table.
    """
    rows = [row for row in table() if row.design == design]
    if acc_width is not None:
        rows = [row for row in rows if row.parameters.get("acc_width") == acc_width]
    if not rows:
        raise InputError(f"the synthesis table has no design {design!r}")
    exact = [row for row in rows if row.parameters.get("width", width) == width]
    if exact:
        return exact[0]
    nearest = _nearest(rows, width)
    ratio = width / nearest.parameters["width"]
    grown = ratio**2 if design.startswith(("mac", "opt1")) else ratio
    return nearest._replace(
        area=nearest.area * grown,
        energy_per_op_pj=nearest.energy_per_op_pj * grown,
        settled_energy_pj=nearest.settled_energy_pj * grown,
    )


def _nearest(rows: list[Row], width: int) -> Row:
    """Return a row of the largest width below `width`, of the smallest width if there is none."""

    def width_of(row: Row) -> int:
        return row.parameters["width"]

    below = [row for row in rows if width_of(row) < width]
    return max(below, key=width_of) if below else min(rows, key=width_of)


def _row(each: dict[str, str]) -> Row:
    parameters = dict(pair.split("=") for pair in each["parameters"].split())
    return Row(
        design=each["design"],
        parameters={name: int(value) for name, value in parameters.items()},
        area=float(each["area"]),
        flops=int(each["flops"]),
        min_period_ns=float(each["min_period_ns"]),
        energy_per_op_pj=float(each["energy_per_op_pj"]),
        settled_energy_pj=float(each["settled_energy_pj"]),
        ops_per_cycle=float(each["ops_per_cycle"]),
    )
