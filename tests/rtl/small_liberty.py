"""A Liberty file of five cells, written by the test that reads it."""

from __future__ import annotations

import re
from pathlib import Path

SMALL = """library (small) {
  nom_voltage : 2.0;
  power_lut_template (energy) {
    variable_1 : total_output_net_capacitance; variable_2 : input_transition_time;
    index_1 ("0, 1"); index_2 ("0, 1");
  }
  lu_table_template (delay) {
    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0, 1"); index_2 ("0, 1");
  }
  CELLS
}
"""
ARC = """
    timing () {
      related_pin : "PIN";
      cell_rise (delay) { values ("DELAY, DELAY", "DELAY, DELAY"); }
      cell_fall (delay) { values ("DELAY, DELAY", "DELAY, DELAY"); }
      rise_transition (delay) { values ("0, 0", "0, 0"); }
      fall_transition (delay) { values ("0, 0", "0, 0"); }
    }
    internal_power () {
      related_pin : "PIN";
      rise_power (energy) { values ("3, 3", "3, 3"); }
      fall_power (energy) { values ("5, 5", "5, 5"); }
    }"""


def cell_text(name: str, function: str, delay: str) -> str:
    pins = sorted(set(re.findall("[A-Z]", function)))
    inputs = "".join(
        f"  pin ({pin}) {{ direction : input; capacitance : 0.25; }}\n" for pin in pins
    )
    arcs = "".join(ARC.replace("PIN", pin).replace("DELAY", delay) for pin in pins)
    output = f'  pin (Y) {{ direction : output; function : "{function}"; {arcs} }}\n'
    return f"cell ({name}) {{ area : 10;\n{inputs}{output}}}\n"


FLOP = """cell (FLOP) { area : 20; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
  pin (C) { direction : input; capacitance : 0; } pin (D) { direction : input; capacitance : 0; }
  pin (Q) { direction : output; function : "IQ"; ARC } }
"""


def small_library(folder: Path, *cells: str) -> Path:
    path = folder / f"small{len(cells)}.lib"
    path.write_text(SMALL.replace("CELLS", "\n".join(cells)))
    return path


def all_cells() -> tuple[str, ...]:
    flop = FLOP.replace("ARC", ARC.replace("PIN", "C").replace("DELAY", "0.1"))
    return (
        cell_text("INV", "(!A)", "0.4"),
        cell_text("NAND", "(!(A B))", "0.1"),
        cell_text("XOR", "(A^B)", "0.1"),
        flop,
        cell_text("BUF", "(A)", "0.1"),
    )
