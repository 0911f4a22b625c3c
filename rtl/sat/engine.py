"""The matrix engine: issue logic, edges, array and result banks, driven by one instruction."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits, delayed
from rtl.export import shared
from rtl.sat.edges import NorthEdge, ResultBanks, WestEdge, bank_write
from rtl.sat.instructions import TIME_BITS, Opcode, instruction_layout
from rtl.sat.issue import OutputStationaryIssue, WeightStationaryIssue, north_word, west_word
from rtl.sat.parameters import Parameters
from rtl.sat.stce import Stce


class MatrixEngine(wiring.Component):
    """Compute one product: the first operand is at PE (0, 0) in the cycle after `run` rises.

    `done` is high in the cycle that shows the last result of the last column.

    Members: `reset`, `run`, `instruction`, `done`; `west_*`, `north_*`: write ports of the operand
    banks; `host_*`: read port of the result banks, free while no product runs.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        west = bank_write(p.operand_words, p.window.size, p.rows)
        north = bank_write(p.operand_words, p.link.size, p.cols)
        super().__init__(
            {
                "reset": In(1),
                "run": In(1),
                "instruction": In(instruction_layout(p)),
                "done": Out(1),
                **{f"west_{name}": member for name, member in west.items()},
                **{f"north_{name}": member for name, member in north.items()},
                "host_read": In(1),
                "host_bank": In(address_bits(p.cols)),
                "host_address": In(address_bits(p.result_words)),
                "host_value": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect the parts."""
        m = Module()
        p, op = self.parameters, self.instruction
        array, west, north, results = Stce(p), WestEdge(p), NorthEdge(p), ResultBanks(p)
        parts = {"array": array, "west": west, "north": north, "results": results}
        for name, part in parts.items():
            m.submodules[name] = shared(part, name, platform)
        held = Signal()
        kept_less_one = Signal(p.select_bits)
        m.d.comb += [
            held.eq(op.opcode == Opcode.WEIGHT_STATIONARY),
            kept_less_one.eq(op.kept - 1),
            west.weight_stationary.eq(held),
            west.kept_less_one.eq(kept_less_one),
            array.weight_stationary.eq(held),
            array.kept_less_one.eq(kept_less_one),
        ]
        self._issue(m, platform, held, west, north, results)
        for r in range(p.rows):
            m.d.comb += [
                array.west[r].eq(west.window[r]),
                array.west_control[r].eq(west.control[r]),
            ]
        for c in range(p.cols):
            m.d.comb += [
                array.north[c].eq(north.link[c]),
                array.shift[c].eq(north.shift[c]),
                array.sum_north[c].eq(results.sum_north[c]),
                results.result[c].eq(array.result[c]),
                results.result_valid[c].eq(array.result_valid[c]),
            ]
        self._finish(m, held, west, results, array)
        self._banks(m, west, north, results)
        return m

    def _issue(
        self,
        m: Module,
        platform: object,
        held: Signal,
        west: WestEdge,
        north: NorthEdge,
        results: ResultBanks,
    ) -> None:
        """Let the dataflow of the instruction address the edges."""
        p = self.parameters
        output, weight = OutputStationaryIssue(p), WeightStationaryIssue(p)
        m.submodules.output_issue = shared(output, "output_issue", platform)
        m.submodules.weight_issue = shared(weight, "weight_issue", platform)
        for unit, mine in ((output, ~held), (weight, held)):
            m.d.comb += [
                unit.instruction.eq(self.instruction),
                unit.reset.eq(self.reset & mine),
                unit.run.eq(self.run & mine),
            ]
        m.d.comb += weight.swapping.eq(west.swapping)
        west_choice = Signal(west_word(p))
        north_choice = Signal(north_word(p))
        with m.If(held):
            m.d.comb += [
                west_choice.eq(weight.west),
                north_choice.eq(weight.north),
                results.word.eq(weight.sums),
            ]
        with m.Else():
            m.d.comb += [west_choice.eq(output.west), north_choice.eq(output.north)]
        m.d.comb += [west.word.eq(west_choice), north.word.eq(north_choice)]

    def _finish(
        self, m: Module, held: Signal, west: WestEdge, results: ResultBanks, array: Stce
    ) -> None:
        """Address the results of column 0; count those of the last column."""
        p, op = self.parameters, self.instruction
        following = Signal(address_bits(p.result_words))
        left = Signal(TIME_BITS)
        arriving = delayed(
            m, west.last_result, 1 + p.mul_latency + p.add_latency, name="last_result"
        )
        m.d.comb += [
            results.first_address.eq(Mux(held, arriving, following)),
            self.done.eq(array.result_valid[-1] & (left == 1)),
        ]
        with m.If(self.reset):
            m.d.sync += [following.eq(op.result_base), left.eq(op.results)]
        with m.Else():
            m.d.sync += [
                following.eq(following + array.result_valid[0]),
                left.eq(left - array.result_valid[-1]),
            ]

    def _banks(self, m: Module, west: WestEdge, north: NorthEdge, results: ResultBanks) -> None:
        """Connect the host's ports."""
        for name in ("enable", "bank", "address", "value"):
            for side, edge in (("west", west), ("north", north)):
                port = getattr(edge, f"write_{name}")
                m.d.comb += port.eq(getattr(self, f"{side}_write_{name}"))
        m.d.comb += [
            results.host_read.eq(self.host_read),
            results.host_bank.eq(self.host_bank),
            results.host_address.eq(self.host_address),
            self.host_value.eq(results.host_value),
        ]
