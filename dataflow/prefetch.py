"""Ask the processor for a cache line that will be read soon: numba has no call for it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload

READ, KEEP, ORDINARY = 0, 3, 1


def prefetch(array: Any, at: Any) -> None:
    """Start to load the line of `array[at]`; nothing happens in interpreted code."""


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    view = context.make_array(signature.args[0])(context, builder, arguments[0])
    pointer = ir.IntType(8).as_pointer()
    word = ir.IntType(32)
    address = builder.bitcast(builder.gep(view.data, [arguments[1]]), pointer)
    kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    builder.call(function, [address, word(READ), word(KEEP), word(ORDINARY)])
    return context.get_dummy_value()


@intrinsic
def _prefetch(typing_context: Any, array: Any, at: Any) -> Any:
    return types.void(array, at), _generate


@overload(prefetch, inline="always")
def _compiled(array: Any, at: Any) -> Any:
    def implementation(array: Any, at: Any) -> None:
        _prefetch(array, at)  # type: ignore[call-arg]

    return implementation
