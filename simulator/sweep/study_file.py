"""Study files: TOML with the keys of `Definition` and a version.

.. code-block:: toml

    version = 1
    name = "which array"
    accelerators = ["sat"]
    networks = ["resnet50"]                      # or model files; or options = ["--matrix A.mtx"]
    batches = [256]                              # [0] for models that fix their batch
    methods = ["dense", "bdwp:2:8"]
    objectives = ["seconds", "pes"]              # "-utilisation" is maximised
    constraints = ["area_mm2 <= 50", "seconds < 1"]  # sat, systolic, tensorcore state an area

    [search]
    kind = "grid"                                # grid, random, sobol, nsga2 or tpe
    # points = 1000, population = 50 and seed = 0 for all but the grid

    [space]                                      # forms: simulator.sweep.parameters
    rows = [16, 32, 64]
    cols = {derive = "rows"}

    [space.sat]                                  # fields that one accelerator has
    interleave = {from = 1, to = 8, factor = 2}

    [quantities]                                 # further columns, from fields and results
    pes = "rows * cols"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from simulator.sweep.definition import VERSION, Definition, Search
from workloads.errors import InputError, nearest
from workloads.files import read_text


def read_file(path: Path) -> Definition:
    """Read a study file; raise `InputError` with the place of what is wrong."""
    text = read_text(path, "the study")
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # of numbers of thousands of digits, too
        raise InputError(f"the study {path} is not TOML: {error}") from None
    except RecursionError:
        raise InputError(f"the study {path} nests lists too deeply to be read") from None
    try:
        return from_values({"name": path.stem, **values})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def from_values(values: Mapping[str, Any]) -> Definition:
    """Make a study from the values of a study file, its version included."""
    given = dict(values)
    version = given.pop("version", None)
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise InputError(
            f"version is {version}, from a newer sparsight; this one reads {VERSION}: update it"
        )
    if version != VERSION or isinstance(version, bool):
        raise InputError(f"version must be {VERSION}, as in 'version = {VERSION}', not {version!r}")
    search = given.pop("search", {})
    _refuse_unknown(search, [f.name for f in fields(Search)], "search")
    _refuse_unknown(given, [f.name for f in fields(Definition)], "")
    for name in ("space", "quantities"):
        if not isinstance(given.get(name, {}), Mapping):
            raise InputError(f"{name} must be a table such as [{name}], not {given[name]!r}")
    if not isinstance(given.get("name", ""), str):
        raise InputError(f"name must be a text, not {given['name']!r}")
    return Definition(**given, search=Search(**search))


def _refuse_unknown(given: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(given, Mapping):
        raise InputError(f"{where} must be a table such as [{where}], not {given!r}")
    for name in given:
        if name not in known:
            hint = nearest(name, known)
            place = f"{where}.{name}" if where else name
            raise InputError(f"unknown key {place!r}; {hint}")
