"""Faults in the registers of the emitted Verilog, which the bench to take away must see."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from rtl.bench import write_bench
from rtl.designs import find, with_settings
from tests.cosim.simulators import Model, run_cocotb
from tests.rtl.benches import make

FAULTS, LEAST_SEEN = 10, 8

QUICK = [("array_opt4c", {}), ("pim_gate", {})]
LONG = [
    ("array_opt2", {}),
    ("array_opt3", {}),
    ("array_opt4e", {}),
    ("array_opt4c_seg", {}),
    ("array_opt4e_seg", {}),
    ("pim_gate", {"dual": "0"}),
    ("pim_channel", {}),
    ("pim_channel", {"dual": "0"}),
    ("hash_accumulate", {}),
    ("sat", {"rows": "2", "cols": "2", "lanes": "8"}),
]

REGISTER = re.compile(r"(?<=always @\(posedge clk\)\n)    (?P<name>\S+) +<= (?P<next>.*);")
"""An assignment of a whole register in the emitted Verilog."""

MODULE = re.compile(r"^module .*?;\n", re.MULTILINE | re.DOTALL)
FAULT = "the_fault"
DECLARED = f"""  integer {FAULT};
  initial if (!$value$plusargs("fault=%d", {FAULT})) {FAULT} = 0;
"""


@pytest.mark.parametrize(
    ("name", "settings"),
    [*QUICK, *(pytest.param(*job, marks=pytest.mark.slow) for job in LONG)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value.values()) or "default",
)
def test_a_bench_sees_inverted_registers(name: str, settings: dict, icarus, tmp_path: Path) -> None:
    """Invert ten registers, one at a time; all but two of the faults make the bench fail.

    Some may stay unseen: a register that holds is inverted in every cycle, so that every other
    cycle it has its right value.
    """
    design = find(name)
    module = write_bench(
        design, with_settings(design, settings), directory=tmp_path, cycles=None, seed=1
    ).module
    source = tmp_path / f"{module}.v"
    text, names = with_faults(source.read_text())
    source.write_text(text)
    assert "PASS=1 FAIL=0" in make(tmp_path).stdout
    built = Model(directory=tmp_path / "sim_build", top=module, simulator="icarus")
    unseen = [name for number, name in enumerate(names, start=1) if passes(built, number)]
    assert FAULTS - len(unseen) >= LEAST_SEEN, f"not seen: {unseen}"


def passes(built: Model, fault: int) -> bool:
    """Whether the bench that its Makefile has built passes with a fault: not seen.

    Runs as the Makefile does, without its questions to cocotb, which take as long as the bench.
    """
    try:
        run_cocotb(
            built,
            module=f"test_{built.top}",
            test="outputs_are_as_recorded",
            environment={},
            directory=built.directory.parent,
            plusargs=[f"+fault={fault}"],
        )
    except AssertionError as error:
        if "PASS=0 FAIL=1" not in str(error):
            raise
        return False
    return True


def with_faults(text: str) -> tuple[str, list[str]]:
    """Let the number +fault choose one of ten registers to invert, so that one build holds all."""
    chosen = random.Random(1).sample(list(REGISTER.finditer(text)), FAULTS)
    parts = {}
    for number, match in enumerate(chosen, start=1):
        inverted = f"{FAULT} == {number} ? ~({match['next']}) : ({match['next']})"
        parts[match.span()] = f"    {match['name']} <= {inverted};"
        header = [found for found in MODULE.finditer(text) if found.end() <= match.start()][-1]
        parts[header.end(), header.end()] = DECLARED
    for (begin, end), part in sorted(parts.items(), reverse=True):
        text = text[:begin] + part + text[end:]
    return text, [match["name"] for match in chosen]
