"""Whose digits a product skips, and where they come from: values, histograms, or an assumption.

One operand of each product is encoded: the one whose digits the workload knows; the left one if it
knows both or none, unless the config says which. If the right one is encoded the array computes
the transposed product, so that its *lines* (columns of the right operand) become rows.

Values are integers of the config's width, or floats that the config's quantiser turns into some: a
weight per tensor or per output channel, anything else per tensor. A float tensor without a
quantiser is refused, because its scale decides its digits.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import check_values, quantise
from dataflow.digits.statistics import value_histogram
from simulator.accelerators.bitweight import kept, statistical
from simulator.accelerators.bitweight.config import Config
from simulator.accelerators.bitweight.statistical import Classes
from workloads.errors import InputError
from workloads.operand_values import TensorValues, ValueHistograms, lines_of
from workloads.operations import MatMul, Operand

Lines = NDArray[Any]


class Known(NamedTuple):
    """The digits of a product's encoded operand.

    `lines` are its integers (batch, lines, K), None if only the `classes` of lines are known;
    `pmf` is the distribution of its values. `origin` is values, histogram, assumed or unused.
    """

    origin: str
    classes: Classes
    pmf: NDArray[np.float64]
    lines: Lines | None = None


UNUSED = Known("unused", (), np.zeros(0))
"""For engines whose time does not depend on digits."""


def choose(config: Config, op: MatMul) -> str:
    """Return the side of a product whose digits are skipped; refuse floats without a quantiser."""
    known = {side: _operand(op, side).values for side in ("left", "right")}
    if config.encoded == "known":
        side = "right" if known["right"] is not None and known["left"] is None else "left"
    else:
        side = config.encoded
    found = known[side]
    if isinstance(found, ValueHistograms) and found.width != config.width:
        raise InputError(
            f"the {side} operand of {op.name} has histograms of {found.width} bits, "
            f"not of width {config.width}"
        )
    if isinstance(found, TensorValues) and config.quantiser == "none":
        _integers(config, found, _what(op, side))
    return side


def check_integers(tensor: Lines, width: int, *, what: str) -> Lines:
    """Return integers of `width` bits; raise `InputError` that names the quantiser for floats."""
    if tensor.dtype.kind == "f":
        raise InputError(
            f"{what} must be integers, not {tensor.dtype}: choose how to scale it by --quantiser "
            "tensor or channel, because the scale decides the digits"
        )
    return check_values(tensor, width, what=what)


def known(config: Config, op: MatMul, side: str) -> Known:
    """Return what is known of the digits of one side of a product."""
    found = _operand(op, side).values
    if isinstance(found, ValueHistograms):
        return _counted("histogram", found.counts, config.width)
    if isinstance(found, TensorValues):
        integers = _integers(config, found, _what(op, side))
        key = ("counts", *_scale(config, found))
        counts = kept.result(found.read, key, lambda: _counts(integers, config.width))
        lines = lines_of(op, side, integers)
        origin = "histogram" if lines is None else "values"
        return _counted(origin, counts, config.width)._replace(lines=lines)
    classes = statistical.assumed(config.operand_std, config.width)
    return Known("assumed", classes, statistical.normal(config.operand_std, config.width))


def _operand(op: MatMul, side: str) -> Operand:
    return op.left if side == "left" else op.right


def _what(op: MatMul, side: str) -> str:
    return f"{side} operand" if op.name == "gemm" else f"{side} operand of {op.name}"


def _scale(config: Config, values: TensorValues) -> tuple[Hashable, ...]:
    """Return all that the integers of a tensor depend on."""
    return config.quantiser, config.width, config.percentile, values.channel_axis


def _counts(integers: Lines, width: int) -> NDArray[np.int64]:
    """Count the values, in the order in which they are stored."""
    return value_histogram(integers.T if integers.flags.f_contiguous else integers, width)[None]


def _integers(config: Config, values: TensorValues, what: str) -> Lines:
    """Return the integers of a tensor; read, checked and quantised once while its reader lives."""
    made = partial(_read_integers, config, values, what)
    return kept.integers(values.read, _scale(config, values), made)


def _read_integers(config: Config, values: TensorValues, what: str) -> Lines:
    tensor = values.read()
    if tensor.dtype.kind in "iu" or config.quantiser == "none":
        storage = np.int8 if config.width <= 8 else np.int16
        return check_integers(tensor, config.width, what=what).astype(storage)
    axis = values.channel_axis if config.quantiser == "channel" else None
    return quantise(
        tensor, width=config.width, channel_axis=axis, percentile=config.percentile
    ).values


def _counted(origin: str, counts: NDArray[np.int64], width: int) -> Known:
    """Return what the counts of values of each class of lines say."""
    table = np.ascontiguousarray(counts, np.int64)
    whole = table.sum(axis=0)
    return Known(origin, _classes(table.tobytes(), width), whole / whole.sum())


@lru_cache(maxsize=1024)
def _classes(counts: bytes, width: int) -> Classes:
    """Return the share and the masks of each class; the same for the same counts."""
    table = np.frombuffer(counts, np.int64).reshape(-1, 1 << width)
    totals = table.sum(axis=1)
    return tuple(
        (float(total / totals.sum()), statistical.masks_of(row / total, width))
        for row, total in zip(table, totals, strict=True)
    )
