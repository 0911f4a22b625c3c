"""A workload as flat arrays, one per property: what compiled kernels read.

Operations of the three kinds stay apart; `order` gives the place of each in the workload.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.operations import MatMul, Operand, Selection, VectorOp, Workload
from workloads.patterns import NM, Dense

Ints = NDArray[np.int64]


class MatMulColumns(NamedTuple):
    """One entry per matrix product; N:M of an operand is 1:1 if it has no such pattern.

    `kept_macs` are those of `MatMul`, cut off at the largest number that 64 bits hold.
    """

    order: Ints
    batch: Ints
    m: Ints
    k: Ints
    n: Ints
    k_run: Ints
    left_elements: Ints
    right_elements: Ints
    out_elements: Ints
    left_n: Ints
    left_m: Ints
    right_n: Ints
    right_m: Ints
    is_weight_gradient: Ints
    left_is_weight: Ints
    right_is_weight: Ints
    kept_macs: Ints


class VectorColumns(NamedTuple):
    """One entry per vector operation; `is_update` marks the weight update of a layer."""

    order: Ints
    layer: Ints
    elements: Ints
    lane_operations: Ints
    read_bytes: Ints
    write_bytes: Ints
    fused: Ints
    is_update: Ints


class SelectionColumns(NamedTuple):
    """One entry per N:M selection; `layer` numbers the layers of the workload."""

    order: Ints
    layer: Ints
    elements: Ints
    n: Ints
    m: Ints
    pregenerable: Ints


class Columns(NamedTuple):
    """All operations of a workload, the names that reports repeat, and what its operands are.

    `value_bits` are the widths of factors, `other_patterns` the patterns of operands that are
    neither dense nor N:M, as texts: each once, in ascending order.
    """

    matmuls: MatMulColumns
    vectors: VectorColumns
    selections: SelectionColumns
    layers: int
    names: NDArray[np.object_]
    layer_names: NDArray[np.object_]
    passes: NDArray[np.object_]
    kinds: NDArray[np.object_]
    value_bits: tuple[int, ...]
    other_patterns: tuple[str, ...]


def columns(workload: Workload) -> Columns:
    """Return the arrays of `workload`, made once per workload object.

    Raises `InputError` if a size does not fit 64 bits.
    """
    cached = workload.__dict__.get("_columns")
    if cached is None:
        try:
            cached = workload.__dict__["_columns"] = _columns(workload)
        except OverflowError as error:
            raise InputError(
                f"sizes in {workload.name} must be whole numbers below 2^63, but one is larger"
            ) from error
    result: Columns = cached
    return result


def _columns(workload: Workload) -> Columns:
    layers: dict[str, int] = {}
    matmuls: list[tuple[int, ...]] = []
    vectors: list[tuple[int, ...]] = []
    selections: list[tuple[int, ...]] = []
    for order, op in enumerate(workload):
        layer = layers.setdefault(op.layer, len(layers))
        match op:
            case MatMul():
                matmuls.append(_matmul_row(order, op))
            case VectorOp():
                vectors.append(_vector_row(order, layer, op))
            case Selection():
                selections.append(_selection_row(order, layer, op))
    return Columns(
        matmuls=MatMulColumns(*_transposed(matmuls, len(MatMulColumns._fields))),
        vectors=VectorColumns(*_transposed(vectors, len(VectorColumns._fields))),
        selections=SelectionColumns(*_transposed(selections, len(SelectionColumns._fields))),
        layers=len(layers),
        names=_texts(op.name for op in workload),
        layer_names=_texts(op.layer for op in workload),
        passes=_texts(op.pass_.value for op in workload),
        kinds=_texts("selection" if isinstance(op, Selection) else op.kind for op in workload),
        value_bits=operand_bits(workload),
        other_patterns=_other_patterns(workload),
    )


def operand_bits(workload: Workload) -> tuple[int, ...]:
    """Return the widths of the factors of all products, each once, in ascending order."""
    sides = (side for op in workload.matmuls for side in (op.left, op.right))
    return tuple(sorted({side.value_bits for side in sides}))


def _other_patterns(workload: Workload) -> tuple[str, ...]:
    operands = (operand for op in workload.matmuls for operand in (op.left, op.right, op.out))
    patterns = (operand.pattern for operand in operands)
    return tuple(sorted({str(each) for each in patterns if not isinstance(each, (Dense, NM))}))


def _matmul_row(order: int, op: MatMul) -> tuple[int, ...]:
    elements = (op.left.elements, op.right.elements, op.out.elements)
    patterns = (*_nm(op.left), *_nm(op.right))
    roles = (int(op.out.tensor == "dW"), int(op.left.tensor == "W"), int(op.right.tensor == "W"))
    kept = min(op.kept_macs, np.iinfo(np.int64).max)
    return (order, op.batch, op.m, op.k, op.n, op.k_run, *elements, *patterns, *roles, kept)


def _vector_row(order: int, layer: int, op: VectorOp) -> tuple[int, ...]:
    traffic = (op.read_bytes, op.write_bytes)
    flags = (int(op.fused), int(op.kind == "update"))
    return (order, layer, op.elements, op.lane_operations, *traffic, *flags)


def _selection_row(order: int, layer: int, op: Selection) -> tuple[int, ...]:
    n, m = (op.pattern.n, op.pattern.m) if isinstance(op.pattern, NM) else (1, 1)
    return (order, layer, op.elements, n, m, int(op.pregenerable))


def _nm(operand: Operand) -> tuple[int, int]:
    pattern = operand.pattern
    return (pattern.n, pattern.m) if isinstance(pattern, NM) else (1, 1)


def _transposed(rows: list[tuple[int, ...]], width: int) -> list[Ints]:
    table = np.array(rows, np.int64).reshape(-1, width)
    return [np.ascontiguousarray(table[:, i]) for i in range(width)]


def _texts(items: Iterable[str]) -> NDArray[np.object_]:
    return np.array(list(items), dtype=np.object_)
