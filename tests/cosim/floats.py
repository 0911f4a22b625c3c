"""All floating point units side by side, and a Verilator program that streams pairs through."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from rtl.elaboration import delayed
from rtl.export import shared
from rtl.float import Float16Multiply, Float16To32, Float32Add, Float32Multiply, Float32To16
from tests.cosim.simulators import build_batch, emit

LATENCY = 4
OUTPUTS = ("half_product", "total", "product", "narrowed", "widened")


class FloatBench(wiring.Component):
    """Every unit on the same pair `a`, `b`; all results appear `LATENCY` cycles later."""

    def __init__(self) -> None:
        super().__init__(
            {"a": In(32), "b": In(32), **{name: Out(32) for name in OUTPUTS}},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        half_multiply, add = Float16Multiply(latency=LATENCY), Float32Add(latency=LATENCY)
        multiply, narrow = Float32Multiply(latency=LATENCY), Float32To16(latency=LATENCY)
        widen = Float16To32()
        units = {"half": half_multiply, "add": add, "mul": multiply, "nar": narrow, "wid": widen}
        for name, unit in units.items():
            m.submodules[name] = shared(unit, name, platform)
        m.d.comb += [
            half_multiply.a.eq(self.a[:16]),
            half_multiply.b.eq(self.b[:16]),
            self.half_product.eq(half_multiply.product),
            self.total.eq(add.total),
            self.product.eq(multiply.product),
            narrow.wide.eq(self.a),
            self.narrowed.eq(narrow.half),
            widen.half.eq(self.a[:16]),
            self.widened.eq(delayed(m, widen.wide, LATENCY, name="widened")),
        ]
        for unit in (add, multiply):
            m.d.comb += [unit.a.eq(self.a), unit.b.eq(self.b)]
        return m


def run_units(pairs: NDArray[np.uint32], directory: Path) -> dict[str, NDArray[np.uint32]]:
    """Stream `pairs` (count, 2) through the units in Verilator; return each unit's results."""
    verilog = emit(FloatBench, key="", top="float_bench")
    harness = Path(__file__).parent / "harness" / "float_bench.cpp"
    program = build_batch(verilog, top="float_bench", harness=harness)
    source, result = directory / "pairs.bin", directory / "results.bin"
    np.ascontiguousarray(pairs, "<u4").tofile(source)
    subprocess.run([program, source, result, str(LATENCY)], check=True)
    words = np.fromfile(result, "<u4").reshape(-1, len(OUTPUTS))
    assert len(words) == len(pairs)
    return {name: words[:, column] for column, name in enumerate(OUTPUTS)}
