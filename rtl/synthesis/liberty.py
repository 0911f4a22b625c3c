"""Reads what synthesis results need from a Liberty file: areas, functions, delays, energies.

Supported: non-linear delay and power tables with one or two indices, combinational functions,
flip-flops. Anything else in the file is skipped. Units: ns, pF, and pJ (V x V x pF) of energy,
whatever the file's own are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtl.synthesis.functions import pins_of
from workloads.errors import InputError

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z_0-9.+\-*/!\'&|^\[\]:]+|[(){};,]', re.S)
EDGES = ("fall", "rise")
"""Of a pin: 0 or 1 is the value after it."""

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\\\r?\n", re.S)


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table over load (pF) and input transition (ns), in either order."""

    load: NDArray[np.float64]
    slew: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, load: float, slew: float) -> float:
        """Interpolate bilinearly; outside, continue the outermost cells, as timers do."""
        row, down = _position(self.load, load)
        column, right = _position(self.slew, slew)
        v = self.values
        left = v[row, column] * (1 - down) + v[min(row + 1, len(v) - 1), column] * down
        far = min(column + 1, v.shape[1] - 1)
        other = v[row, far] * (1 - down) + v[min(row + 1, len(v) - 1), far] * down
        return float(left * (1 - right) + other * right)


@dataclass(slots=True)
class Arc:
    """What happens at an output pin because of one input pin, by edge of the output."""

    delay: dict[str, Table] = field(default_factory=dict)
    transition: dict[str, Table] = field(default_factory=dict)
    energy: dict[str, Table] = field(default_factory=dict)


@dataclass(slots=True)
class Pin:
    """A pin: its capacitance and function, the arcs of an output, the energy of an input."""

    name: str
    output: bool
    capacitance: float
    function: str = ""
    arcs: dict[str, Arc] = field(default_factory=dict)
    energy: dict[str, Table] = field(default_factory=dict)


@dataclass(slots=True)
class Cell:
    """A cell: area in the library's unit, pins, and the parts of a flip-flop."""

    name: str
    area: float
    pins: dict[str, Pin]
    clock: str = ""
    next_state: str = ""
    state: str = ""

    @property
    def state_input(self) -> str:
        """The pin that a flip-flop stores; raises `InputError` if it stores anything else."""
        name = re.sub(r"[\s()]", "", self.next_state)
        if name not in self.pins:
            raise InputError(f"flip-flop {self.name} stores {self.next_state!r}, not a pin of it")
        return name

    @property
    def state_output(self) -> str:
        """The pin that shows a flip-flop's state; raises `InputError` if none does, uninverted."""
        for pin in self.pins.values():
            if pin.output and re.sub(r"[\s()]", "", pin.function) == self.state:
                return pin.name
        raise InputError(f"flip-flop {self.name} has no output that shows {self.state!r}")


@dataclass(slots=True)
class Library:
    """All cells of a file, and its nominal voltage in V."""

    name: str
    voltage: float
    cells: dict[str, Cell]


