import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rtl.cli import app
from rtl.elaboration import owned
from rtl.export import verilog_text
from rtl.stimulus import ports
from rtl.synthesis import flow, gates, table, units
from rtl.synthesis.command import synth
from rtl.synthesis.designs import DESIGNS, find
from rtl.synthesis.events import INPUT_DELAY_PS
from rtl.synthesis.functions import truth_table
from rtl.synthesis.liberty import read_library
from tests.cosim.units import Unit
from tests.rtl.small_liberty import all_cells, cell_text, small_library
from workloads import InputError

NEEDS_TOOLS = pytest.mark.usefixtures("synthesis_tools")


def test_a_table_is_interpolated_in_load_and_transition(tmp_path: Path) -> None:
    text = cell_text("INV", "(!A)", "0.4").replace('"3, 3", "3, 3"', '"1, 2", "3, 8"', 1)
    library = read_library(small_library(tmp_path, text, *all_cells()[1:]))
    energy = library.cells["INV"].pins["Y"].arcs["A"].energy["rise"]
    assert energy.at(0.0, 0.0) == 1.0
    assert energy.at(1.0, 0.0) == 3.0
    assert energy.at(0.5, 0.5) == pytest.approx((1 + 2 + 3 + 8) / 4)
    assert energy.at(2.0, 0.0) == pytest.approx(5.0)  # the last cell continues


@pytest.mark.parametrize(
    ("function", "order", "table_bits"),
    [
        ("(!A)", "A", [1, 0]),
        ("(A B)", "AB", [0, 0, 0, 1]),
        ("(!((A B)+C))", "ABC", [1, 1, 1, 0, 0, 0, 0, 0]),
        ("A^B'", "AB", [1, 0, 0, 1]),
        ("((A*B)|(!A&!B))", "AB", [1, 0, 0, 1]),
    ],
)
def test_liberty_functions_become_truth_tables(function, order, table_bits) -> None:
    bits = truth_table(function, list(order))
    assert [bits >> i & 1 for i in range(len(table_bits))] == table_bits


@pytest.mark.parametrize("function", ["(A", "A B)", "!", "A+", "A$B", "()"])
def test_a_function_that_is_none_is_refused(function: str) -> None:
    with pytest.raises(InputError) as error:
        truth_table(function, ["A", "B"])
    assert str(error.value) == f"function {function!r} of a cell is not understood"


def glitching() -> dict:
    """y = a ^ a delayed by an inverter twice: it settles at 0 and glitches when a changes."""

    def instance(kind: str, **nets: int) -> dict:
        return {"type": kind, "connections": {pin: [net] for pin, net in nets.items()}}

    return {
        "ports": {
            "clk": {"direction": "input", "bits": [2]},
            "a": {"direction": "input", "bits": [3]},
            "y": {"direction": "output", "bits": [6]},
        },
        "cells": {
            "i1": instance("INV", A=3, Y=4),
            "i2": instance("INV", A=4, Y=5),
            "x": instance("XOR", A=3, B=5, Y=6),
        },
    }


def test_glitches_and_their_energy_are_counted(tmp_path: Path) -> None:
    """Each change of a: a, two inverters, and y up and down: five transitions, three settled."""
    library = read_library(small_library(tmp_path, *all_cells()))
    circuit = gates._Builder(glitching(), library).circuit()
    a = np.array([1, 1, 0, 1, 0])
    activity = gates.simulate(circuit, {"a": a})
    changes = 4
    assert activity.toggles == 5 * changes
    assert activity.settled_toggles == 3 * changes
    half_v2 = 0.5 * 2.0**2
    loads = 2 * 0.25 + 0.25 + 0.25 + 2 * flow.OUTPUT_LOAD_PF
    assert activity.switching_pj == pytest.approx(changes * half_v2 * loads)
    # the inverters go opposite ways, y rises and falls: each pair costs 3 + 5
    assert activity.internal_pj == pytest.approx(changes * (3 + 5) * 2)
    assert activity.settle_ps == INPUT_DELAY_PS + 400 + 400 + 100
    assert activity.outputs["y"].tolist() == [0] * 5


