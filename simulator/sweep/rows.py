"""From the results of a block to rows of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.sweep.definition import Definition
from simulator.sweep.evaluate import Results
from simulator.sweep.space import Designs, method_sizes
from simulator.sweep.store import result_columns


def result_rows(
    definition: Definition, accelerator: str, designs: Designs, results: Results
) -> Iterator[tuple[Any, ...]]:
    """Yield a row for every design and case, with the columns of `result_columns`.

    A point that failed has its error and no metrics.
    """
    cases, count = definition.cases, len(designs)
    columns: dict[str, list[Any]] = {}
    repeated = {"point": designs.numbers, "method": designs.methods, **designs.fields}
    for name, values in (repeated | designs.quantities).items():
        columns[name] = np.repeat(values, len(cases)).tolist()
    columns["accelerator"] = [accelerator] * (count * len(cases))
    columns["case"] = list(range(len(cases))) * count
    columns["network"] = [case.network for case in cases] * count
    columns["batch"] = [case.batch for case in cases] * count
    found = {name: values.reshape(-1) for name, values in results.metrics.items()}
    found |= _result_quantities(definition, accelerator, designs, found, len(cases))
    columns |= {name: values.tolist() for name, values in found.items()}
    columns["error"] = [None] * (count * len(cases))
    for (design, case), text in results.errors.items():
        place = design * len(cases) + case
        columns["error"][place] = text
        for name in found:
            columns[name][place] = None
    nothing = [None] * (count * len(cases))
    return zip(*(columns.get(name, nothing) for name in result_columns(definition)), strict=True)


def _result_quantities(
    definition: Definition,
    accelerator: str,
    designs: Designs,
    metrics: dict[str, NDArray[Any]],
    cases: int,
) -> dict[str, NDArray[Any]]:
    """Return the study's columns that need results, and whether the points are feasible."""
    wanted = definition.result_quantities
    if not wanted and not definition.result_constraints:
        return {}
    (space,) = (each for each in definition.spaces if each.accelerator == accelerator)
    columns: dict[str, Any] = {**space.defaults, **metrics}
    known = {"method": designs.methods, **designs.fields, **designs.quantities}
    known |= method_sizes(designs.methods)
    columns |= {name: np.repeat(values, cases) for name, values in known.items()}
    count = len(designs) * cases
    found: dict[str, NDArray[Any]] = {}
    for name, quantity in wanted.items():
        columns[name] = found[name] = quantity.numbers(columns, count)
    if definition.result_constraints:
        masks = [each.numbers(columns, count) for each in definition.result_constraints]
        found["feasible"] = np.logical_and.reduce(masks).astype(np.int64)
    return found
