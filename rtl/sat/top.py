"""The accelerator: controller, matrix engine, vector engine, and streams at the boundary."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.export import shared
from rtl.sat.controller import Controller
from rtl.sat.engine import MatrixEngine
from rtl.sat.instructions import Opcode, instruction_layout
from rtl.sat.parameters import ADDRESS_BITS, BANK_BITS, SPACE_BITS, Parameters
from rtl.sat.vector import VectorEngine


class Space(IntEnum):
    """What an address means: memories that are loaded, read, or both; START takes a count."""

    PLAN = 0
    WEST = 1
    NORTH = 2
    RESULT = 3
    START = 4
    COUNTER = 5
    WEIGHT = 6
    MOMENTUM = 7
    GRADIENT = 8
    SETTING = 9
    FORWARD = 10
    BACKWARD = 11


READ_FROM_VECTOR = (Space.WEIGHT, Space.MOMENTUM, Space.FORWARD, Space.BACKWARD)
"""What the vector engine reads, in the order of its `read_what`."""


PLACE = {"space": SPACE_BITS, "bank": BANK_BITS, "address": ADDRESS_BITS}


def load_layout(parameters: Parameters) -> data.StructLayout:
    """Return the payload of the `load` stream: the place of a word, and the word."""
    bits = max(parameters.window.size, parameters.link.size, instruction_layout(parameters).size)
    return data.StructLayout({**PLACE, "value": max(32, bits)})


def fetch_layout() -> data.StructLayout:
    """Return the payload of the `fetch` stream: the place of a word."""
    return data.StructLayout(PLACE)


class Sat(wiring.Component):
    """The accelerator. Load the memories and the plan, start, wait for `idle`, fetch the results.

    Members
    -------
    load : stream of words into the memories; a word to `Space.START` starts its value's number of
        instructions and waits until the last plan is done.
    fetch, result : stream of addresses, and of their words in the same order; waits while a plan
        runs. One word in two cycles.
    idle : no plan runs. total : cycles of all instructions of the last plan. elapsed : cycles
        from its start to its end: `total`, `controller.OVERHEAD_CYCLES` for each instruction and
        `vector.tail_cycles` for each update.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "load": In(stream.Signature(load_layout(parameters))),
                "fetch": In(stream.Signature(fetch_layout())),
                "result": Out(stream.Signature(32)),
                "idle": Out(1),
                "total": Out(32),
                "elapsed": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect controller, engines and streams."""
        m = Module()
        p = self.parameters
        controller, engine, vector = Controller(p), MatrixEngine(p), VectorEngine(p)
        m.submodules.controller = shared(controller, "controller", platform)
        m.submodules.engine = shared(engine, "engine", platform)
        m.submodules.vector = shared(vector, "vector", platform)
        updates = controller.instruction.opcode == Opcode.UPDATE
        for unit, mine in ((engine, ~updates), (vector, updates)):
            m.d.comb += [
                unit.instruction.eq(controller.instruction),
                unit.reset.eq(controller.reset & mine),
                unit.run.eq(controller.run & mine),
            ]
        m.d.comb += [
            controller.done.eq(Mux(updates, vector.done, engine.done)),
            controller.settled.eq(~vector.busy),
            self.idle.eq(controller.idle),
            self.total.eq(controller.total),
            self.elapsed.eq(controller.elapsed),
        ]
        self._load(m, controller, engine, vector)
        self._load_vector(m, vector)
        self._fetch(m, controller, engine, vector)
        return m

    def _load(
        self, m: Module, controller: Controller, engine: MatrixEngine, vector: VectorEngine
    ) -> None:
        """Write a word a cycle; a start waits until the plan before is done.

        A weight or a momentum waits while updated ones enter its bank.
        """
        word = self.load.payload
        starts = word.space == Space.START
        meets = vector.stores & ((word.space == Space.WEIGHT) | (word.space == Space.MOMENTUM))
        accepted = self.load.valid & self.load.ready
        m.d.comb += [
            self.load.ready.eq(Mux(starts, controller.idle, ~meets)),
            controller.start.eq(accepted & starts),
            controller.count.eq(word.value),
            controller.write_enable.eq(accepted & (word.space == Space.PLAN)),
            controller.write_address.eq(word.address),
            controller.write_value.eq(word.value),
        ]
        for side, space in (("west", Space.WEST), ("north", Space.NORTH)):
            m.d.comb += [
                getattr(engine, f"{side}_write_enable").eq(accepted & (word.space == space)),
                getattr(engine, f"{side}_write_bank").eq(word.bank),
                getattr(engine, f"{side}_write_address").eq(word.address),
                getattr(engine, f"{side}_write_value").eq(word.value),
            ]

    def _load_vector(self, m: Module, vector: VectorEngine) -> None:
        """Write a word into the vector engine's banks or registers."""
        word = self.load.payload
        accepted = self.load.valid & self.load.ready
        m.d.comb += [
            vector.write_enable.eq(
                accepted & (word.space >= Space.WEIGHT) & (word.space <= Space.GRADIENT)
            ),
            vector.write_what.eq(word.space - Space.WEIGHT),
            vector.setting_enable.eq(accepted & (word.space == Space.SETTING)),
            vector.write_bank.eq(word.bank),
            vector.write_address.eq(word.address),
            vector.write_value.eq(word.value),
        ]

    def _fetch(
        self, m: Module, controller: Controller, engine: MatrixEngine, vector: VectorEngine
    ) -> None:
        """Read a word, hold it until it is taken."""
        word = self.fetch.payload
        reading = Signal()
        held = Signal(32)
        value = Signal(32)
        space = Signal.like(word.space)
        with m.Switch(space):
            with m.Case(Space.COUNTER):
                m.d.comb += value.eq(controller.counter)
            with m.Case(Space.RESULT):
                m.d.comb += value.eq(engine.host_value)
            with m.Default():
                m.d.comb += value.eq(vector.read_value)
        with m.Switch(word.space):
            for what, space_read in enumerate(READ_FROM_VECTOR):
                with m.Case(space_read):
                    m.d.comb += vector.read_what.eq(what)
        m.d.comb += [
            vector.read.eq(controller.idle),
            vector.read_bank.eq(word.bank),
            vector.read_address.eq(word.address),
        ]
        m.d.comb += [
            self.fetch.ready.eq(controller.idle & ~reading & ~self.result.valid),
            engine.host_read.eq(controller.idle),
            engine.host_bank.eq(word.bank),
            engine.host_address.eq(word.address),
            controller.counter_address.eq(word.address),
            self.result.payload.eq(held),
        ]
        m.d.sync += reading.eq(self.fetch.valid & self.fetch.ready)
        with m.If(self.fetch.valid & self.fetch.ready):
            m.d.sync += space.eq(word.space)
        with m.If(reading):
            m.d.sync += [held.eq(value), self.result.valid.eq(1)]
        with m.Elif(self.result.ready):
            m.d.sync += self.result.valid.eq(0)