class Group:
    """A group of a Liberty file: name (arguments) { attributes and groups }."""

    def __init__(self, kind: str, arguments: list[str]) -> None:
        self.kind, self.arguments = kind, arguments
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.groups: list[Group] = []

    def all(self, kind: str) -> list[Group]:
        """Return the groups of a kind."""
        return [group for group in self.groups if group.kind == kind]

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a numeric attribute."""
        return float(self.values.get(name, default))


@lru_cache(maxsize=4)
def read_library(path: Path) -> Library:
    """Read a Liberty file; raise `InputError` if it is none or lacks cells that mapping needs."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"cannot read the library {path}: {error.strerror}") from None
    tokens = TOKEN.findall(COMMENT.sub(" ", text))
    if not tokens or tokens[0] != "library":
        raise InputError(f"{path} is no Liberty file: it must begin with library (...)")
    try:
        top, _ = _group(tokens, 0)
        library = _library(top)
    except (IndexError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no complete Liberty file: {error}") from None
    _check_cells(library, path)
    return library


def _check_cells(library: Library, path: Path) -> None:
    """Raise `InputError` unless there are inverter, buffer, two-input gate and D flip-flop."""
    functions = {shape for cell in library.cells.values() for shape in _shapes(cell)}
    simple_flops = [c for c in library.cells.values() if c.clock and len(c.pins) <= 4]
    missing = [
        what
        for what, there in (
            ("an inverter", bool(inverters(library))),
            ("a buffer", ("", 1) in functions),
            ("a NAND or NOR gate", ("!", 2) in functions),
            ("a D flip-flop without set and reset", bool(simple_flops)),
        )
        if not there
    ]
    if missing:
        listed = " and ".join([*filter(None, [", ".join(missing[:-1])]), missing[-1]])
        raise InputError(f"library {path} lacks {listed}, which mapping needs")


def inverters(library: Library) -> list[Cell]:
    """Return the cells that do nothing but invert."""
    return [c for c in library.cells.values() if len(c.pins) == 2 and ("!", 1) in _shapes(c)]


def _shapes(cell: Cell) -> set[tuple[str, int]]:
    """Return, for every output that shows inputs and no state, "!" if it inverts; and how many."""
    return {
        ("!" if "!" in pin.function or "'" in pin.function else "", len(inputs))
        for pin in cell.pins.values()
        if (inputs := pins_of(pin.function)) and cell.pins.keys() >= set(inputs)
    }


def _group(tokens: list[str], at: int) -> tuple[Group, int]:
    """Parse the group that starts at `at`; return it and the place behind it."""
    close = tokens.index(")", at)
    group = Group(tokens[at], [t.strip('"') for t in tokens[at + 2 : close] if t != ","])
    at = close + 2
    while tokens[at] != "}":
        at = _statement(group, tokens, at)
    return group, at + 1


def _statement(group: Group, tokens: list[str], at: int) -> int:
    name, _, value = tokens[at].partition(":")
    if name == ";":
        return at + 1
    if tokens[at + 1] == "(":
        close = tokens.index(")", at)
        if close + 1 < len(tokens) and tokens[close + 1] == "{":
            inner, at = _group(tokens, at)
            group.groups.append(inner)
            return at
        group.lists[name] = [t.strip('"') for t in tokens[at + 2 : close] if t != ","]
        return close + 1
    end = tokens.index(";", at)
    text = " ".join([value, *tokens[at + 1 : end]])
    group.values[name] = text.lstrip(": ").strip('"')
    return end + 1


def _library(top: Group) -> Library:
    templates = {g.arguments[0]: g for g in top.groups if g.kind.endswith("_template")}
    units = _units(top)
    cells = {g.arguments[0]: _cell(g, templates, units) for g in top.all("cell")}
    name = top.arguments[0] if top.arguments else ""
    return Library(name, top.number("nom_voltage", 1.0 / units.voltage) * units.voltage, cells)


class Units(NamedTuple):
    """The file's units of time in ns, of load in pF, and of voltage in V."""

    time: float
    load: float
    voltage: float

    @property
    def energy(self) -> float:
        """The unit of energy in pJ: it follows from the others."""
        return self.load * self.voltage**2


def _units(top: Group) -> Units:
    """Return the units; nothing stated is ns, pF and V."""
    time = _scaled(top.values.get("time_unit", "1ns"), "s", 1e9)
    number, prefixed = top.lists.get("capacitive_load_unit", ["1", "pf"])
    load = _scaled(f"{number}{prefixed}", "f", 1e12)
    voltage = _scaled(top.values.get("voltage_unit", "1V"), "v", 1.0)
    return Units(time, load, voltage)


def _scaled(text: str, unit: str, base: float) -> float:
    """Return a quantity such as 1ps or 10ff, times `base`."""
    match = re.fullmatch(rf"\s*([\d.]+)\s*([munpf]?){unit}\s*", text, re.I)
    if match is None:
        raise ValueError(f"unit {text!r} is not understood")
    exponent = {"": 0, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}[match[2].lower()]
    return float(match[1]) * 10.0**exponent * base


def _cell(group: Group, templates: dict[str, Group], units: Units) -> Cell:
    pins = {g.arguments[0]: _pin(g, templates, units) for g in group.all("pin")}
    flops = group.all("ff")
    state = flops[0].values if flops else {}
    return Cell(
        name=group.arguments[0],
        area=group.number("area"),
        pins=pins,
        clock=re.sub(r"\W", "", state.get("clocked_on", "")),
        next_state=state.get("next_state", ""),
        state=flops[0].arguments[0] if flops and flops[0].arguments else "",
    )


def _pin(group: Group, templates: dict[str, Group], units: Units) -> Pin:
    pin = Pin(
        name=group.arguments[0],
        output=group.values.get("direction") == "output",
        capacitance=group.number("capacitance") * units.load,
        function=group.values.get("function", ""),
    )
    for timing in group.all("timing"):
        kind = timing.values.get("timing_type", "combinational")
        if not pin.output or kind.startswith(("three_state", "clear", "preset")):
            continue
        for related in timing.values["related_pin"].split():
            arc = pin.arcs.setdefault(related, Arc())
            for edge in EDGES:
                _put(arc.delay, edge, timing.all(f"cell_{edge}"), templates, units, units.time)
                tables = timing.all(f"{edge}_transition")
                _put(arc.transition, edge, tables, templates, units, units.time)
    for power in group.all("internal_power"):
        related_pins = power.values.get("related_pin", "").split() if pin.output else []
        arcs = [pin.arcs.setdefault(related, Arc()).energy for related in related_pins]
        for edge in EDGES:
            tables = power.all(f"{edge}_power") or power.all("power")
            for into in arcs or [pin.energy]:
                _put(into, edge, tables, templates, units, units.energy)
    return pin


def _put(
    into: dict[str, Table],
    edge: str,
    groups: list[Group],
    templates: dict[str, Group],
    units: Units,
    value_unit: float,
) -> None:
    if groups and edge not in into:
        table = _table(groups[0], templates)
        into[edge] = Table(
            table.load * units.load, table.slew * units.time, table.values * value_unit
        )


def _table(group: Group, templates: dict[str, Group]) -> Table:
    """Return the table with load down and slew across, whatever the file's order is; its units."""
    template = templates.get(group.arguments[0] if group.arguments else "", Group("", []))
    axes = [template.values.get(f"variable_{i}", "") for i in (1, 2)]
    index = [
        _numbers(group.lists.get(f"index_{i}") or template.lists.get(f"index_{i}", ["0"]))
        for i in (1, 2)
    ]
    values = np.array([_numbers([row]) for row in group.lists["values"]])
    if not axes[1]:  # one index: a row or a column of values
        flat = values.ravel()
        if "cap" in axes[0]:
            return Table(index[0], np.zeros(1), flat[:, None])
        return Table(np.zeros(1), index[0], flat[None, :])
    if values.shape != (len(index[0]), len(index[1])):
        values = values.reshape(len(index[0]), len(index[1]))
    if "cap" in axes[0]:
        return Table(index[0], index[1], values)
    return Table(index[1], index[0], values.T)


def _numbers(texts: list[str]) -> NDArray[np.float64]:
    return np.array([float(x) for text in texts for x in re.split(r"[,\s]+", text.strip()) if x])


def _position(index: NDArray[np.float64], value: float) -> tuple[int, float]:
    if len(index) == 1:
        return 0, 0.0
    cell = int(np.clip(np.searchsorted(index, value) - 1, 0, len(index) - 2))
    return cell, float((value - index[cell]) / (index[cell + 1] - index[cell]))
