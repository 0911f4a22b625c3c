"""Arrays without memories under cocotb: side by side, the words that they take, what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bitweight.dense import is_carry_save, step_offset
from rtl.elaboration import owned, pack
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import Config
from tests.cosim.simulators import source_of
from tests.cosim.units import Unit
from tests.rtl.bitweight_words import fields, signed
from workloads.operations import gemm

STYLES = ("mac", "opt1", "opt1_offset")
PAIRS = STYLES[1:]
SLACK = 4


class Beside(wiring.Component):
    """Components side by side: inputs of the same name are one port, outputs are name_port."""

    def __init__(self, parts: Mapping[str, wiring.Component]) -> None:
        self.parts = parts
        members = {}
        for name, part in parts.items():
            for port, member in part.signature.members.items():
                inward = member.flow == In and not port.startswith("correction")
                members[port if inward else f"{name}_{port}"] = (
                    In(len(getattr(part, port)))
                    if member.flow == In
                    else Out(len(getattr(part, port)))
                )
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            for port, member in part.signature.members.items():
                inner = getattr(part, port)
                if member.flow == Out:
                    m.d.comb += getattr(self, f"{name}_{port}").eq(inner)
                else:
                    outer = f"{name}_{port}" if port.startswith("correction") else port
                    m.d.comb += inner.eq(getattr(self, outer))
        return m


def play(
    make: Callable[[], Mapping[str, wiring.Component]], key: str, inputs: dict, directory: Path
) -> dict[str, list[int]]:
    """Drive the components of `make` in Icarus Verilog; return each output in every cycle.

    `key` names what `make` takes from elsewhere than its file.
    """
    dut = Beside(make())
    for part in dut.parts.values():
        owned(part)  # if the Verilog is cached, only the ports are needed
    unit = Unit(
        make=lambda: dut,
        top="beside",
        key=f"{key} {source_of(make)}",
        level="icarus",
        directory=directory,
    )
    cycles = max(map(len, inputs.values()))
    padded = {name: [*words, *[0] * (cycles - len(words))] for name, words in inputs.items()}
    stimulus = [{name: int(words[t]) for name, words in padded.items()} for t in range(cycles)]
    outputs = [name for name, member in dut.signature.members.items() if member.flow == Out]
    answers = unit.drive(stimulus, outputs)
    return {name: [answer[name] for answer in answers] for name in outputs}


def value(seen: dict, style: str, edge: int, place: int, count: int, terms: int) -> int:
    """The signed value that output `place` of `count` of a style shows at an edge."""
    ports = ("total", "carry") if is_carry_save(style) else ("total",)
    raw = sum(fields(seen[f"{style}_{port}"][edge], 32, count)[place] for port in ports)
    return signed(raw - terms * step_offset(8, style), 32)


def result(seen: dict, style: str, edge: int, place: int, count: int) -> int:
    return signed(fields(seen[f"read_{style}_results"][edge], 32, count)[place], 32)


def drawn(rng: np.random.Generator, q: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Random operands, but the smallest values for q = 0, the largest for q = 1, mixed for 2."""
    fills = {0: (-128, -128), 1: (127, 127), 2: (-128, 127)}
    if q in fills:
        return [np.full(shape, fill) for shape, fill in zip(shapes, fills[q], strict=True)]
    return [rng.integers(-128, 128, shape) for shape in shapes]


class Stream:
    """Words for the ports of an array, written at any cycle."""

    def __init__(self, *names: str) -> None:
        self.words: dict[str, dict[int, int]] = {name: {} for name in names}

    def put(self, name: str, cycle: int, word: int) -> None:
        self.words[name][cycle] = word

    def rows(self, name: str, cycle: int, rows: np.ndarray, width: int, size: int) -> None:
        """Put a row of values in each cycle from `cycle` on, padded with zeros to `size`."""
        for t, row in enumerate(rows):
            flat = np.ravel(row)
            self.put(name, cycle + t, pack([*flat, *[0] * (size - len(flat))], width))

    def lists(self, cycles: int) -> dict[str, list[int]]:
        return {name: [at.get(t, 0) for t in range(cycles)] for name, at in self.words.items()}


def tiles(m: int, n: int, rows: int, cols: int) -> list[tuple[int, int, int, int]]:
    """Return start and size of every tile, columns of tiles innermost."""
    return [
        (i, j, min(rows, m - i), min(cols, n - j))
        for i in range(0, m, rows)
        for j in range(0, n, cols)
    ]


def simulated(array: str, engine: str, shape: tuple[int, int, int], **parameters: int) -> int:
    config = Config(array=array, engine=engine, clock_hz=1.0, **parameters)
    report = bitweight.simulate(config, bitweight.schedule(config, gemm(*shape, dtype="int8")))
    return int(report.columns["compute_cycles"][0])
