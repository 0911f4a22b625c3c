"""The multipliers and the adder tree of one bank, with its sum."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflow.pim_arithmetic import LANES
from rtl.elaboration import delayed, validated
from rtl.export import shared
from rtl.float import Float16Multiply, Float32Add, Float32To16
from rtl.pim.parameters import VALUE_BITS, check_tree_lanes

STAGE_CYCLES = 1
"""Latency of a multiplier and of every adder."""
SUM_BITS = 32


def unit_latency(lanes: int) -> int:
    """Return the stages of a unit: products, levels of the tree, sum."""
    return 1 + (lanes.bit_length() - 1) + 1


class PimUnit(wiring.Component):
    """Multiply `lanes` pairs of fp16 values, add them up in a tree and to the sum of the bank.

    Products are exact in fp32; the tree adds neighbours, each sum rounded to fp32, and its result
    is added to the fp32 sum (`dataflow.pim_arithmetic`). `multiply` in cycle t is in the sum from
    t + 2 + log2(lanes) on: a stage for the products, one for each level of the tree, one for the
    sum, for 16 lanes the PIM_PIPELINE_STEPS of the timing table. One COMP a cycle. `read` in cycle
    t takes the sum of all that was multiplied before t, rounded to fp16; `result` has it in
    t + 2 + log2(lanes), when `valid` is high. The next sum starts from zero.

    Members: `multiply`, `read` in; `values`, `vector` in, fp16 lanes; `valid`, `result` out.
    """

    @validated
    def __init__(self, *, lanes: int = LANES) -> None:
        self.lanes = check_tree_lanes(lanes)
        super().__init__(
            {
                "multiply": In(1),
                "read": In(1),
                "values": In(VALUE_BITS * lanes),
                "vector": In(VALUE_BITS * lanes),
                "valid": Out(1),
                "result": Out(VALUE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build products, tree and sum."""
        m = Module()
        terms = self._products(m, platform)
        level = 0
        while len(terms) > 1:
            pairs = list(zip(terms[0::2], terms[1::2], strict=True))
            terms = [
                self._add(m, platform, a, b, f"add_{level}_{i}") for i, (a, b) in enumerate(pairs)
            ]
            level += 1
        self._sum(m, platform, terms[0])
        return m

    def _sum(self, m: Module, platform: object, term: Value) -> None:
        """Add what leaves the tree to the sum, or hand the sum out."""
        total = Signal(SUM_BITS)
        arrives = delayed(m, self.multiply, unit_latency(self.lanes) - 1, name="multiply")
        leaves = delayed(m, self.read, unit_latency(self.lanes) - 1, name="read")
        after = self._add(m, platform, Mux(leaves, 0, total), term, "sum", latency=0)
        with m.If(arrives):
            m.d.sync += total.eq(after)
        with m.Elif(leaves):
            m.d.sync += total.eq(0)
        narrow = Float32To16(latency=STAGE_CYCLES)
        m.submodules.narrow = shared(narrow, "narrow", platform)
        m.d.comb += [
            narrow.wide.eq(total),
            self.valid.eq(delayed(m, leaves, STAGE_CYCLES, name="valid")),
            self.result.eq(Mux(self.valid, narrow.half, 0)),
        ]

    def _products(self, m: Module, platform: object) -> list[Value]:
        products = []
        for lane in range(self.lanes):
            unit = Float16Multiply(latency=STAGE_CYCLES)
            m.submodules[f"multiply_{lane}"] = shared(unit, "multiply", platform)
            m.d.comb += [
                unit.a.eq(self.values.word_select(lane, VALUE_BITS)),
                unit.b.eq(self.vector.word_select(lane, VALUE_BITS)),
            ]
            products.append(unit.product)
        return products

    def _add(
        self,
        m: Module,
        platform: object,
        a: Value,
        b: Value,
        name: str,
        *,
        latency: int = STAGE_CYCLES,
    ) -> Value:
        unit = Float32Add(latency=latency)
        m.submodules[name] = shared(unit, f"add_{latency}", platform)
        m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
        return unit.total
