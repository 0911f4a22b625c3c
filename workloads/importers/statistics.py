"""Measure real weights: zeros, and the energy that N:M keeps along each reduction axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.operand_values import Reader, with_tensors
from workloads.operations import MatMul, Operand, Operation, Pass, Workload
from workloads.rounding import ceil_div
from workloads.statistics import MEASURED_PATTERNS, Statistics

MOST_MEASURED = 1 << 16
"""Elements of one tensor that are measured; of a larger one evenly spread octets of rows are."""


def sampled_rows(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the rows (axis 0) of a weight to measure: all, or octets of rows evenly spread.

    Octets start at multiples of 8, so that every group of N:M is whole along both axes.

    >>> sampled_rows((64, 1 << 14)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    octets = ceil_div(shape[0], 8)
    each = 8 * max(1, int(np.prod(shape[1:])))
    wanted = min(octets, max(1, MOST_MEASURED // each))
    chosen = np.arange(wanted) * octets // wanted
    rows = (chosen[:, None] * 8 + np.arange(8)).ravel()
    return rows[rows < shape[0]]


def measure(weight: NDArray[Any], axis: int) -> Statistics:
    """Measure the zeros of `weight` and the energy kept along `axis`, its reduction axis.

    A last group is filled up with zeros. Raises `InputError` for values that are not finite.

    >>> measure(np.array([[2.0, 0.0, 1.0, 1.0]]), axis=1).nm_energy[1]
    ('2:4', 0.8333333333333334)
    """
    rows = np.moveaxis(np.asarray(weight), axis, -1)
    values = rows.reshape(-1, rows.shape[-1]).astype(np.float32)
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        raise InputError("weights must be finite, but some are NaN or infinite")
    squares = np.square(values / largest) if largest else values
    zero_fraction = 1 - int(np.count_nonzero(values)) / values.size
    energy = tuple((f"{n}:{m}", _kept(squares, n, m)) for n, m in MEASURED_PATTERNS)
    return Statistics(zero_fraction=zero_fraction, nm_energy=energy)


def _kept(squares: NDArray[np.float32], n: int, m: int) -> float:
    """Return the share of the sum that the N largest of every M along the last axis hold."""
    fill = -squares.shape[-1] % m
    padded = np.pad(squares, ((0, 0), (0, fill))) if fill else squares
    groups = np.sort(padded.reshape(-1, m), axis=1)[:, m - n :]
    total = float(squares.sum(dtype=np.float64))
    return min(1.0, float(groups.sum(dtype=np.float64)) / total) if total else 1.0


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class KeptTensor:
    """A weight (out, in, ...) that stays in memory; a linear layer's is handed out (in, out)."""

    values: NDArray[Any]

    def __call__(self) -> NDArray[Any]:
        """Return the tensor as `workloads.operand_values` takes it."""
        return self.values.T if self.values.ndim == 2 else self.values


def with_weights(
    workload: Workload,
    weights: Mapping[str, NDArray[Any]],
    readers: Mapping[str, Reader],
) -> Workload:
    """Put the statistics of `weights`, by layer, on the W operands of `workload`, and `readers`.

    A weight has the shape (out, in, ...) and may be the `sampled_rows` of a larger one: FF reduces
    over axis 1, BP over axis 0. A reader gives the whole tensor.
    """
    measured: dict[tuple[str, Pass], Statistics] = {}
    for layer, weight in weights.items():
        for pass_, axis in ((Pass.FF, 1), (Pass.BP, 0)):
            measured[layer, pass_] = measure(weight, axis)
    operations = tuple(_with_statistics(op, measured) for op in workload)
    named = {f"{layer}.W": reader for layer, reader in readers.items()}
    return with_tensors(replace(workload, operations=operations), named)


def with_whole_weights(workload: Workload, weights: Mapping[str, NDArray[Any]]) -> Workload:
    """Put statistics and readers of `weights` on the W operands, by layer; they stay in memory."""
    sampled = {layer: weight[sampled_rows(weight.shape)] for layer, weight in weights.items()}
    readers = {layer: KeptTensor(weight) for layer, weight in weights.items()}
    return with_weights(workload, sampled, readers)


def _with_statistics(op: Operation, measured: Mapping[tuple[str, Pass], Statistics]) -> Operation:
    if not isinstance(op, MatMul) or (op.layer, op.pass_) not in measured:
        return op
    found = measured[op.layer, op.pass_]

    def known(operand: Operand) -> Operand:
        return replace(operand, statistics=found) if operand.tensor == "W" else operand

    return replace(op, left=known(op.left), right=known(op.right))
