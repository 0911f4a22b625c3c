"""Operands with values: what the exact mode takes its digits from, and their product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.digits import encode
from simulator.accelerators.bitweight.config import Config
from simulator.accelerators.bitweight.encoded import check_integers
from simulator.accelerators.bitweight.timing import parts
from workloads.errors import InputError
from workloads.operand_values import TensorValues
from workloads.operations import Workload, gemm


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Given:
    """A tensor that was given as an array."""

    values: NDArray[Any]

    def __call__(self) -> NDArray[Any]:
        """Return the array."""
        return self.values


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """One product with known values: `left` (M, K), whose digits are skipped, `right` (K, N)."""

    left: NDArray[Any]
    right: NDArray[Any]
    name: str = "gemm"

    def __post_init__(self) -> None:
        for what, array in (("left", self.left), ("right", self.right)):
            if array.ndim != 2 or not array.size:
                raise InputError(
                    f"{what} operand must be a matrix with at least one value, "
                    f"not of shape {array.shape}"
                )
        if self.left.shape[1] != self.right.shape[0]:
            raise InputError(
                f"operands must have the same K: left is {self.left.shape}, "
                f"right is {self.right.shape}"
            )

    @property
    def workload(self) -> Workload:
        """The product as a workload whose operands carry their values."""
        (m, k), n = self.left.shape, self.right.shape[1]
        work = gemm(m, k, n, dtype="int8", name=self.name)
        (op,) = work.matmuls
        left, right = (TensorValues(read=Given(array)) for array in (self.left, self.right))
        valued = replace(
            op, left=replace(op.left, values=left), right=replace(op.right, values=right)
        )
        return replace(work, operations=(valued,))

    def check(self, width: int) -> None:
        """Raise `InputError` unless both operands are integers of `width` bits."""
        check_integers(self.left, width, what="left operand")
        check_integers(self.right, width, what="right operand")

    def __eq__(self, other: object) -> bool:
        """Compare values."""
        return (
            isinstance(other, Operands)
            and self.name == other.name
            and np.array_equal(self.left, other.left)
            and np.array_equal(self.right, other.right)
        )

    __hash__ = None  # type: ignore[assignment]


def workload_from_options(options: Mapping[str, tuple[str, ...]]) -> Operands | Workload:
    """Read the two matrices of `--operands`, or the model of `--model` with its values."""
    if ("model" in options) == ("operands" in options):
        raise InputError("--model cannot be combined with --operands; give one")
    if "operands" in options:
        left, right = options["operands"]
        return Operands(left=_read(Path(left)), right=_read(Path(right)), name=Path(left).stem)
    return _model(options)


def _model(options: Mapping[str, tuple[str, ...]]) -> Workload:
    """Read a trace, shipped ones by name, or a model file or package with its weights."""
    from workloads.importers import read_model
    from workloads.trace import shipped

    (name,) = options["model"]
    return read_model(
        shipped().get(name, name),
        batch=int(options["batch"][0]) if "batch" in options else None,
        tokens=int(options["tokens"][0]) if "tokens" in options else None,
        inference="inference" in options,
    )


def _read(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, MemoryError) as error:
        reason = " ".join(str(error).split()) or "it does not fit the memory"
        raise InputError(f"{path} must be one array as a .npy file: {reason}") from None
    return array


def compute(config: Config, operands: Operands) -> NDArray[np.int64]:
    """Return left x right as the hardware does: by digits, and by parts of K that its sums hold.

    Where an element adds one bit weight at a time, its sum fits `accumulator_bits`; the weights are
    added in 32 bits, or in 64 where operands are wider than 8 bits. Parts are added exactly here.
    """
    operands.check(config.width)
    digits = encode(operands.left, "ent", config.width).astype(np.int64)
    right = operands.right.astype(np.int64)
    result = np.zeros((digits.shape[0], right.shape[1]), np.int64)
    limit = 1 << (config.accumulator_bits - 1) if config.sums_by_weight else math.inf
    start = 0
    for k in parts(config, right.shape[0]):
        part = np.zeros_like(result)
        for position in reversed(range(config.passes)):
            held = digits[:, start : start + k, position] @ right[start : start + k]
            assert np.abs(held).max() < limit, "a sum has overflowed"
            part = 4 * part + held
        result += part
        start += k
    return result
