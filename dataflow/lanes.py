"""Add to and take from scattered places of an array, eight at a time: numba has no call for it.

What is in order (columns, values, products, the list of new places) moves as one vector of eight;
what is scattered is loaded and stored one by one, which on Zen 4 costs less than its gathers and
scatters do. `fast_here` says where the vectors are single instructions. The plain functions are
what interpreted code runs and what the compiled ones must equal.
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

_WORD, _LONG = ir.IntType(32), ir.IntType(64)


@functools.cache
def fast_here() -> bool:
    """Return whether this processor compresses a vector by one instruction, as AVX-512 does."""
    return bool(llvm.get_host_cpu_features().get("avx512f"))


def add_lanes(
    total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, scale: Any,
    fresh: Any, n: Any,
) -> Any:  # fmt: skip
    """Add `scale * values[t] + 0` to `total[columns[t]]` for eight t from `at` on.

    `columns` must differ in these places. Writes those at which `total` rests (its `bits` equal
    `resting`) to `fresh` from `n` on, and returns how many there are; compiled code writes zeros
    behind them, eight places in all.
    """
    new = 0
    for t in range(int(at), int(at) + LANES):
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


def _splat(builder: Any, scalar: Any) -> Any:
    kind = _vector(scalar.type)
    one = builder.insert_element(_any(kind), scalar, _WORD(0))
    return builder.shuffle_vector(one, _any(kind), ir.Constant(_vector(_WORD), [0] * LANES))


def _base(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


class _Run:
    """Eight neighbouring elements of the array that begins at `base`, from place `at` on."""

    def __init__(self, builder: Any, base: Any, at: Any) -> None:
        self.builder, self.kind = builder, _vector(base.type.pointee)
        self.first = builder.gep(base, [at])
        self.place = builder.bitcast(self.first, self.kind.as_pointer())
        self.size = 4 if base.type.pointee in (_WORD, ir.FloatType()) else 8

    def load(self) -> Any:
        return self.builder.load(self.place, align=self.size)

    def store(self, vector: Any) -> None:
        self.builder.store(vector, self.place, align=self.size)

    def each(self) -> list[Any]:
        """Return the eight elements, loaded one by one."""
        builder = self.builder
        return [builder.load(builder.gep(self.first, [_LONG(lane)])) for lane in range(LANES)]


class _Scattered:
    """The elements of the array at `base` that the eight `columns` number."""

    def __init__(self, builder: Any, base: Any, columns: _Run) -> None:
        self.builder, self.kind = builder, _vector(base.type.pointee)
        self.places = [builder.gep(base, [builder.zext(j, _LONG)]) for j in columns.each()]

    def load(self) -> Any:
        vector = _any(self.kind)
        for lane, place in enumerate(self.places):
            vector = self.builder.insert_element(vector, self.builder.load(place), _WORD(lane))
        return vector

    def store(self, vector: Any) -> None:
        for lane, place in enumerate(self.places):
            self.builder.store(self.builder.extract_element(vector, _WORD(lane)), place)


def _generate_add(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kinds = signature.args
    total, resting, columns, values, at, scale, fresh, n = arguments
    run = _Run(builder, _base(context, builder, kinds[2], columns), at)
    value = _Run(builder, _base(context, builder, kinds[3], values), at).load()
    if value.type.element != scale.type:
        value = builder.fpext(value, _vector(scale.type))
    product = builder.fmul(value, _splat(builder, scale))
    product = builder.fadd(product, ir.Constant(product.type, [0.0] * LANES))
    places = _Scattered(builder, _base(context, builder, kinds[0], total), run)
    column, old = run.load(), places.load()
    places.store(builder.fadd(old, product))
    old_bits = builder.bitcast(old, _vector(resting.type))
    new = builder.icmp_unsigned("==", old_bits, _splat(builder, resting))
    kind = ir.FunctionType(column.type, [column.type, new.type, column.type])
    name = f"llvm.experimental.vector.compress.v{LANES}i32"
    compress = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    packed = builder.call(compress, [column, new, ir.Constant(column.type, None)])
    _Run(builder, _base(context, builder, kinds[6], fresh), n).store(packed)
    return builder.zext(builder.ctpop(builder.bitcast(new, ir.IntType(LANES))), _LONG)


def _generate_take(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kinds = signature.args
    total, resting, fresh, at, columns, values, n = arguments
    run = _Run(builder, _base(context, builder, kinds[2], fresh), at)
    places = _Scattered(builder, _base(context, builder, kinds[0], total), run)
    column, taken = run.load(), places.load()
    places.store(builder.bitcast(_splat(builder, resting), taken.type))
    _Run(builder, _base(context, builder, kinds[4], columns), n).store(column)
    _Run(builder, _base(context, builder, kinds[5], values), n).store(taken)
    return context.get_dummy_value()


@intrinsic
def _add(
    typing_context: Any, total: Any, resting: Any, columns: Any, values: Any, at: Any, scale: Any,
    fresh: Any, n: Any,
) -> Any:  # fmt: skip
    arguments = (total, resting, columns, values, at, total.dtype, fresh, n)
    return types.uint64(*arguments), _generate_add


@intrinsic
def _take(
    typing_context: Any, total: Any, resting: Any, fresh: Any, at: Any, columns: Any, values: Any,
    n: Any,
) -> Any:  # fmt: skip
    return types.void(total, resting, fresh, at, columns, values, n), _generate_take


@overload(add_lanes, inline="always")
def _compiled_add(
    total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, scale: Any,
    fresh: Any, n: Any,
) -> Any:  # fmt: skip
    def implementation(
        total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, scale: Any,
        fresh: Any, n: Any,
    ) -> Any:  # fmt: skip
        return _add(total, resting, columns, values, at, scale, fresh, n)  # type: ignore[call-arg]

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
