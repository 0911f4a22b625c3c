"""What the recorded tables say, in three open libraries: 0.18, 0.35 and 0.5 um."""

from __future__ import annotations

import csv

import pytest

from rtl.export import verilog_text
from rtl.synthesis import flow, table
from rtl.synthesis.designs import DESIGNS

FOLDER = table.RECORDED.parent
LIBRARIES = ("osu018", "osu035", "osu05")
INSTALLED = {
    "osu018": flow.DEBIAN_LIBRARY,
    "osu035": flow.DEBIAN_LIBRARY.parents[1] / "osu035" / "osu035_stdcells.lib",
    "osu05": flow.DEBIAN_LIBRARY.parents[1] / "osu050" / "osu05_stdcells.lib",
}
FIVE = ("opt1", "opt2", "opt3", "opt4c", "opt4e")
NOISE = 0.05
"""How much the mapper's choices differ by chance, for equal circuits."""


def rows(library: str) -> list[dict[str, str]]:
    with (FOLDER / f"{library}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def number(library: str, design: str, column: str, acc_width: int | None = None) -> float:
    """The value of a design at INT8, and at its default width of the sum or another one."""
    default = DESIGNS[design].parameters.get("acc_width", 0)
    for row in rows(library):
        parameters = dict(pair.split("=") for pair in row["parameters"].split())
        if row["design"] != design or parameters.get("width", "8") != "8":
            continue
        if int(parameters.get("acc_width", 0)) == (default if acc_width is None else acc_width):
            return float(row[column])
    raise AssertionError(f"{library} has no {design} of {acc_width} bits")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_period_of_opt1_is_flat_in_the_width_of_the_sum(library: str) -> None:
    """The paper's central claim; the carry-propagate adder of a MAC takes longer and longer."""
    opt1, mac = (
        [number(library, name, "min_period_ns", bits) for bits in (16, 32, 48)]
        for name in ("opt1", "mac")
    )
    assert max(opt1) / min(opt1) < 1 + NOISE
    assert mac[0] < mac[1] < mac[2]
    assert mac[2] / mac[0] > 1.5


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_group_of_four_is_smaller_than_four_single_elements(library: str) -> None:
    """The paper says about three quarters of area and power; area here is less than that."""
    four = 4 * number(library, "opt4c", "area")
    assert number(library, "opt4e", "area") < 0.75 * four
    energy = (number(library, name, "energy_per_op_pj") for name in ("opt4e", "opt4c"))
    assert next(energy) < 0.75 * next(energy)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_segmented_group_is_better_than_all_five_engines(library: str) -> None:
    """In energy, and in area x time, of a multiply-accumulate."""

    def area_time(name: str) -> float:
        area, period, rate = (
            number(library, name, column) for column in ("area", "min_period_ns", "ops_per_cycle")
        )
        return area * period / rate

    assert area_time("opt4e_seg") < min(map(area_time, FIVE))
    energy = {name: number(library, name, "energy_per_op_pj") for name in (*FIVE, "opt4e_seg")}
    assert min(energy, key=energy.__getitem__) == "opt4e_seg"


@pytest.mark.parametrize("column", ["area", "min_period_ns"])
@pytest.mark.parametrize("library", LIBRARIES[1:])
def test_ratios_to_the_mac_are_those_of_every_library(library: str, column: str) -> None:
    """Within the noise of both netlists of a ratio."""

    def ratio(where: str, name: str) -> float:
        return number(where, name, column) / number(where, "mac", column)

    far = {
        name: round(ratio(library, name) / ratio("osu018", name), 3)
        for name in table.ELEMENTS
        if abs(ratio(library, name) / ratio("osu018", name) - 1) > 2 * NOISE
    }
    assert far == {}


@pytest.mark.parametrize("name", table.ELEMENTS)
def test_the_tables_of_installed_libraries_are_of_this_rtl(name: str, synthesis_tools) -> None:
    """If not, `python -m rtl.synthesis.table [LIBERTY]` measures it anew."""
    design = DESIGNS[name]
    verilog = verilog_text(design.component(), name=name)
    parameters = design.parameter_text()
    for library, path in INSTALLED.items():
        if path.is_file():
            key = flow.netlist_key(verilog, path, fuse=design.fuse)
            recorded = [row for row in rows(library) if row["design"] == name]
            assert [row["netlist"] for row in recorded if row["parameters"] == parameters] == [key]
