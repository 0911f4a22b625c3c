"""Multiplier and adder of a PE for each operand type, behind one interface."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import delayed
from rtl.export import shared
from rtl.float import Float16Multiply, Float32Add


class IntegerMultiply(wiring.Component):
    """`product = a * b`: int8 factors, int32 product. Latency `latency` cycles, one a cycle."""

    def __init__(self, *, latency: int) -> None:
        self.latency = latency
        super().__init__({"a": In(8), "b": In(8), "product": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        product = Signal(32)
        m.d.comb += [
            product.eq(self.a.as_signed() * self.b.as_signed()),
            self.product.eq(delayed(m, product, self.latency, name="pipe")),
        ]
        return m


class IntegerAdd(wiring.Component):
    """`total = a + b` modulo 2^32. Latency `latency` cycles, one addition a cycle."""

    def __init__(self, *, latency: int) -> None:
        self.latency = latency
        super().__init__({"a": In(32), "b": In(32), "total": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Build the datapath."""
        m = Module()
        total = Signal(32)
        m.d.comb += [
            total.eq(self.a + self.b),
            self.total.eq(delayed(m, total, self.latency, name="pipe")),
        ]
        return m


def multiply(
    m: Module, platform: object, a: Value, b: Value, *, data_type: str, latency: int
) -> Value:
    """Add a multiplier of `latency` cycles and return its product."""
    unit = {"fp16": Float16Multiply, "int8": IntegerMultiply}[data_type](latency=latency)
    m.submodules.multiplier = shared(unit, f"{data_type}_multiply_{latency}", platform)
    m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
    return unit.product


def add(m: Module, platform: object, a: Value, b: Value, *, data_type: str, latency: int) -> Value:
    """Add an adder of `latency` cycles and return its sum."""
    unit = {"fp16": Float32Add, "int8": IntegerAdd}[data_type](latency=latency)
    m.submodules.adder = shared(unit, f"{data_type}_add_{latency}", platform)
    m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
    return unit.total
