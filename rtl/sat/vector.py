"""The vector engine: updates weights and selects both compact copies on their way out."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.elaboration import address_bits
from rtl.export import shared
from rtl.sat.bank import Bank
from rtl.sat.instructions import COUNT_BITS, TIME_BITS, instruction_layout
from rtl.sat.parameters import Parameters
from rtl.sat.sore import Sore
from rtl.sat.wuve import STEP_CYCLES, Wuve

STATE_NAMES = ("weight", "momentum", "gradient")
SETTINGS = ("rate", "momentum", "decay", "decays")
"""Registers in the order of their addresses: three fp32 numbers, and whether weights decay."""


def tail_cycles(parameters: Parameters, *, decays: bool) -> int:
    """Cycles after the counted ones of an update until its last compact group is stored.

    The last element enters 2 (3 with decay) cycles before the end and is updated after 2 (3)
    `STEP_CYCLES`; its row of m values is selected in m cycles, shown, and stored.
    """
    operations = 2 + decays
    return operations * (STEP_CYCLES - 1) + parameters.m + 3


class VectorEngine(wiring.Component):
    """Update `rows` x `blocks` beats of `lanes` weights; select N of every M both ways.

    Lane l holds the weights of the columns l, L + l, ... of a K x Q matrix, a block of L columns
    after the other, K words each (`rows`, a multiple of M). An element occupies a lane for two
    cycles, three if weights decay. Updated fp16 weights go to

    - forward selection, `lanes` lanes: groups along K, one lane per column;
    - backward selection: groups along Q, that is across the lanes. A row is caught as a whole and
      passes L / m lanes one value a cycle; m / 2 rows are under way at a time.

    Compact groups are stored in order: forward group g of block b in word b K/M + g of its lane;
    of row t (block b: t = b K + k), in bank (t mod m/2) L/m + lane, m/M words from
    (t div m/2) m/M on.

    `done` is high in the last of the (2 or 3) K B cycles; `busy` until all groups are stored.
    `stores` is high in a cycle in which updated weights and momenta enter their banks, and nothing
    else can.

    Members: `reset`, `run`, `instruction`, `done`, `busy`, `stores`; `write_*`: `write_what` is the
    place in `STATE_NAMES`; `setting_*`: registers; `read_*`: `read_what` 0 weight, 1 momentum,
    2 forward, 3 backward; a group's entry j is bank (lane n + j). A value is out a cycle later.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            {
                "reset": In(1),
                "run": In(1),
                "instruction": In(instruction_layout(p)),
                "done": Out(1),
                "busy": Out(1),
                "stores": Out(1),
                "write_enable": In(1),
                "write_what": In(2),
                "write_bank": In(range(p.lanes)),
                "write_address": In(address_bits(p.weight_words)),
                "write_value": In(32),
                "setting_enable": In(1),
                "read": In(1),
                "read_what": In(2),
                "read_bank": In(range(p.compact_banks)),
                "read_address": In(address_bits(p.weight_words)),
                "read_value": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect banks, update and selections."""
        m = Module()
        p = self.parameters
        wuve = Wuve(lanes=p.lanes)
        m.submodules.wuve = shared(wuve, wuve.name, platform)
        settings = [Signal(32, name=name) for name in SETTINGS]
        with m.If(self.setting_enable), m.Switch(self.write_address[:2]):
            for place, register in enumerate(settings):
                with m.Case(place):
                    m.d.sync += register.eq(self.write_value)
        for name, register in zip(SETTINGS, settings, strict=True):
            m.d.comb += getattr(wuve, name).eq(register)
        m.d.comb += [wuve.updates.ready.eq(1), self.stores.eq(wuve.updates.valid)]
        address = self._count(m, wuve)
        banks = self._state_banks(m, platform, wuve, address)
        halves = [wuve.updates.payload[lane].half for lane in range(p.lanes)]
        groups = [
            self._forward(m, platform, wuve.updates.valid, halves),
            self._backward(m, platform, wuve.updates.valid, halves),
        ]
        self._read(m, banks, groups)
        return m

    def _count(self, m: Module, wuve: Wuve) -> Signal:
        """Present one address after the other; say when all their cycles have passed."""
        op = self.instruction
        address = Signal(address_bits(self.parameters.weight_words))
        row = Signal(COUNT_BITS)
        block = Signal(COUNT_BITS)
        ready = Signal()
        left = Signal(2)
        offered = Signal()
        accepted = Signal()
        m.d.comb += [
            offered.eq(self.run & ready & (block != op.blocks)),
            wuve.states.valid.eq(offered),
            accepted.eq(offered & wuve.states.ready),
            self.done.eq(self.run & ready & (block == op.blocks) & (left == 1)),
        ]
        # in the first cycle of `run` the banks are read
        m.d.sync += ready.eq(self.run)
        with m.If(self.reset):
            m.d.sync += [address.eq(op.weight_base), row.eq(0), block.eq(0), left.eq(0)]
        with m.Elif(accepted):
            m.d.sync += [address.eq(address + 1), row.eq(row + 1), left.eq(1 + wuve.decays)]
            with m.If(row == op.rows - 1):
                m.d.sync += [row.eq(0), block.eq(block + 1)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return address

    def _state_banks(
        self, m: Module, platform: object, wuve: Wuve, address: Signal
    ) -> list[list[Value]]:
        """Keep weight, momentum and gradient of each lane; write back what was updated."""
        p, op = self.parameters, self.instruction
        back = Signal.like(address)
        with m.If(self.reset):
            m.d.sync += back.eq(op.weight_base)
        with m.Elif(wuve.updates.valid):
            m.d.sync += back.eq(back + 1)
        values: list[list[Value]] = []
        for lane in range(p.lanes):
            values.append([])
            for what, name in enumerate(STATE_NAMES):
                bank = Bank(words=p.weight_words, bits=32)
                m.submodules[f"{name}_{lane}"] = shared(bank, bank.name, platform)
                mine = (self.write_bank == lane) & (self.write_what == what)
                m.d.comb += [
                    bank.write_enable.eq(self.write_enable & mine),
                    bank.write_address.eq(self.write_address),
                    bank.write_value.eq(self.write_value),
                    bank.read_address.eq(Mux(self.read, self.read_address, address)),
                    wuve.states.payload[lane][name].eq(bank.read_value),
                ]
                if name != "gradient":
                    with m.If(wuve.updates.valid):
                        m.d.comb += [
                            bank.write_enable.eq(1),
                            bank.write_address.eq(back),
                            bank.write_value.eq(wuve.updates.payload[lane][name]),
                        ]
                values[-1].append(bank.read_value)
        return values

    def _forward(
        self, m: Module, platform: object, valid: Value, halves: list[Value]
    ) -> list[Value]:
        """Select along K, lane by lane; return what the group banks read."""
        p, op = self.parameters, self.instruction
        sore = Sore(lanes=p.lanes, n=p.n, m=p.m)
        m.submodules.forward = shared(sore, sore.name, platform)
        m.d.comb += [
            sore.values.valid.eq(valid),
            *(sore.values.payload[lane].eq(half) for lane, half in enumerate(halves)),
        ]
        return self._groups(m, platform, sore, op.forward_base, "forward")

    def _backward(
        self, m: Module, platform: object, valid: Value, halves: list[Value]
    ) -> list[Value]:
        """Select along Q: give each row in turn to one of the flights; return what is read."""
        p = self.parameters
        turn = Signal(range(max(2, p.flights)))
        under_way = []
        reads = []
        with m.If(self.reset):
            m.d.sync += turn.eq(0)
        with m.Elif(valid):
            m.d.sync += turn.eq(Mux(turn == p.flights - 1, 0, turn + 1))
        for flight in range(p.flights):
            sore = Sore(lanes=p.slices, n=p.n, m=p.m)
            m.submodules[f"backward_{flight}"] = shared(sore, sore.name, platform)
            row = Signal(data.ArrayLayout(16, p.lanes), name=f"row_{flight}")
            left = Signal(range(p.m + 1), name=f"left_{flight}")
            with m.If(valid & (turn == flight)):
                m.d.sync += [left.eq(p.m), Cat(row[i] for i in range(p.lanes)).eq(Cat(halves))]
            with m.Elif(left != 0):
                m.d.sync += [left.eq(left - 1), row.as_value().eq(row.as_value() >> 16)]
            m.d.comb += [
                sore.values.valid.eq(left != 0),
                *(sore.values.payload[i].eq(row[i * p.m]) for i in range(p.slices)),
            ]
            under_way.append((left != 0) | sore.selected.valid)
            base = self.instruction.backward_base
            reads += self._groups(m, platform, sore, base, f"backward_{flight}")
        self._busy(m, valid, under_way)
        return reads

    def _busy(self, m: Module, valid: Value, under_way: list[Value]) -> None:
        """Say whether anything is still between the state banks and the group banks."""
        inside = Signal(TIME_BITS)
        op = self.instruction
        with m.If(self.reset):
            m.d.sync += inside.eq(op.results)
        with m.Elif(valid):
            m.d.sync += inside.eq(inside - 1)
        m.d.comb += self.busy.eq((inside != 0) | Cat(under_way).any())

    def _groups(
        self, m: Module, platform: object, sore: Sore, base: Value, name: str
    ) -> list[Value]:
        """Store each selected group of `sore`; return the entries that are read, lane by lane."""
        p, op = self.parameters, self.instruction
        address = Signal(address_bits(p.weight_words), name=f"{name}_address")
        m.d.comb += [
            sore.kept.eq(op.kept),
            sore.group.eq(op.group),
            sore.selected.ready.eq(1),
        ]
        with m.If(self.reset):
            m.d.sync += address.eq(base)
        with m.Elif(sore.selected.valid):
            m.d.sync += address.eq(address + 1)
        entries: list[Value] = []
        for lane in range(sore.lanes):
            group = sore.selected.payload[lane].as_value()
            bank = Bank(words=p.weight_words, bits=len(group))
            m.submodules[f"{name}_bank_{lane}"] = shared(bank, bank.name, platform)
            m.d.comb += [
                bank.write_enable.eq(sore.selected.valid),
                bank.write_address.eq(address),
                bank.write_value.eq(group),
                bank.read_address.eq(self.read_address),
            ]
            width = len(group) // p.n
            entries += [bank.read_value.word_select(j, width) for j in range(p.n)]
        return entries

    def _read(self, m: Module, banks: list[list[Value]], groups: list[list[Value]]) -> None:
        """Let the host read a word of a bank."""
        what = Signal.like(self.read_what)
        bank = Signal.like(self.read_bank)
        m.d.sync += [what.eq(self.read_what), bank.eq(self.read_bank)]
        with m.Switch(what):
            for number in (0, 1):
                with m.Case(number):
                    m.d.comb += self.read_value.eq(Array(lane[number] for lane in banks)[bank])
            for number, entries in enumerate(groups, start=2):
                with m.Case(number):
                    m.d.comb += self.read_value.eq(Array(entries)[bank])
