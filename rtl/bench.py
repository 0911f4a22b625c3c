"""A cocotb bench for a generated design: vectors of Amaranth's simulator, a test to replay them.

The bench needs neither Sparsight nor Amaranth: Verilog, vectors in JSON, cocotb test, Makefile.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import wiring

from rtl.designs import Design
from rtl.export import verilog_text
from workloads.errors import InputError
from workloads.files import write_whole

TEST = '''"""Drive the inputs of every cycle; compare the outputs just before the cycle's end."""

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge


@cocotb.test()
async def outputs_are_as_recorded(dut):
    vectors = json.loads(Path(__file__).with_name("vectors.json").read_text())
    inputs, outputs = vectors["inputs"], vectors["outputs"]
    Clock(dut.clk, 2, "step").start()
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    for cycle, (driven, expected) in enumerate(vectors["cycles"]):
        for name, value in zip(inputs, driven):
            getattr(dut, name).value = value
        await RisingEdge(dut.clk)
        for name, value in zip(outputs, expected):
            found = int(getattr(dut, name).value)
            assert found == value, f"cycle {cycle}: {name} is {found:#x}, not {value:#x}"
'''

MAKEFILE = """SIM ?= icarus
TOPLEVEL_LANG ?= verilog
VERILOG_SOURCES = $(CURDIR)/{module}.v
COCOTB_TOPLEVEL = {module}
COCOTB_TEST_MODULES = test_{module}

include $(shell cocotb-config --makefiles)/Makefile.sim
"""


def write_bench(design: Design, parameters: Any, *, directory: Path, cycles: int, seed: int) -> str:
    """Write the bench of a design to `directory`; return the name of the module.

    Inputs are random bits; those of one bit change seldom, so that streams wait and flow. Raises
    `InputError` for a design without clock, for less than one cycle, or if writing fails.
    """
    if cycles < 1:
        raise InputError(f"cycles must be at least 1, not {cycles}")
    module = design.name.replace("-", "_")
    verilog = verilog_text(design.make(parameters), name=module)
    header = re.search(rf"^module {module}\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    if header is None or "clk" not in header[1]:
        raise InputError(f"design {design.name} has no clock at these parameters: no bench for it")
    vectors = record(design.make(parameters), cycles=cycles, rng=random.Random(seed))
    files = {
        f"{module}.v": verilog,
        "vectors.json": json.dumps(vectors),
        f"test_{module}.py": TEST,
        "Makefile": MAKEFILE.format(module=module),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {directory}: {error.strerror}") from None
    write_whole({directory / name: text.encode() for name, text in files.items()})
    return module


def record(component: wiring.Component, *, cycles: int, rng: random.Random) -> dict[str, Any]:
    """Drive random inputs in Amaranth's simulator; return names, and values cycle by cycle."""
    from amaranth.sim import Simulator

    ports = [
        ("__".join(map(str, path)), member.flow == wiring.In, Value.cast(value))
        for path, member, value in component.signature.flatten(component)
    ]
    inputs = [(name, value) for name, is_input, value in ports if is_input]
    outputs = [(name, value) for name, is_input, value in ports if not is_input]
    rows: list[tuple[list[int], list[int]]] = []

    async def bench(ctx: Any) -> None:
        held = [0] * len(inputs)
        for _ in range(cycles):
            for i, (_, value) in enumerate(inputs):
                if len(value) > 1 or rng.random() < SWITCHES:
                    held[i] = rng.getrandbits(len(value))
                ctx.set(value, held[i] if not value.shape().signed else _signed(held[i], value))
            seen = [ctx.get(value) & (1 << len(value)) - 1 for _, value in outputs]
            rows.append((held.copy(), seen))
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return {
        "inputs": [name for name, _ in inputs],
        "outputs": [name for name, _ in outputs],
        "cycles": rows,
    }


SWITCHES = 0.3
"""Chance that an input of one bit is drawn anew in a cycle."""


def _signed(bits: int, value: Value) -> int:
    top = 1 << len(value) - 1
    return (bits ^ top) - top
