"""A cocotb bench for a generated design: vectors of Amaranth's simulator, a test to replay them.

The bench needs neither Sparsight nor Amaranth: Verilog, vectors in JSON, cocotb test, Makefile.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtl.designs import Design
from rtl.export import verilog_text
from rtl.stimulus import ports, random_bits
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
VERILOG_SOURCES = {module}.v
COCOTB_TOPLEVEL = {module}
COCOTB_TEST_MODULES = test_{module}

ifeq ($(shell sh -c "command -v cocotb-config"),)
$(error cocotb-config is not on the path; pip install cocotb, or activate its environment)
endif
include $(shell cocotb-config --makefiles)/Makefile.sim
"""

MOST_CYCLES = 1_000_000
"""Of a bench, whose vectors are held in memory."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What was written: the module, the cycles, and the outputs that were the same in all."""

    module: str
    cycles: int
    still: tuple[str, ...]


def write_bench(
    design: Design, parameters: Any, *, directory: Path, cycles: int | None, seed: int
) -> Bench:
    """Write the bench of a design to `directory`.

    Inputs are those of the design's stimulus, once from beginning to end or, with `cycles`, as
    often as these allow; of a design without one, random bits. Raises `InputError` for a design
    without clock, for less than one cycle or more than `MOST_CYCLES`, or if writing fails.
    """
    if cycles is not None and not 1 <= cycles <= MOST_CYCLES:
        raise InputError(f"cycles must lie in 1 to {MOST_CYCLES}, not {cycles}")
    module = design.module
    verilog = verilog_text(design.make(parameters), name=module)
    header = re.search(rf"^module {module}\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    if header is None or "clk" not in header[1]:
        raise InputError(f"design {design.name} has no clock at these parameters: no bench for it")
    vectors = record(design, parameters, cycles=cycles, rng=random.Random(seed))
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
    return Bench(module, len(vectors["cycles"]), still_outputs(vectors))


def still_outputs(vectors: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the outputs that never change: the bench sees no fault in what leads to them only."""
    columns = zip(*(outputs for _, outputs in vectors["cycles"]), strict=True)
    return tuple(
        name
        for name, values in zip(vectors["outputs"], columns, strict=True)
        if len(set(values)) == 1
    )


def record(
    design: Design, parameters: Any, *, cycles: int | None, rng: random.Random
) -> dict[str, Any]:
    """Drive a design in Amaranth's simulator; return names, and values cycle by cycle."""
    from amaranth.sim import Simulator

    component = design.make(parameters)
    inputs, outputs = ports(component)
    make = design.stimulus or random_bits
    most = MOST_CYCLES if cycles is None else cycles
    rows: list[tuple[list[int], list[int]]] = []

    async def bench(ctx: Any) -> None:
        stimulus = make(component, rng)
        driven = next(stimulus)
        while len(rows) < most:
            values = dict.fromkeys(inputs, 0) | driven
            for name, bits in values.items():
                ctx.set(inputs[name], bits)
            seen = {name: ctx.get(port) & (1 << len(port)) - 1 for name, port in outputs.items()}
            rows.append((list(values.values()), list(seen.values())))
            await ctx.tick()
            try:
                driven = stimulus.send(seen)
            except StopIteration:
                if cycles is None:
                    return
                stimulus = make(component, rng)
                driven = next(stimulus)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return {"inputs": list(inputs), "outputs": list(outputs), "cycles": rows}
