"""Add to and take from scattered places of an array, eight at a time: numba has no call for it.

LLVM's masked gather, scatter and compress become single instructions with AVX-512, and correct but
slow code elsewhere; `fast_here` says which. The plain functions are what interpreted code runs and
what the compiled ones must equal.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

LANES = 8

_BIT, _WORD, _LONG = ir.IntType(1), ir.IntType(32), ir.IntType(64)
_ALL = ir.Constant(ir.VectorType(_BIT, LANES), [1] * LANES)


@functools.cache
def fast_here() -> bool:
    """Return whether this processor scatters quickly: AVX-512 by Intel; others are not measured."""
    return bool(
        llvm.get_host_cpu_features().get("avx512f")
        and not llvm.get_host_cpu_name().startswith("znver")
    )


def add_lanes(
    total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, count: Any,
    scale: Any, fresh: Any, n: Any,
) -> Any:  # fmt: skip
    """Add `scale * values[t] + 0` to `total[columns[t]]` for at most eight t from `at` on.

    `columns` must differ in these places. Writes those at which `total` rests (its `bits` equal
    `resting`) to `fresh` from `n` on, and returns how many there are; compiled code writes zeros
    behind them, eight places in all.
    """
    new = 0
    for t in range(int(at), int(at) + min(int(count), LANES)):
        j = columns[t]
        if bits[j] == resting:
            fresh[int(n) + new] = j
            new += 1
        total[j] += scale * values[t] + total.dtype.type(0)
    return np.uint64(new)


def take_lanes(
    total: Any, bits: Any, resting: Any, fresh: Any, at: Any, columns: Any, values: Any, n: Any
) -> None:
    """Move eight `fresh` columns from `at` on, and their totals, to place `n`; let them rest."""
    for t in range(LANES):
        j = fresh[int(at) + t]
        columns[int(n) + t] = j
        values[int(n) + t] = total[j]
        bits[j] = resting


def _vector(element: Any) -> Any:
    return ir.VectorType(element, LANES)


def _any(kind: Any) -> Any:
    return ir.Constant(kind, ir.Undefined)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kinds = [argument.type for argument in arguments]
    known = builder.module.globals.get(name)
    function = known or ir.Function(builder.module, ir.FunctionType(result, kinds), name)
    return builder.call(function, arguments)


def _splat(builder: Any, scalar: Any) -> Any:
    kind = _vector(scalar.type)
    one = builder.insert_element(_any(kind), scalar, _WORD(0))
    return builder.shuffle_vector(one, _any(kind), ir.Constant(_vector(_WORD), [0] * LANES))


def _base(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _at(builder: Any, base: Any, index: Any) -> Any:
    place = builder.gep(base, [index])
    return builder.bitcast(place, _vector(base.type.pointee).as_pointer())


def _places(builder: Any, base: Any, columns: Any, size: int) -> Any:
    """Return the addresses of the elements of `size` bytes whose numbers are `columns`."""
    start = _splat(builder, builder.ptrtoint(base, _LONG))
    scale = ir.Constant(_vector(_LONG), [size] * LANES)
    offsets = builder.mul(builder.zext(columns, _vector(_LONG)), scale)
    return builder.inttoptr(builder.add(start, offsets), _vector(base.type))


class _Accumulator:
    """Code for the scattered elements of `total` that `columns` name, of 4 or 8 bytes."""

    def __init__(self, builder: Any, base: Any, columns: Any, mask: Any, size: int) -> None:
        self.builder, self.mask, self.size = builder, mask, _WORD(size)
        self.places = _places(builder, base, columns, size)
        self.kind = _vector(base.type.pointee)
        self.suffix = f"v{LANES}f{8 * size}"

    def load(self) -> Any:
        arguments = [self.places, self.size, self.mask, _any(self.kind)]
        name = f"llvm.masked.gather.{self.suffix}.v{LANES}p0"
        return _call(self.builder, name, self.kind, arguments)

    def store(self, vector: Any) -> None:
        arguments = [vector, self.places, self.size, self.mask]
        name = f"llvm.masked.scatter.{self.suffix}.v{LANES}p0"
        _call(self.builder, name, ir.VoidType(), arguments)


def _load_some(builder: Any, place: Any, mask: Any, size: int, suffix: str) -> Any:
    kind = place.type.pointee
    arguments = [place, _WORD(size), mask, ir.Constant(kind, None)]
    return _call(builder, f"llvm.masked.load.v{LANES}{suffix}.p0", kind, arguments)


def _generate_add(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    total, resting, columns, values, at, count, scale, fresh, n = arguments
    kinds = signature.args
    size = kinds[0].dtype.bitwidth // 8
    few = builder.trunc(count, _WORD)
    mask = builder.icmp_unsigned(
        "<", ir.Constant(_vector(_WORD), list(range(LANES))), _splat(builder, few)
    )
    column_base = _base(context, builder, kinds[2], columns)
    value_base = _base(context, builder, kinds[3], values)
    column = _load_some(builder, _at(builder, column_base, at), mask, 4, "i32")
    own = kinds[3].dtype.bitwidth
    value = _load_some(builder, _at(builder, value_base, at), mask, own // 8, f"f{own}")
    if own < 8 * size:
        value = builder.fpext(value, _vector(scale.type))
    product = builder.fmul(value, _splat(builder, scale))
    product = builder.fadd(product, ir.Constant(product.type, [0.0] * LANES))
    place = _Accumulator(builder, _base(context, builder, kinds[0], total), column, mask, size)
    old = place.load()
    place.store(builder.fadd(old, product))
    old_bits = builder.bitcast(old, _vector(ir.IntType(8 * size)))
    new = builder.and_(mask, builder.icmp_unsigned("==", old_bits, _splat(builder, resting)))
    packed = _call(
        builder,
        f"llvm.experimental.vector.compress.v{LANES}i32",
        column.type,
        [column, new, ir.Constant(column.type, None)],
    )
    builder.store(packed, _at(builder, _base(context, builder, kinds[7], fresh), n), align=4)
    return builder.zext(builder.ctpop(builder.bitcast(new, ir.IntType(LANES))), _LONG)


def _generate_take(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    total, resting, fresh, at, columns, values, n = arguments
    kinds = signature.args
    size = kinds[0].dtype.bitwidth // 8
    column = builder.load(_at(builder, _base(context, builder, kinds[2], fresh), at), align=4)
    base = _base(context, builder, kinds[0], total)
    place = _Accumulator(builder, base, column, _ALL, size)
    taken = place.load()
    place.store(builder.bitcast(_splat(builder, resting), taken.type))
    builder.store(column, _at(builder, _base(context, builder, kinds[4], columns), n), align=4)
    builder.store(taken, _at(builder, _base(context, builder, kinds[5], values), n), align=size)
    return context.get_dummy_value()


@intrinsic
def _add(
    typing_context: Any, total: Any, resting: Any, columns: Any, values: Any, at: Any, count: Any,
    scale: Any, fresh: Any, n: Any,
) -> Any:  # fmt: skip
    arguments = (total, resting, columns, values, at, count, total.dtype, fresh, n)
    return types.uint64(*arguments), _generate_add


@intrinsic
def _take(
    typing_context: Any, total: Any, resting: Any, fresh: Any, at: Any, columns: Any, values: Any,
    n: Any,
) -> Any:  # fmt: skip
    return types.void(total, resting, fresh, at, columns, values, n), _generate_take


@overload(add_lanes, inline="always")
def _compiled_add(
    total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, count: Any,
    scale: Any, fresh: Any, n: Any,
) -> Any:  # fmt: skip
    def implementation(
        total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, count: Any,
        scale: Any, fresh: Any, n: Any,
    ) -> Any:  # fmt: skip
        return _add(total, resting, columns, values, at, count, scale, fresh, n)  # type: ignore[call-arg]

    return implementation


@overload(take_lanes, inline="always")
def _compiled_take(
    total: Any, bits: Any, resting: Any, fresh: Any, at: Any, columns: Any, values: Any, n: Any
) -> Any:
    def implementation(
        total: Any, bits: Any, resting: Any, fresh: Any, at: Any, columns: Any, values: Any, n: Any
    ) -> None:
        _take(total, resting, fresh, at, columns, values, n)  # type: ignore[call-arg]

    return implementation
