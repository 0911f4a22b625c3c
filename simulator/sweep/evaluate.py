"""Evaluate a block of designs: in one compiled pass where the model offers it, else one by one.

A model module may offer

    evaluate_many(configs: Mapping[str, array], workload) -> Mapping[str, array]

which returns the totals of `Report.summary` for arrays of config fields, equal to `simulate`. It
raises `InputError` if any of the configurations is wrong; the block is then run one by one, so that
each wrong point gets its own error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.accelerators import find
from simulator.sweep.definition import METRICS, WHOLE_METRICS, Case
from workloads import networks
from workloads.errors import InputError
from workloads.methods import parse_method
from workloads.operations import Workload

FAST_BLOCK = 4096
"""Designs of a block of a model that evaluates whole blocks; other models take one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Designs of one accelerator, to be run on every case; all of it can be pickled."""

    block: int
    accelerator: str
    cases: tuple[Case, ...]
    methods: NDArray[Any]
    fields: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The `METRICS` of a block as arrays (designs, cases); `errors` by (design, case).

    Metrics of a point with an error are zero and mean nothing.
    """

    block: int
    metrics: dict[str, NDArray[Any]]
    errors: dict[tuple[int, int], str]


@lru_cache(maxsize=128)
def workload(case: Case, method: str) -> Workload:
    """Return the workload of a case with a method applied, built once in a process."""
    network = networks.find(case.network, batch=case.batch)
    plain = network.training_step() if case.mode == "training" else network.inference()
    return parse_method(method)(plain)


def block_size(accelerator: str) -> int:
    """Return how many designs of an accelerator make a block."""
    return FAST_BLOCK if hasattr(find(accelerator), "evaluate_many") else 1


def evaluate(task: Task) -> Results:
    """Run every design of a task on every case; a point that fails leaves its error."""
    shape = (len(task.methods), len(task.cases))
    metrics: dict[str, NDArray[Any]] = {
        name: np.zeros(shape, np.int64 if name in WHOLE_METRICS else np.float64) for name in METRICS
    }
    errors: dict[tuple[int, int], str] = {}
    for method in np.unique(task.methods).tolist():
        chosen = np.flatnonzero(task.methods == method)
        fields = {name: values[chosen] for name, values in task.fields.items()}
        for place, case in enumerate(task.cases):
            found, wrong = _evaluate(task.accelerator, fields, len(chosen), case, method)
            for name, values in found.items():
                metrics[name][chosen, place] = values
            errors |= {(int(chosen[at]), place): text for at, text in wrong.items()}
    return Results(block=task.block, metrics=metrics, errors=errors)


def _evaluate(
    accelerator: str, fields: Mapping[str, NDArray[Any]], count: int, case: Case, method: str
) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Return the metrics of `count` designs on one workload, and the errors by place."""
    model = find(accelerator)
    try:
        work = workload(case, method)
    except InputError as error:
        return {}, dict.fromkeys(range(count), str(error))
    if hasattr(model, "evaluate_many"):
        try:
            return model.evaluate_many(fields, work), {}
        except InputError:
            pass  # one of them is wrong: find out which
    columns = {name: values.tolist() for name, values in fields.items()}
    rows = [{name: column[place] for name, column in columns.items()} for place in range(count)]
    return _one_by_one(model, rows, work)


def _one_by_one(
    model: Any, rows: list[dict[str, Any]], work: Workload
) -> tuple[dict[str, NDArray[Any]], dict[int, str]]:
    found: dict[str, list[Any]] = {name: [] for name in METRICS}
    errors: dict[int, str] = {}
    for place, fields in enumerate(rows):
        summary: dict[str, Any] = dict.fromkeys(METRICS, 0)
        try:
            config = model.Config(**fields)
            summary = model.simulate(config, model.schedule(config, work)).summary()
        except Exception as error:  # a failing point must not stop the others; it is recorded
            errors[place] = f"{type(error).__name__}: {error}"
        for name, column in found.items():
            column.append(float("nan") if summary[name] is None else summary[name])
    return {name: np.array(column) for name, column in found.items()}, errors
