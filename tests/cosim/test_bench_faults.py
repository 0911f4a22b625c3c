"""Faults in the registers of the emitted Verilog, which the bench to take away must see."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from rtl.bench import write_bench
from rtl.designs import find, with_settings
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
    assert "PASS=1 FAIL=0" in make(tmp_path).stdout
    source = tmp_path / f"{module}.v"
    text = source.read_text()
    chosen = random.Random(1).sample(list(REGISTER.finditer(text)), FAULTS)
    unseen = []
    for match in chosen:
        inverted = f"    {match['name']} <= ~({match['next']});"
        source.write_text(text[: match.start()] + inverted + text[match.end() :])
        said = make(tmp_path).stdout
        if "PASS=0 FAIL=1" not in said:
            assert "PASS=1 FAIL=0" in said, said
            unseen.append(match["name"])
    assert FAULTS - len(unseen) >= LEAST_SEEN, f"not seen: {unseen}"
