"""Ask the processor for a cache line that will be read soon: numba has no call for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload

READ, WRITE = 0, 1
KEEP, ORDINARY = 3, 1


def prefetch(array: Any, at: Any) -> None:
    """Start to load the line of `array[at]`; nothing happens in interpreted code."""


def ask_to_write(array: Any, at: Any) -> None:
    """Start to load the line of `array[at]`, to write it; `at` may lie outside the array."""


def _generator(purpose: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        address = builder.bitcast(builder.gep(view.data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(function, [address, word(purpose), word(KEEP), word(ORDINARY)])
        return context.get_dummy_value()

    return generate


@intrinsic
def _prefetch(typing_context: Any, array: Any, at: Any) -> Any:
    return types.void(array, at), _generator(READ)


@intrinsic
def _ask_to_write(typing_context: Any, array: Any, at: Any) -> Any:
    return types.void(array, at), _generator(WRITE)


@overload(prefetch, inline="always")
def _compiled(array: Any, at: Any) -> Any:
    def implementation(array: Any, at: Any) -> None:
        _prefetch(array, at)  # type: ignore[call-arg]

    return implementation


@overload(ask_to_write, inline="always")
def _compiled_write(array: Any, at: Any) -> Any:
    def implementation(array: Any, at: Any) -> None:
        _ask_to_write(array, at)  # type: ignore[call-arg]

    return implementation
