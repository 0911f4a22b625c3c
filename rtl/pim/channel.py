"""A channel of banks that multiply: command bus, sequencer, cells, vector buffer."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dataflow.dram_timing import COMMAND_COUNT, GWRITE, RD, WR
from rtl.elaboration import delayed, validated
from rtl.export import shared
from rtl.pim.cells import BankCells, VectorBuffer
from rtl.pim.estimate import check_tiles
from rtl.pim.gate import CommandGate
from rtl.pim.parameters import VALUE_BITS, ChannelParameters, command_layout, instruction_layout
from rtl.pim.sequencer import Sequencer
from rtl.pim.steps import MultiplySteps
from workloads.errors import InputError


class Channel(wiring.Component):
    """Execute a PIM program next to ordinary accesses, with the cycles of the simulator.

    `program` is a stream of instructions (`Sequencer`), `host` one of ACT, RD, WR and PRE: they get
    the cycles that the program leaves, with one row buffer only those between its tiles. `issued`
    shows the command of this cycle. A WR takes `written` with its command. Data of an RD leave on
    `data`, with `data_valid`, read_delay cycles after the command (latency and burst); sums of all
    banks leave on `sums` read_delay cycles after a READRES. The READRES of a GEMV follows its
    command by comp_step times max(COMP, PIM_PIPELINE_STEPS) cycles (`MultiplySteps`, also for
    `torn`). Throughput: one COMP in comp_step cycles, 16 products in every bank.

    With `compute` = 0 there are neither cells nor data: commands and their cycles only.
    """

    @validated
    def __init__(self, parameters: ChannelParameters) -> None:
        check_tiles(parameters.dram)
        self.parameters, self.timing = parameters, parameters.dram
        self.access_bits = 8 * self.timing.access_bytes
        command = command_layout(self.timing)
        members = {
            "program": In(stream.Signature(instruction_layout(self.timing))),
            "host": In(stream.Signature(command)),
            "issued": Out(data.StructLayout({"valid": 1, "command": command})),
            "torn": Out(1),
        }
        if parameters.compute:
            members |= {
                "written": In(self.access_bits),
                "data_valid": Out(1),
                "data": Out(self.access_bits),
                "sums_valid": Out(1),
                "sums": Out(data.ArrayLayout(VALUE_BITS, self.timing.banks_total)),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Connect the parts."""
        m = Module()
        dual, refresh = bool(self.parameters.dual), bool(self.parameters.refresh)
        m.submodules.gate = gate = CommandGate(timing=self.timing, dual=dual)
        m.submodules.sequencer = sequencer = Sequencer(
            timing=self.timing, dual=dual, refresh=refresh
        )
        m.submodules.steps = steps = MultiplySteps(timing=self.timing)
        wiring.connect(m, wiring.flipped(self.program), sequencer.program)
        for name in ("ready", "is_open", "open_row", "pim_open"):
            m.d.comb += getattr(sequencer, name).eq(getattr(gate, name))
        command = gate.command.payload
        host, fires = self.host.payload, Signal(COMMAND_COUNT)
        issues = gate.command.valid & gate.command.ready
        m.d.comb += [
            gate.command.valid.eq(sequencer.valid | (self.host.valid & sequencer.host_turn)),
            command.access.eq(host.access),
            self.host.ready.eq(sequencer.host_turn & gate.command.ready),
            sequencer.host_valid.eq(self.host.valid),
            sequencer.host_kind.eq(host.kind),
            sequencer.host_bank.eq(host.bank),
            sequencer.host_done.eq(self.host.valid & self.host.ready),
            self.issued.valid.eq(issues),
            self.issued.command.eq(command),
            fires.eq(Mux(issues, Cat(command.kind == kind for kind in range(COMMAND_COUNT)), 0)),
            steps.fires.eq(fires),
            steps.comps.eq(command.comps),
            steps.restart.eq(sequencer.tile),
            self.torn.eq(steps.torn),
        ]
        for name in ("kind", "bank", "row", "comps"):
            chosen = Mux(sequencer.valid, getattr(sequencer, name), getattr(host, name))
            m.d.comb += getattr(command, name).eq(chosen)
        if self.parameters.compute:
            self._compute(m, platform, gate, steps, fires)
        return m

    def _compute(
        self, m: Module, platform: object, gate: CommandGate, steps: MultiplySteps, fires: Signal
    ) -> None:
        """Build cells, multipliers, vector buffer and the way of data out."""
        command = gate.command.payload
        m.submodules.vector = vector = VectorBuffer(timing=self.timing)
        source = Signal(len(command.bank))
        with m.If(fires[GWRITE]):
            m.d.sync += source.eq(command.bank)
        banks = [BankCells(timing=self.timing) for _ in range(self.timing.banks_total)]
        for i, bank in enumerate(banks):
            m.submodules[f"cells_{i}"] = shared(bank, "cells", platform)
            copied = vector.copying & (source == i)
            m.d.comb += [
                bank.row.eq(gate.open_row[i]),
                bank.access.eq(Mux(copied, vector.access, command.access)),
                bank.write.eq(fires[WR] & (command.bank == i)),
                bank.written.eq(self.written),
                bank.multiply.eq(steps.multiply),
                bank.read.eq(steps.read),
                bank.pim_row.eq(gate.pim_row[i]),
                bank.column.eq(steps.column),
                bank.vector.eq(vector.vector),
            ]
        m.d.comb += [
            vector.start.eq(fires[GWRITE]),
            vector.data.eq(Array(bank.data for bank in banks)[source]),
            vector.column.eq(steps.column),
        ]
        self._send(m, banks, fires, command.bank)

    def _send(self, m: Module, banks: list[BankCells], fires: Signal, bank: Signal) -> None:
        """Hold data and sums back until the end of the burst."""
        clocks = self.timing.read_delay
        after_read, after_sums = clocks - 1, clocks - banks[0].latency
        if after_sums < 0:
            raise InputError(
                f"the table's read delay must be at least {banks[0].latency}, not {clocks}"
            )
        read, source = Signal(), Signal(len(bank))
        m.d.sync += [read.eq(fires[RD]), source.eq(bank)]
        data_out = Array(cells.data for cells in banks)[source]
        sums = Cat(cells.sum for cells in banks)
        m.d.comb += [
            self.data_valid.eq(delayed(m, read, after_read, name="read")),
            self.data.eq(delayed(m, Mux(read, data_out, 0), after_read, name="data")),
            self.sums_valid.eq(delayed(m, banks[0].valid, after_sums, name="read_sums")),
            self.sums.eq(delayed(m, sums, after_sums, name="sums")),
        ]
