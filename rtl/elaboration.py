"""What components of every kind are built with: delays, named values, words of several fields."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Module, Signal, Value

from workloads.errors import InputError


def delayed(m: Module, value: Value, cycles: int, *, name: str) -> Value:
    """Return `value` as it was `cycles` cycles ago; its registers are called after `name`."""
    for stage in range(cycles):
        register = Signal(len(value), name=f"{name}_{stage}")
        m.d.sync += register.eq(value)
        value = register
    return value


def held(m: Module, value: Value, name: str) -> Signal:
    """Return `value` as a signal: what is used many times is built once."""
    signal = Signal(len(value), name=name)
    m.d.comb += signal.eq(value)
    return signal


def address_bits(words: int) -> int:
    """Return the bits of an address into `words` words, or of another number below, at least one.

    >>> [address_bits(words) for words in (1, 2, 5, 8)]
    [1, 1, 3, 3]
    """
    return max(1, (words - 1).bit_length())


def unpack(word: Value, width: int) -> list[Value]:
    """Cut a wide port into fields of `width` bits, lowest first."""
    return [word[i : i + width] for i in range(0, len(word), width)]


def pack(values: Sequence[int], width: int) -> int:
    """Join signed or unsigned integers into one word, the first lowest.

    >>> hex(pack([1, -1, 2], 8))
    '0x2ff01'
    """
    return sum((int(value) % (1 << width)) << (width * i) for i, value in enumerate(values))


def owned(component: Any) -> Any:
    """Return the component; Amaranth does not warn if it is never elaborated."""
    component._MustUse__used = True
    return component


def validated(init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor refuse its parameters without Amaranth's warning of an unused component."""

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **parameters: Any) -> None:
        try:
            init(self, *args, **parameters)
        except InputError:
            owned(self)
            raise

    return checked
