"""Add to and take from scattered places of an array, eight at a time: numba has no call for it.

What is in order (columns, values, products, the list of new places) moves as one vector of eight;
what is scattered is loaded and stored one by one, which on Zen 4 costs less than its gathers and
scatters do. `fast_here` says where that beats scalar code. The plain functions are what interpreted
code runs and what the compiled ones must equal.
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
def permutes() -> bool:
    """Return whether a vector is packed by a permutation from a table: AVX2 without AVX-512."""
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx2")) and not features.get("avx512f")


@functools.cache
def fast_here() -> bool:
    """Return whether this processor packs a vector in a few instructions, by AVX-512 or AVX2."""
    return permutes() or bool(llvm.get_host_cpu_features().get("avx512f"))


def add_lanes(
    total: Any, bits: Any, resting: Any, columns: Any, values: Any, at: Any, scale: Any,
    fresh: Any, n: Any,
) -> Any:  # fmt: skip
    """Add `scale * values[t] + 0` to `total[columns[t]]` for eight t from `at` on.

    `columns` must differ in these places. Writes those at which `total` rests (its `bits` equal
    `resting`) to `fresh` from `n` on, and returns how many there are; compiled code writes eight
    places in all, those behind them without meaning.
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
    """Move eight `fresh` columns from `at` on to `columns`, their totals to `values`, at place `n`.

    In `total` they rest then.
    """
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
    mask = builder.bitcast(new, ir.IntType(LANES))
    packed = (_permute if permutes() else _compress)(builder, column, new, mask)
    _Run(builder, _base(context, builder, kinds[6], fresh), n).store(packed)
    return builder.zext(builder.ctpop(mask), _LONG)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [each.type for each in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _compress(builder: Any, column: Any, new: Any, mask: Any) -> Any:
    """Return the columns that are new, packed: one instruction of AVX-512."""
    name = f"llvm.experimental.vector.compress.v{LANES}i32"
    return _call(builder, name, column.type, [column, new, ir.Constant(column.type, None)])


def _permute(builder: Any, column: Any, new: Any, mask: Any) -> Any:
    """Return the same by AVX2, in the order that a table has for each mask."""
    name = "sparsight.orders"
    table = builder.module.globals.get(name)
    if table is None:
        orders = [[lane for lane in range(LANES) if bits >> lane & 1] for bits in range(1 << LANES)]
        rows = [order + [0] * (LANES - len(order)) for order in orders]
        table = ir.GlobalVariable(builder.module, ir.ArrayType(column.type, len(rows)), name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(table.value_type, rows)
    order = builder.load(builder.gep(table, [_LONG(0), builder.zext(mask, _LONG)]))
    return _call(builder, "llvm.x86.avx2.permd", column.type, [column, order])


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