def test_a_pulse_shorter_than_the_gate_is_swallowed(tmp_path: Path) -> None:
    slow = cell_text("XOR", "(A^B)", "0.9")
    library = read_library(small_library(tmp_path, *all_cells()[:2], slow, *all_cells()[3:]))
    activity = gates.simulate(
        gates._Builder(glitching(), library).circuit(), {"a": np.array([1, 0, 1])}
    )
    assert activity.toggles == activity.settled_toggles == 3 * 3


@pytest.mark.parametrize(
    ("cells", "lack"),
    [
        ((0, 1, 2, 4), "a D flip-flop without set and reset"),
        ((1, 3, 4), "an inverter"),
        ((0, 1, 3), "a buffer"),
        ((2,), "an inverter, a buffer, a NAND or NOR gate and a D flip-flop without set and reset"),
        ((0, 2, 3, 4), "a NAND or NOR gate"),
    ],
)
def test_a_library_without_needed_cells_is_refused(tmp_path: Path, cells, lack: str) -> None:
    path = small_library(tmp_path, *(all_cells()[i] for i in cells))
    with pytest.raises(InputError) as error:
        read_library(path)
    assert str(error.value) == f"library {path} lacks {lack}, which mapping needs"


@pytest.mark.parametrize("text", ["", "module x;", "library (x) { cell (a) { area : "])
def test_a_file_that_is_no_library_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"{len(text)}.lib"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is no (complete )?Liberty file"):
        read_library(path)


@pytest.mark.parametrize(
    ("design", "settings", "message"),
    [
        ("opt4", {}, "no design is called 'opt4'; did you mean opt4e?"),
        (
            "opt4c",
            {"lanes": "2"},
            "design opt4c has no parameter 'lanes'; it has width, acc_width",
        ),
        ("opt4c", {"widht": "8"}, "design opt4c has no parameter 'widht'; did you mean width?"),
        ("opt4c", {"width": "x"}, "width must be a whole number, not 'x'"),
    ],
)
def test_the_command_refuses_what_there_is_not(design, settings, message) -> None:
    with pytest.raises(InputError) as error:
        synth(design, settings, None)
    assert str(error.value) == message


def test_missing_tools_are_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.shutil, "which", lambda name: None)
    with pytest.raises(InputError) as error:
        synth("opt4c", {}, None)
    assert str(error.value) == (
        "synthesis needs yosys and opensta: `apt-get install yosys opensta` "
        "(the table of shipped results needs neither)"
    )


def shipped() -> dict[tuple[str, str], dict[str, str]]:
    with table.SHIPPED.open(newline="") as file:
        return {(row["design"], row["parameters"]): row for row in csv.DictReader(file)}


def test_the_shipped_table_has_every_design_and_sweep() -> None:
    wanted = set()
    for design, changes in table.shipped_jobs():
        wanted.add((design.name, design.parameter_text(**changes)))
    assert set(shipped()) == wanted
    assert table.RECORDED.read_bytes() == table.SHIPPED.read_bytes()


@pytest.mark.parametrize("name", units.UNITS)
def test_the_recorded_table_of_units_is_of_this_rtl(name: str, synthesis_tools) -> None:
    """If not, `python -m rtl.synthesis.units` measures it anew."""
    with units.RECORDED.open(newline="") as file:
        rows = {row["design"]: row for row in csv.DictReader(file)}
    verilog = verilog_text(find(name).component(), name=name)
    assert rows[name]["netlist"] == flow.netlist_key(verilog, flow.find_library(), fuse=False)
    assert list(rows) == list(units.UNITS)


