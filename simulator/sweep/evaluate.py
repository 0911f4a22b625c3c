"""Evaluate a block of designs: in one compiled pass where the model offers it, else one by one.

A model module may offer

    evaluate_many(configs: Mapping[str, array], workload) -> Mapping[str, array]

which returns the totals of `Report.summary` for arrays of config fields, equal to `simulate`. It
raises `InputError` if any of the configurations is wrong; the block is then run one by one, so that
each wrong point gets its own error.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from simulator.accelerators import find
from simulator.sweep.definition import (
    METRICS,
    OPTIONS,
    WHOLE_METRICS,
    Case,
    case_workload,
    own_options,
)
from simulator.sweep.version import workload_hash
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

    Metrics of a point with an error are zero and mean nothing. `hashes` are of the workloads that
    were run, by case and method.
    """

    block: int
    metrics: dict[str, NDArray[Any]]
    errors: dict[tuple[int, int], str]
    hashes: dict[tuple[int, str], str]


@lru_cache(maxsize=128)
def workload(accelerator: str, case: Case, method: str) -> Workload:
    """Return the workload of a case with a method applied, built once in a process."""
    if case.mode == OPTIONS:
        model: Any = find(accelerator)
        return cast(Workload, model.workload_from_options(own_options(case, accelerator)))
    return _network_workload(case, method)


@lru_cache(maxsize=128)
def _network_workload(case: Case, method: str) -> Workload:
    return parse_method(method)(case_workload(case))


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
    hashes: dict[tuple[int, str], str] = {}
    for method in np.unique(task.methods).tolist():
        chosen = np.flatnonzero(task.methods == method)
        fields = {name: values[chosen] for name, values in task.fields.items()}
        for place, case in enumerate(task.cases):
            found, wrong = _evaluate(task.accelerator, fields, len(chosen), case, method)
            for name, values in found.items():
                metrics[name][chosen, place] = values
            errors |= {(int(chosen[at]), place): text for at, text in wrong.items()}
            hashes[place, method] = _hash(task.accelerator, case, method)
    return Results(block=task.block, metrics=metrics, errors=errors, hashes=hashes)


def forget_workloads() -> None:
    """Build workloads anew from now on: the files that they come from may have changed."""
    for cached in (workload, _network_workload, _hash, case_workload):
        cached.cache_clear()


@lru_cache(maxsize=128)
def _hash(accelerator: str, case: Case, method: str) -> str:
    try:
        return workload_hash(workload(accelerator, case, method))
    except Exception as error:  # then every point of it has failed, and the reason is its hash
        return _named(error)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _evaluate(
    accelerator: str, fields: Mapping[str, NDArray[Any]], count: int, case: Case, method: str
) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Return the metrics of `count` designs on one workload, and the errors by place."""
    model = find(accelerator)
    try:
        work = workload(accelerator, case, method)
    except Exception as error:  # no method for this network, no such file: it fails these points
        return {}, dict.fromkeys(range(count), _named(error))
    if hasattr(model, "evaluate_many"):
        with suppress(Exception):  # one of them is wrong: find out which, one by one
            return model.evaluate_many(fields, work), {}
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
            errors[place] = _named(error)
        for name, column in found.items():
            column.append(float("nan") if summary[name] is None else summary[name])
    return {name: np.array(column) for name, column in found.items()}, errors
