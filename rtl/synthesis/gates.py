"""Event-driven simulation of a mapped netlist with Liberty delays, and what its toggles cost.

Two values, inertial delays: a pulse shorter than the delay of the gate that would make it does not
appear. Delays are those of the tables at each net's own load and at transitions propagated from
the flip-flops (mean of rise and fall), so that glitches arise where arrival times differ.

Energy is, per transition of a net, C V^2 / 2 of its load, plus the internal energy that the table
gives for the arc that caused it; per input pin, what the table gives for its own transition; per
flip-flop and cycle, both edges of the clock. Wires, the clock tree and leakage are not counted.
OpenSTA 2.0 states the same switching power on equal activity, but charges every transition of a
gate both the rise and the fall energy, and of every input: weighted by the chance that the other
operand of the innermost operator lets the input through. That is twice ours for gates of one or two
inputs and more for larger ones: 2.5 times for our netlists.

The flip-flops start at zero. Inputs change `INPUT_DELAY_PS` after the clock edge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl.synthesis.events import run
from rtl.synthesis.flow import OUTPUT_LOAD_PF, Mapped
from rtl.synthesis.functions import pins_of, truth_table
from rtl.synthesis.liberty import EDGES, Cell, Library, Pin
from workloads.errors import InputError
from workloads.rounding import ceil_div

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

START_TRANSITION_NS = 0.1
MOST_INPUTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A netlist as flat arrays; nets are numbered, gates have up to five inputs (-1: none)."""

    nets: int
    inputs: dict[str, Ints]
    outputs: dict[str, Ints]
    gate_inputs: Ints
    gate_output: Ints
    truth: Ints
    delay_ps: Ints
    arc_pj: Floats
    flop_d: Ints
    flop_q: Ints
    flop_delay_ps: Ints
    flop_arc_pj: Floats
    clock_pj: float
    fan_start: Ints
    fan_gate: Ints
    fan_pin: Ints
    load_pj: Floats
    pin_pj: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a run did: outputs by cycle, transitions, energy, and the latest transition."""

    outputs: dict[str, NDArray[Any]]
    cycles: int
    toggles: int
    settled_toggles: int
    switching_pj: float
    internal_pj: float
    clock_pj: float
    settle_ps: int

    @property
    def energy_pj(self) -> float:
        """All energy of the run."""
        return self.switching_pj + self.internal_pj + self.clock_pj


def build(mapped: Mapped, library: Library) -> Circuit:
    """Number the nets of a netlist and look up loads, delays and energies."""
    return _Builder(mapped.netlist, library).circuit()


def simulate(circuit: Circuit, stimulus: dict[str, NDArray[Any]]) -> Activity:
    """Run the circuit; `stimulus` has (cycles,) integers for every input but clock and reset.

    Values wider than 63 bits are given as Python integers. Outputs are sampled just before the
    edge that ends the cycle.
    """
    cycles = len(next(iter(stimulus.values())))
    names = [name for name in circuit.inputs if name not in ("clk", "rst")]
    bits = [_bits(stimulus[name], len(circuit.inputs[name])) for name in names]
    driven = np.concatenate([circuit.inputs[name] for name in names])
    watched = np.concatenate([circuit.outputs[name] for name in circuit.outputs])
    samples, totals = run(
        circuit.nets,
        circuit.gate_inputs,
        circuit.gate_output,
        circuit.truth,
        circuit.delay_ps,
        circuit.arc_pj,
        circuit.flop_d,
        circuit.flop_q,
        circuit.flop_delay_ps,
        circuit.flop_arc_pj,
        circuit.fan_start,
        circuit.fan_gate,
        circuit.fan_pin,
        circuit.load_pj,
        circuit.pin_pj,
        driven,
        np.concatenate(bits, axis=1),
        watched,
    )
    outputs, at = {}, 0
    for name, nets in circuit.outputs.items():
        outputs[name] = _numbers(samples[:, at : at + len(nets)])
        at += len(nets)
    return Activity(
        outputs=outputs,
        cycles=cycles,
        toggles=int(totals[0]),
        settled_toggles=int(totals[1]),
        switching_pj=float(totals[2]),
        internal_pj=float(totals[3]),
        clock_pj=circuit.clock_pj * cycles,
        settle_ps=int(totals[4]),
    )


def _bits(values: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """Return (cycles, width) bits of integers of any size."""
    size = ceil_div(width, 8)
    mask = (1 << width) - 1
    raw = b"".join((int(value) & mask).to_bytes(size, "little") for value in values)
    rows = np.frombuffer(raw, np.uint8).reshape(len(values), size)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :width]


def _numbers(bits: NDArray[np.uint8]) -> NDArray[Any]:
    packed = np.packbits(bits, axis=1, bitorder="little")
    numbers = [int.from_bytes(row.tobytes(), "little") for row in packed]
    return np.array(numbers, dtype=np.int64 if bits.shape[1] < 64 else object)


class _Builder:
    """Turns a yosys module into a `Circuit`."""

    def __init__(self, module: dict[str, Any], library: Library) -> None:
        self.module, self.library = module, library
        self.number: dict[Any, int] = {"0": 0, "1": 1}
        self.load_pf: dict[int, float] = defaultdict(float)
        self.gates: list[tuple[Cell, Pin, list[str], dict[str, int]]] = []
        self.flops: list[tuple[Cell, dict[str, int]]] = []
        for cell in module["cells"].values():
            self._cell(library.cells[cell["type"]], cell["connections"])

    def net(self, bit: Any) -> int:
        """Return the number of a bit; 0 and 1 are the constants."""
        key = "0" if bit == "x" else bit
        return self.number.setdefault(key, len(self.number))

    def _cell(self, cell: Cell, connections: dict[str, list[Any]]) -> None:
        nets = {pin: self.net(bits[0]) for pin, bits in connections.items() if bits}
        for name, pin in cell.pins.items():
            if not pin.output and name in nets:
                self.load_pf[nets[name]] += pin.capacitance
        if cell.clock:
            self.flops.append((cell, nets))
            return
        for pin in cell.pins.values():
            if pin.output and pin.name in nets:
                order = pins_of(pin.function)
                if len(order) > MOST_INPUTS:
                    raise InputError(
                        f"cell {cell.name} has {len(order)} inputs; the energy simulation takes "
                        f"cells of at most {MOST_INPUTS}"
                    )
                self.gates.append((cell, pin, order, nets))

    def circuit(self) -> Circuit:
        """Build all arrays."""
        inputs, outputs = self._ports("input"), self._ports("output")
        nets = len(self.number)
        transition = self._transitions(nets)
        half_v2 = 0.5 * self.library.voltage**2
        loads = np.array([self.load_pf[n] for n in range(nets)])
        delay, arcs = self._arcs(transition)
        flop_delay, flop_arcs, clock_pj = self._flop_arcs(transition)
        most = max((len(order) for _, _, order, _ in self.gates), default=1)
        gate_inputs = np.full((len(self.gates), most), -1, np.int64)
        for i, (_, _, order, own) in enumerate(self.gates):
            gate_inputs[i, : len(order)] = [own[name] for name in order]
        start, gate, pin = _fanout(gate_inputs, nets)
        return Circuit(
            nets=nets,
            inputs=inputs,
            outputs=outputs,
            gate_inputs=gate_inputs,
            gate_output=np.array([own[pin.name] for _, pin, _, own in self.gates], np.int64),
            truth=np.array([truth_table(pin.function, o) for _, pin, o, _ in self.gates], np.int64),
            delay_ps=delay,
            arc_pj=arcs,
            flop_d=np.array([own[cell.state_input] for cell, own in self.flops], np.int64),
            flop_q=np.array([own[cell.state_output] for cell, own in self.flops], np.int64),
            flop_delay_ps=flop_delay,
            flop_arc_pj=flop_arcs,
            clock_pj=clock_pj + 2 * half_v2 * loads[inputs["clk"][0]],
            fan_start=start,
            fan_gate=gate,
            fan_pin=pin,
            load_pj=half_v2 * loads,
            pin_pj=self._pin_energy(transition, nets),
        )

    def _ports(self, direction: str) -> dict[str, Ints]:
        """Return the nets of each port, split ports joined again; outputs get a load."""
        joined: dict[str, dict[int, int]] = defaultdict(dict)
        for name, port in self.module["ports"].items():
            if port["direction"] != direction:
                continue
            match = re.fullmatch(r"(.*)\[(\d+)\]", name)
            for i, bit in enumerate(port["bits"]):
                at = int(match.group(2)) if match else i
                joined[match.group(1) if match else name][at] = self.net(bit)
        if direction == "output":
            for bits in joined.values():
                for net in bits.values():
                    self.load_pf[net] += OUTPUT_LOAD_PF
        return {
            name: np.array([bits[i] for i in sorted(bits)], np.int64)
            for name, bits in joined.items()
        }

    def _transitions(self, nets: int) -> Floats:
        """Return every net's transition time in ns, propagated from flip-flops and inputs."""
        transition = np.full(nets, START_TRANSITION_NS)
        for cell, own in self.flops:
            arc = cell.pins[cell.state_output].arcs[cell.clock]
            out = own[cell.state_output]
            transition[out] = _mean(arc.transition, self.load_pf[out], START_TRANSITION_NS)
        for index in self._order():
            _, pin, order, own = self.gates[index]
            out = own[pin.name]
            transition[out] = np.mean(
                [
                    _mean(pin.arcs[name].transition, self.load_pf[out], transition[own[name]])
                    for name in order
                ]
            )
        return np.clip(transition, 0.0, None)

    def _order(self) -> list[int]:
        """Return the gates so that each comes after those that drive it."""
        driver = {own[pin.name]: i for i, (_, pin, _, own) in enumerate(self.gates)}
        order: list[int] = []
        state = [0] * len(self.gates)
        for root in range(len(self.gates)):
            stack = [root]
            while stack:
                index = stack[-1]
                _, _, names, own = self.gates[index]
                waiting = [
                    driver[own[n]] for n in names if own[n] in driver and not state[driver[own[n]]]
                ]
                if state[index] or not waiting:
                    stack.pop()
                    if not state[index]:
                        state[index] = 1
                        order.append(index)
                else:
                    stack += waiting
        return order

    def _arcs(self, transition: Floats) -> tuple[Ints, Floats]:
        """Return delays (ps) and internal energies (pJ), shape (gates, input, fall or rise)."""
        most = max((len(order) for _, _, order, _ in self.gates), default=1)
        delay = np.ones((len(self.gates), most, 2), np.int64)
        energy = np.zeros((len(self.gates), most, 2))
        for i, (_, pin, order, own) in enumerate(self.gates):
            load = self.load_pf[own[pin.name]]
            for j, name in enumerate(order):
                arc = pin.arcs[name]
                for k, edge in enumerate(EDGES):
                    slew = float(transition[own[name]])
                    delay[i, j, k] = max(round(1000 * arc.delay[edge].at(load, slew)), 1)
                    if edge in arc.energy:
                        energy[i, j, k] = arc.energy[edge].at(load, slew)
        return delay, energy

    def _flop_arcs(self, transition: Floats) -> tuple[Ints, Floats, float]:
        """Return clock-to-output delays, energies of output transitions, clock energy a cycle."""
        delay = np.ones((len(self.flops), 2), np.int64)
        energy = np.zeros((len(self.flops), 2))
        clock_pj = 0.0
        for i, (cell, own) in enumerate(self.flops):
            arc = cell.pins[cell.state_output].arcs[cell.clock]
            load = self.load_pf[own[cell.state_output]]
            for k, edge in enumerate(EDGES):
                delay[i, k] = max(round(1000 * arc.delay[edge].at(load, START_TRANSITION_NS)), 1)
                if edge in arc.energy:
                    energy[i, k] = arc.energy[edge].at(load, START_TRANSITION_NS)
            clock_pj += _pin_pj(cell.pins[cell.clock], START_TRANSITION_NS).sum()
        return delay, energy, float(clock_pj)

    def _pin_energy(self, transition: Floats, nets: int) -> Floats:
        """Return the internal energy of the pins on a net when it falls or rises, (nets, 2)."""
        energy = np.zeros((nets, 2))
        for cell, own in self.flops:
            for name, pin in cell.pins.items():
                if not pin.output and name != cell.clock and name in own:
                    energy[own[name]] += _pin_pj(pin, float(transition[own[name]]))
        return energy


def _pin_pj(pin: Pin, slew: float) -> Floats:
    return np.array([pin.energy[e].at(0.0, slew) if e in pin.energy else 0.0 for e in EDGES])


def _mean(tables: dict[str, Any], load: float, slew: float) -> float:
    return float(np.mean([table.at(load, slew) for table in tables.values()]))


def _fanout(gate_inputs: Ints, nets: int) -> tuple[Ints, Ints, Ints]:
    gate, pin = np.nonzero(gate_inputs >= 0)
    net = gate_inputs[gate, pin]
    order = np.argsort(net, kind="stable")
    start = np.searchsorted(net[order], np.arange(nets + 1))
    return start.astype(np.int64), gate[order].astype(np.int64), pin[order].astype(np.int64)
