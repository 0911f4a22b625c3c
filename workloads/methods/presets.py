"""Published methods by name: which words express them, what they report, and what can be checked.

`presets.csv` beside this file has one row per method: its name, its title, the text that
`parse_method` reads (empty if nothing of it is a workload), what its abstract reports, and why
that cannot be checked here (empty if `simulator/published/methods` holds a row for it).
Hyper-parameters that an abstract does not state are common choices, and say so in the note.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

from workloads.errors import InputError, nearest


class Preset(NamedTuple):
    """One published method."""

    name: str
    title: str
    text: str
    published: str
    unchecked: str
    note: str


@cache
def presets() -> dict[str, Preset]:
    """Return all presets by name, in the order of the file."""
    table = resources.files("workloads.methods").joinpath("presets.csv").read_text("utf-8")
    rows = [Preset(**row) for row in csv.DictReader(table.splitlines())]
    return {row.name: row for row in rows}


def names() -> list[str]:
    """Return the names of all presets."""
    return list(presets())


def find(name: str) -> Preset:
    """Return a preset; raise `InputError` if there is none of that name."""
    if name not in presets():
        hint = nearest(name, presets(), "sparsight methods lists them")
        raise InputError(f"no preset is called {name!r}; {hint}")
    return presets()[name]
