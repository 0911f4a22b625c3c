"""What the units share: field layout, leading zeros, shifts with a sticky bit, rounding, cuts."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from rtl.elaboration import delayed, held
from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """A binary interchange format: sign, `exponent_bits`, `fraction_bits`."""

    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Width of the whole number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def exponent_ones(self) -> int:
        """Exponent field of infinities and NaNs."""
        return (1 << self.exponent_bits) - 1

    @property
    def bias(self) -> int:
        """Exponent field of 1.0."""
        return self.exponent_ones >> 1

    @property
    def quiet_nan(self) -> int:
        """The one NaN that the units produce."""
        return (self.exponent_ones << self.fraction_bits) | (1 << (self.fraction_bits - 1))

    @property
    def infinity(self) -> int:
        """Bits of an infinity without its sign."""
        return self.exponent_ones << self.fraction_bits


FP16 = FloatFormat(exponent_bits=5, fraction_bits=10)
FP32 = FloatFormat(exponent_bits=8, fraction_bits=23)


@dataclass(frozen=True, slots=True)
class Fields:
    """A decoded number: `significand` has its hidden bit, `exponent` is at least 1."""

    sign: Value
    exponent: Value
    significand: Value
    is_nan: Value
    is_infinite: Value
    is_zero: Value


def decode(bits: Value, form: FloatFormat) -> Fields:
    """Split `bits`; a subnormal has exponent 1 and no hidden bit, so one rule serves both."""
    fraction = bits[: form.fraction_bits]
    exponent = bits[form.fraction_bits : -1]
    special = exponent == form.exponent_ones
    subnormal = exponent == 0
    return Fields(
        sign=bits[-1],
        exponent=exponent | subnormal,
        significand=Cat(fraction, ~subnormal),
        is_nan=special & (fraction != 0),
        is_infinite=special & (fraction == 0),
        is_zero=subnormal & (fraction == 0),
    )


def leading_zeros(value: Value) -> Value:
    """Count the zeros above the highest one; meaningless for zero. A tree, logarithmic depth."""
    width = 1
    while width < len(value):
        width *= 2
    return _count(Cat(Const(0, width - len(value)), value))[1]


def _count(value: Value) -> tuple[Value, Value]:
    if len(value) == 1:
        return ~value, Const(0, 0)
    half = len(value) // 2
    low_empty, low = _count(value[:half])
    high_empty, high = _count(value[half:])
    return high_empty & low_empty, Cat(Mux(high_empty, low, high)[: len(low)], high_empty)


def shift_right_sticky(m: Module, value: Value, amount: Value, *, name: str) -> Value:
    """Shift right; bit 0 of the result collects (ORs) everything shifted below it.

    `amount` may exceed the width: then only the sticky bit is left.
    """
    width = len(value)
    stages = (width - 1).bit_length()
    for stage in range(stages):
        distance = 1 << stage
        lost = value[: distance + 1].any()
        shifted = Cat(lost, value[distance + 1 :])
        step = Signal(width, name=f"{name}_{distance}")
        m.d.comb += step.eq(Mux(amount[stage], shifted, value))
        value = step
    out = Signal(width, name=f"{name}_out")
    m.d.comb += out.eq(Mux(amount[stages:].any(), value.any(), value))
    return out


def round_to_even(kept: Value, guard: Value, sticky: Value) -> Value:
    """Add the rounding increment to `kept` (exponent over fraction): a carry moves up by itself."""
    return (kept + (guard & (sticky | kept[0])))[: len(kept)]


def check_latency(latency: int) -> int:
    """Return `latency`, in cycles, if it is a whole number that is not negative."""
    if not isinstance(latency, int) or isinstance(latency, bool) or latency < 0:
        raise InputError(f"latency must be a whole number of at least 0, not {latency!r}")
    return latency


class Cuts:
    """Places `latency` registers on the `places` cuts of a datapath, evenly, the last cut first.

    Call `cut` at each place in order, with all signals that live across it.
    """

    def __init__(self, m: Module, *, latency: int, places: int) -> None:
        self._m = m
        self._place = 0
        self._registers = [
            (place + 1) * latency // places - place * latency // places for place in range(places)
        ]

    def cut(self, **values: Value) -> list[Value]:
        """Return the values after this cut's registers, as signals."""
        depth = self._registers[self._place]
        self._place += 1
        after = []
        for what, value in values.items():
            name = f"{what}_at{self._place}"
            after.append(
                delayed(self._m, value, depth, name=name) if depth else held(self._m, value, name)
            )
        return after
