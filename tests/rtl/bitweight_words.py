"""Packing of operands into the wide ports of the bit-weight RTL, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from amaranth.lib import wiring
from amaranth.sim import Simulator
from numpy.typing import NDArray

from rtl.elaboration import pack
from tests.cosim.units import Unit


def packed(rows: NDArray, width: int, cycles: int, *, start: int = 0) -> list[int]:
    """Return one word per cycle: the rows from cycle `start` on, zero before and after."""
    words = [0] * cycles
    for i, row in enumerate(rows):
        words[start + i] = pack(np.ravel(row), width)
    return words


def flags(cycles: int, *at: int) -> list[int]:
    return [int(t in at) for t in range(cycles)]


def fields(word: int, width: int, count: int) -> list[int]:
    return [word >> (width * i) & ((1 << width) - 1) for i in range(count)]


def signed(value: int, width: int) -> int:
    value %= 1 << width
    return value - (1 << width) * (value >> (width - 1))


def play(
    component: wiring.Component,
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    directory: Path | None = None,
) -> dict[str, list[int]]:
    """Return each output's word in every cycle, read just before the edge that ends it.

    In Amaranth's simulator, or in Icarus Verilog if there is a directory to work in.
    """
    cycles = len(next(iter(inputs.values())))
    stimulus = [{name: int(words[t]) for name, words in inputs.items()} for t in range(cycles)]
    unit = Unit(
        make=lambda: component,
        top=type(component).__name__,
        key=repr(sorted((k, v) for k, v in vars(component).items() if isinstance(v, int | str))),
        level="icarus" if directory else "amaranth",
        directory=directory or Path(),
    )
    answers = unit.drive(stimulus, list(outputs))
    return {name: [answer[name] for answer in answers] for name in outputs}


def settle(component: wiring.Component, probe: Callable) -> None:
    """Run `probe(ctx)` on a combinational component."""
    simulator = Simulator(component)
    simulator.add_testbench(probe)
    simulator.run()
