"""One flat row per operation: the column table of the trace file and both conversions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

from workloads.errors import InputError
from workloads.operations import (
    Conv2d,
    Kind,
    MatMul,
    Operand,
    Operation,
    Pass,
    Position,
    Selection,
    VectorOp,
)
from workloads.patterns import parse_pattern
from workloads.statistics import Statistics

Row = Mapping[str, Any]
SIDES = ("left", "right", "out")
ROLES = ("X", "W", "Y", "dX", "dY", "dW")
OPS = ("matmul", "vector", "selection")
ENERGY_COLUMN = re.compile(r"(left|right|out)_energy_([1-9]\d{0,5})_([1-9]\d{0,5})")


class Column(NamedTuple):
    """A column: its Parquet type, and the operations (`op`) that fill it.

    Rows of other operations leave the column empty; `optional` columns may be empty in any row.
    What the columns mean is said in `workloads.trace`.
    """

    name: str
    type: Literal["string", "int64", "double", "bool"]
    ops: tuple[str, ...]
    optional: bool = False


def _operand_columns(side: str) -> tuple[Column, ...]:
    only = ("matmul",)
    return (
        Column(f"{side}_tensor", "string", only),
        Column(f"{side}_elements", "int64", only),
        Column(f"{side}_dtype", "string", only),
        Column(f"{side}_pattern", "string", only),
        Column(f"{side}_zero_fraction", "double", only, optional=True),
    )


_CONV = tuple(
    Column(f"conv_{name}", "int64", ("matmul",), optional=True)
    for name in (
        "batch",
        "in_channels",
        "out_channels",
        "in_h",
        "in_w",
        "kernel_h",
        "kernel_w",
        "stride_h",
        "stride_w",
        "padding_h",
        "padding_w",
        "dilation_h",
        "dilation_w",
        "groups",
    )
)

COLUMNS = (
    Column("op", "string", OPS),
    Column("name", "string", OPS),
    Column("layer", "string", OPS),
    Column("pass", "string", OPS),
    Column("kind", "string", ("matmul", "vector")),
    Column("m", "int64", ("matmul",)),
    Column("k", "int64", ("matmul",)),
    Column("n", "int64", ("matmul",)),
    Column("batch", "int64", ("matmul",)),
    Column("k_run", "int64", ("matmul",)),
    Column("position", "string", ("matmul",)),
    *_CONV,
    *_operand_columns("left"),
    *_operand_columns("right"),
    *_operand_columns("out"),
    Column("elements", "int64", ("vector", "selection")),
    Column("lane_operations", "int64", ("vector",)),
    Column("read_bytes", "int64", ("vector",)),
    Column("write_bytes", "int64", ("vector",)),
    Column("fused", "bool", ("vector",)),
    Column("tensor", "string", ("selection",)),
    Column("pattern", "string", ("selection",)),
    Column("dtype", "string", ("selection",)),
    Column("pregenerable", "bool", ("selection",)),
)


def energy_columns(operations: Iterable[Operation]) -> list[str]:
    """Return the columns of energy kept that these operations need, such as left_energy_2_8."""
    found = {
        (SIDES.index(side), *map(int, pattern.split(":")[::-1]))
        for op in operations
        if isinstance(op, MatMul)
        for side in SIDES
        if (statistics := getattr(op, side).statistics)
        for pattern, _ in statistics.nm_energy
    }
    return [f"{SIDES[side]}_energy_{n}_{m}" for side, m, n in sorted(found)]


def row_of(operation: Operation) -> dict[str, Any]:
    """Return the filled columns of one operation."""
    row = {"name": operation.name, "layer": operation.layer, "pass": str(operation.pass_)}
    match operation:
        case MatMul():
            return row | {"op": "matmul"} | _matmul_row(operation)
        case VectorOp():
            return row | {"op": "vector"} | _values(operation, _VECTOR_FIELDS)
        case Selection():
            own = _values(operation, _SELECTION_FIELDS)
            return row | {"op": "selection", "pattern": str(operation.pattern)} | own


_MATMUL_FIELDS = ("kind", "m", "k", "n", "batch", "k_run", "position")
_VECTOR_FIELDS = ("kind", "elements", "lane_operations", "read_bytes", "write_bytes", "fused")
_SELECTION_FIELDS = ("tensor", "elements", "dtype", "pregenerable")
_CONV_COUNTS = ("batch", "in_channels", "out_channels", "groups")
_CONV_PAIRS = {
    "in_hw": "in",
    "kernel": "kernel",
    "stride": "stride",
    "padding": "padding",
    "dilation": "dilation",
}


def _values(operation: Operation | Conv2d, fields: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(operation, name) for name in fields}


def _matmul_row(op: MatMul) -> dict[str, Any]:
    row = _values(op, _MATMUL_FIELDS)
    for side in SIDES:
        row |= _operand_row(side, getattr(op, side))
    return row | (_conv_row(op.conv) if op.conv else {})


def _operand_row(side: str, operand: Operand) -> dict[str, Any]:
    row: dict[str, Any] = {
        f"{side}_tensor": operand.tensor,
        f"{side}_elements": operand.elements,
        f"{side}_dtype": operand.dtype,
        f"{side}_pattern": str(operand.pattern),
    }
    if operand.statistics:
        row[f"{side}_zero_fraction"] = float(operand.statistics.zero_fraction)
        for pattern, share in operand.statistics.nm_energy:
            row[f"{side}_energy_{pattern.replace(':', '_')}"] = float(share)
    return row


def _conv_row(conv: Conv2d) -> dict[str, int]:
    row = {f"conv_{name}": value for name, value in _values(conv, _CONV_COUNTS).items()}
    for name, short in _CONV_PAIRS.items():
        row[f"conv_{short}_h"], row[f"conv_{short}_w"] = getattr(conv, name)
    return row


def operation_of(row: Row) -> Operation:
    """Return the operation of a row that has every column; raise `InputError` for a bad one."""
    op = _one_of(row, "op", OPS)
    _check_filled(row, op)
    common = {
        "name": row["name"],
        "layer": row["layer"],
        "pass_": Pass(_one_of(row, "pass", tuple(Pass))),
    }
    match op:
        case "matmul":
            return _matmul_of(row, common)
        case "vector":
            return VectorOp(**common, **{name: row[name] for name in _VECTOR_FIELDS})
    own = {name: row[name] for name in _SELECTION_FIELDS}
    # An operand checks the data type that a selection shares with it.
    Operand(tensor=row["tensor"], elements=1, dtype=row["dtype"])
    return Selection(**common, **own, pattern=parse_pattern(row["pattern"]))


def _matmul_of(row: Row, common: dict[str, Any]) -> MatMul:
    if row["k_run"] < 1:
        raise InputError(f"k_run must be a positive whole number, not {row['k_run']}")
    _one_of(row, "kind", get_args(Kind))
    _one_of(row, "position", get_args(Position))
    return MatMul(
        **common,
        **{name: row[name] for name in _MATMUL_FIELDS},
        conv=_conv_of(row),
        left=_operand_of(row, "left"),
        right=_operand_of(row, "right"),
        out=_operand_of(row, "out"),
    )


def _operand_of(row: Row, side: str) -> Operand:
    return Operand(
        tensor=_one_of(row, f"{side}_tensor", ROLES),
        elements=row[f"{side}_elements"],
        dtype=row[f"{side}_dtype"],
        pattern=parse_pattern(row[f"{side}_pattern"]),
        statistics=_statistics_of(row, side),
    )


def _statistics_of(row: Row, side: str) -> Statistics | None:
    energy = tuple(
        (f"{match[2]}:{match[3]}", share)
        for column, share in row.items()
        if share is not None and (match := ENERGY_COLUMN.fullmatch(column)) and match[1] == side
    )
    zero_fraction = row[f"{side}_zero_fraction"]
    if zero_fraction is not None:
        return Statistics(zero_fraction=zero_fraction, nm_energy=energy)
    if energy:
        raise InputError(f"{side}_zero_fraction must be filled where the energy kept is")
    return None


def _conv_of(row: Row) -> Conv2d | None:
    values = {column.name: row[column.name] for column in _CONV}
    empty = [name for name, value in values.items() if value is None]
    if len(empty) == len(values):
        return None
    if empty:
        raise InputError(f"{empty[0]} must be filled where the other columns conv_... are")
    fields: dict[str, Any] = {name: values[f"conv_{name}"] for name in _CONV_COUNTS}
    for name, short in _CONV_PAIRS.items():
        fields[name] = (values[f"conv_{short}_h"], values[f"conv_{short}_w"])
    return Conv2d(**fields)


def _one_of(row: Row, column: str, allowed: tuple[str, ...]) -> str:
    if row[column] not in allowed:
        raise InputError(f"{column} must be one of {', '.join(allowed)}, not {row[column]!r}")
    return cast(str, row[column])


def _check_filled(row: Row, op: str) -> None:
    for column in COLUMNS:
        value = row[column.name]
        if op not in column.ops and value is not None:
            raise InputError(f"{column.name} must be empty for op={op}, not {value!r}")
        if op in column.ops and value is None and not column.optional:
            raise InputError(f"{column.name} must be filled for op={op}")
    if op != "matmul":
        for name, value in row.items():
            if value is not None and ENERGY_COLUMN.fullmatch(name):
                raise InputError(f"{name} must be empty for op={op}, not {value!r}")
