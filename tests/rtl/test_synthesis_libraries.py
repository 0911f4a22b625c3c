"""Other Liberty files than the default: fewer cells, other units, an older technology."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rtl.export import verilog_text
from rtl.synthesis import flow, gates
from rtl.synthesis.command import synth
from rtl.synthesis.designs import find
from rtl.synthesis.liberty import Cell, Pin, read_library
from tests.rtl.small_liberty import all_cells, cell_text, small_library
from workloads import InputError

NEEDS_TOOLS = pytest.mark.usefixtures("synthesis_tools")
FEW = ("INVX1", "BUFX2", "NAND2X1", "NOR2X1", "DFFPOSX1")


def cells_of(text: str) -> dict[str, str]:
    """Return the text of every cell of a Liberty file by its name."""
    found = {}
    for match in re.finditer(r"^\s*cell\s*\((\w+)\)\s*\{", text, re.M):
        open_braces, at = 1, match.end()
        while open_braces:
            open_braces += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        found[match[1]] = text[match.start() : at]
    return found


def few_cells(folder: Path) -> Path:
    """Write the default library with five of its cells."""
    text = flow.find_library().read_text()
    for name, cell in cells_of(text).items():
        if name not in FEW:
            text = text.replace(cell, "")
    path = folder / "few.lib"
    path.write_text(text)
    return path


def small_units(folder: Path) -> Path:
    """Write the default library in ps, fF and fJ: all tables and loads are a thousand times."""

    def thousandfold(match: re.Match[str]) -> str:
        numbers = re.sub(r"-?\d+\.?\d*(?:e-?\d+)?", lambda n: f"{1000 * float(n[0]):.9g}", match[2])
        return match[1] + numbers

    text = flow.find_library().read_text()
    text = re.sub(r"((?:values|index_[12])\s*\()([^)]*)", thousandfold, text)
    text = re.sub(r"(\w*capacitance\s*:\s*)([-\d.e]+)", thousandfold, text)
    text = re.sub(r"(max_transition\s*:\s*)([-\d.e]+)", thousandfold, text)
    text = text.replace('time_unit : "1ns"', 'time_unit : "1ps"')
    text = re.sub(r"capacitive_load_unit\s*\(1,\s*pf\)", "capacitive_load_unit (1,ff)", text)
    path = folder / "units.lib"
    path.write_text(text)
    return path


@NEEDS_TOOLS
def test_five_cells_are_enough(tmp_path: Path) -> None:
    """The netlist has no others, and still multiplies digits exactly."""
    library, design = few_cells(tmp_path), find("opt4c")
    component = design.component()
    mapped = flow.synthesise(
        verilog_text(component, name=design.name), top=design.name, library=library
    )
    assert set(mapped.cells) <= set(FEW)
    full = flow.synthesise(
        verilog_text(component, name=design.name), top=design.name, library=flow.find_library()
    )
    assert mapped.flops == full.flops
    assert sum(mapped.cells.values()) > sum(full.cells.values())
    rng = np.random.default_rng(0)
    stimulus = {
        "codes": rng.choice([0, 1, 3, 5, 7], 200),
        "b": rng.integers(0, 256, 200),
        "first": np.arange(200) == 0,
    }
    activity = gates.simulate(gates.build(mapped, read_library(library)), stimulus)
    digits = np.array([0, 1, 0, 2, 0, -1, 0, -2])[stimulus["codes"]]
    sums = np.cumsum(digits * stimulus["b"].astype(np.int8).astype(np.int64))
    shown = activity.outputs["total"][2:] + activity.outputs["carry"][2:]
    np.testing.assert_array_equal(shown % (1 << 26), sums[:-2] % (1 << 26))


@NEEDS_TOOLS
def test_results_do_not_depend_on_the_units_of_the_file(tmp_path: Path) -> None:
    """Area and flip-flops are equal; times are rounded to a picosecond along the path."""
    plain, other = synth("opt4c", {}, None), synth("opt4c", {}, small_units(tmp_path))
    assert (other["area"], other["flops"]) == (plain["area"], plain["flops"])
    assert other["min_period_ns"] == pytest.approx(plain["min_period_ns"], abs=0.005)
    assert other["energy_per_op_pj"] == pytest.approx(plain["energy_per_op_pj"], rel=0.01)


def test_blanks_around_a_colon_do_not_matter(tmp_path: Path) -> None:
    path, dense = small_library(tmp_path, *all_cells()), tmp_path / "dense.lib"
    dense.write_text(path.read_text().replace(" : ", ":"))
    plain, other = read_library(path), read_library(dense)
    assert other.voltage == plain.voltage == 2.0
    for name, cell in plain.cells.items():
        same = other.cells[name]
        assert (same.area, same.clock, same.next_state) == (cell.area, cell.clock, cell.next_state)
        assert cell.area in (10, 20)
        for pin, shown in cell.pins.items():
            for what in ("output", "capacitance", "function"):
                assert getattr(same.pins[pin], what) == getattr(shown, what)
            assert same.pins[pin].arcs.keys() == shown.arcs.keys()


def test_a_voltage_in_millivolts_is_the_same_voltage(tmp_path: Path) -> None:
    """Energies of tables are in fF x mV^2 = 1e-9 pJ then."""
    path = small_library(tmp_path, *all_cells())
    text = path.read_text().replace("nom_voltage : 2.0;", "nom_voltage : 2000; UNITS")
    units = 'voltage_unit : "1mV"; capacitive_load_unit (1, ff);'
    path.write_text(text.replace("UNITS", units))
    library = read_library(path)
    assert library.voltage == pytest.approx(2.0)
    arc = library.cells["INV"].pins["Y"].arcs["A"]
    assert arc.energy["rise"].at(0.0, 0.0) == pytest.approx(3e-9)


def test_an_arc_may_be_related_to_several_pins(tmp_path: Path) -> None:
    both = re.sub(r'related_pin : "A"', 'related_pin : "A B"', all_cells()[1])
    library = read_library(small_library(tmp_path, all_cells()[0], both, *all_cells()[2:]))
    arcs = library.cells["NAND"].pins["Y"].arcs
    assert set(arcs) == {"A", "B"}
    assert arcs["A"].delay["rise"].at(0.0, 0.0) == arcs["B"].delay["rise"].at(0.0, 0.0) == 0.1
    assert arcs["A"].energy["fall"].at(0.0, 0.0) == arcs["B"].energy["fall"].at(0.0, 0.0) == 5.0


def test_the_driver_is_an_inverter_however_its_function_is_written(tmp_path: Path) -> None:
    apostrophe = cell_text("INV", "A'", "0.4")
    library = read_library(small_library(tmp_path, apostrophe, *all_cells()[1:]))
    assert flow._driver(library) == "INV"


@pytest.mark.parametrize(
    ("unit", "sentence"),
    [
        ('time_unit : "1hour";', "unit '1hour' is not understood"),
        ("capacitive_load_unit (1,pc);", "unit '1pc' is not understood"),
    ],
)
def test_units_that_nobody_knows_are_refused(unit: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.lib"
    path.write_text(f"library (odd) {{ {unit} }}")
    with pytest.raises(InputError) as error:
        read_library(path)
    assert str(error.value) == f"{path} is no complete Liberty file: {sentence}"


def test_a_flip_flop_is_known_by_its_state_and_not_by_names() -> None:
    pins = {
        "CK": Pin("CK", False, 0.01),
        "DATA": Pin("DATA", False, 0.01),
        "QN": Pin("QN", True, 0.0, "IQN"),
        "OUT": Pin("OUT", True, 0.0, "(IQ)"),
    }
    cell = Cell("DFX", 1.0, pins, clock="CK", next_state="(DATA)", state="IQ")
    assert (cell.state_input, cell.state_output) == ("DATA", "OUT")
    cell.next_state = "(EN DATA)"
    with pytest.raises(InputError, match=r"flip-flop DFX stores '\(EN DATA\)', not a pin of it"):
        _ = cell.state_input
    del pins["OUT"]
    with pytest.raises(InputError, match="flip-flop DFX has no output that shows 'IQ'"):
        _ = cell.state_output


def test_a_design_with_memories_names_its_parts() -> None:
    with pytest.raises(InputError) as error:
        synth("array_opt4c", {}, None)
    assert str(error.value) == (
        "design array_opt4c has memories, which no library of standard cells has: "
        "synthesise its parts, such as opt4c, column_front and simd_lane"
    )