@NEEDS_TOOLS
def test_a_bank_controller_measures_as_the_recorded_table_says() -> None:
    """Its energy is per command: two of six open and close the row, four read it."""
    result = synth("pim_bank", {}, None)
    with units.RECORDED.open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["design"] == "pim_bank")
    if row["tools"] == result["tools"]:
        for column in ("area", "flops", "min_period_ns"):
            assert float(row[column]) == pytest.approx(result[column], rel=1e-6), column
    assert result["energy_per_op_pj"] > result["settled_energy_pj"] > 0


@NEEDS_TOOLS
def test_the_json_of_a_measurement_has_the_energy_in_joules_too() -> None:
    result = CliRunner().invoke(app, ["synth", "opt4c", "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert {"area", "flops", "min_period_ns"} <= found.keys()
    assert found["energy_per_op_j"] == pytest.approx(found["energy_per_op_pj"] * 1e-12)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("opt2", {"lanes": 3}),
        ("laconic", {"lanes": 256}),
        ("simd_lane", {"acc_width": 1}),
        ("pim_unit", {"lanes": 512}),
        ("hash_accumulate", {"key_bits": 8}),
    ],
)
def test_a_stimulus_fits_the_ports_of_odd_parameters(name: str, changes: dict[str, int]) -> None:
    """A word for every cycle; lanes that do not divide 256 terms, or more than that."""
    component, cycles = owned(find(name).component(**changes)), 100
    stimulus, operations = find(name).stimulus(component, cycles)
    assert operations > 0
    driven, _ = ports(component)
    for port, words in stimulus.items():
        assert len(words) == cycles
        assert all(0 <= int(word) < 1 << len(driven[port]) for word in words), port


def test_a_bank_has_one_row_buffer_or_two() -> None:
    with pytest.raises(InputError, match="dual must be 0 or 1, not 2"):
        find("pim_bank").component(dual=2)


def test_units_compute_under_their_stimulus(tmp_path: Path) -> None:
    """Every update that the stimulus offers is accepted: the energy is that of all of them."""
    cycles = 60
    table_unit = units.UNITS["hash_accumulate"].component()
    stimulus, updates = units.update_stimulus(table_unit, cycles)
    requesters = table_unit.unit.requesters
    watched = [f"update__{r}__ready" for r in range(requesters)]
    steps = [{name: int(values[c]) for name, values in stimulus.items()} for c in range(cycles)]
    unit = Unit(
        make=lambda: table_unit, top="hash_accumulate", key="", level="amaranth", directory=tmp_path
    )
    got = unit.drive(steps, watched)
    taken = sum(
        steps[c][f"update__{r}__valid"] & got[c][f"update__{r}__ready"]
        for c in range(cycles)
        for r in range(requesters)
    )
    assert taken == updates


@NEEDS_TOOLS
@pytest.mark.parametrize("name", ["opt4c", "opt4c_seg"])
def test_a_design_measures_as_the_shipped_table_says(name: str) -> None:
    result = synth(name, {}, None)
    row = shipped()[name, DESIGNS[name].parameter_text()]
    if row["tools"] == result["tools"]:
        for column in ("area", "flops", "min_period_ns", "energy_per_op_pj"):
            assert float(row[column]) == pytest.approx(result[column], rel=1e-6), column


@NEEDS_TOOLS
def test_the_mapped_netlist_computes_and_settles_within_its_period() -> None:
    design = find("opt1_offset")
    library = flow.find_library()
    component = design.component()
    mapped = flow.synthesise(
        verilog_text(component, name=design.name), top=design.name, library=library
    )
    stimulus, _ = design.stimulus(component, 300)
    activity = gates.simulate(gates.build(mapped, read_library(library)), stimulus)
    a, b = stimulus["a"], stimulus["b"]
    sums = np.concatenate([np.cumsum((a * b)[i : i + 256]) for i in range(0, 300, 256)])
    terms = np.arange(300) % 256 + 1
    seen = activity.outputs["total"][2:] + activity.outputs["carry"][2:]
    value = (seen - 21760 * terms[:-2] - sums[:-2]) % (1 << 32)
    assert (value == 0).all()
    assert activity.settle_ps <= 1000 * mapped.min_period_ns
