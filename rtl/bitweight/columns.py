"""The array around the elements of OPT2 to OPT4: fetch, prefetch, synchronisation, SIMD read-out.

C columns work on C rows of A at once; the elements of a column (N of them) share its digit stream
and hold one column of the result each. A *group* is four neighbouring terms of K. By engine:

- opt4: a lane takes the non-zero digits of one position of a group, one a cycle. OPT4C has one
  lane a column, OPT4E four: lane l takes groups l, l + 4, ... and all lanes add to the same sums;
- opt3: as OPT4C, but every element has its own sparse encoder and gets the whole group;
- opt2: the four digits of a group in one step, whatever they are. All columns stay in step, so
  that one read of B serves them all: no offset, no conflicts.

Memories: every lane has its own groups of A; B lies in banks, each with a part for each lane that
serves one column a cycle. As published, a bank holds `chunk` neighbouring groups of a lane and
column c starts in bank c (bank offset), so that columns in step never meet. Columns that drift
apart do meet and then crowd; with `interleaved`, neighbouring groups lie in neighbouring banks, and
a collision is over in one cycle. A lane whose bank serves a lower column waits; its FIFO hides it.
All memories have two pages: a tile works on one while the other one is written.

Cycle t of a tile is the t-th after `start` (from 0):

- a lane requests while its FIFO has room for what is under way; a grant in cycle t reads A and B,
  which are encoded in t + 1 and stand in the FIFO from t + 2 on;
- a lane that is free, or in its last step, takes the next group from its FIFO: its steps begin in
  the next cycle, max(1, non-zero digits) of them (opt2: one);
- digit positions (passes) run from the highest to the lowest. The next pass opens when no lane of
  the column has work of this one after the present cycle, and `drain - 1` cycles after that at the
  earliest: the SIMD unit reads all sums of a column in `drain` = ceil(N / simd) cycles from the
  second cycle after the last step on;
- `ready` is set while all columns in use have done their last step of the last pass; in that and
  the next two the sums run through the elements.

With conflict-free banks the last step is in cycle S + 2 + (passes - 1)(drain - 1), S = sum over
passes of the largest sum over a lane's groups of their steps; results are final `drain` + 3 cycles
later. `start` may follow after drain cycles.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dataflow.bitweight import GROUP
from rtl.bitweight.issue import ENGINES, Sums, digit_column, encoder_column, group_column
from rtl.bitweight.lane import Lane
from rtl.bitweight.parts import check_operands
from rtl.bitweight.simd import SimdUnit
from rtl.elaboration import delayed, validated
from rtl.export import shared
from workloads.errors import InputError
from workloads.rounding import ceil_div


class ColumnArray(wiring.Component):
    """`columns` x `elements` sums; see the module's text for the order of events and the cycles.

    Members
    -------
    load_a, load_column, load_address, load_value : write four terms of A of one lane
    (column x lanes + lane); group g is address g // lanes of lane g % lanes.
    load_b, load_bank, load_row, load_group : write a group of B: four rows of `elements` values.
    Address a of lane l is row a % chunk of bank a // chunk (interleaved: row a // banks of bank
    a % banks), part l: load_bank = bank x lanes + l.
    page : the page that a tile works on; writes go to the other one.
    groups, chunk : groups per lane, and per lane and bank, less one; last_bank, last_column : banks
    and columns in use less one; the other columns rest and their results keep. All constant while
    a tile runs; groups a lane = ceil(K / 4 / lanes), the rest zero.
    start : begin a tile. ready : all steps are done. results : C, column after column.
    """

    @validated
    def __init__(
        self,
        *,
        columns: int,
        elements: int,
        lanes: int = 1,
        width: int = 8,
        banks: int | None = None,
        depth: int = 64,
        fifo: int = 4,
        simd: int = 1,
        engine: str = "opt4",
        segmented: bool = False,
        interleaved: bool = False,
    ) -> None:
        check_operands(width, 64)
        banks = columns if banks is None else banks
        for name, value, least in (
            ("columns", columns, 1),
            ("elements", elements, 1),
            ("banks", banks, 1),
            ("fifo", fifo, 3),
            ("simd", simd, 1),
        ):
            if not least <= value <= 64:
                raise InputError(f"{name} must lie in {least} to 64, not {value}")
        if not 1 <= depth <= 65_536:
            raise InputError(f"depth must lie in 1 to 65536 groups, not {depth}")
        _check_engine(engine, lanes, segmented)
        self.columns, self.elements, self.lanes, self.width = columns, elements, lanes, width
        self.banks, self.depth, self.fifo = banks, depth, fifo
        self.simd, self.engine = min(simd, elements), engine
        self.segmented, self.interleaved = segmented, interleaved
        self.drain = ceil_div(elements, self.simd)
        self.passes = width // 2
        group = GROUP * elements * width
        super().__init__(
            {
                "load_a": In(1),
                "load_column": In(range(max(columns * lanes, 2))),
                "load_address": In(range(max(depth, 2))),
                "load_value": In(GROUP * width),
                "load_b": In(1),
                "load_bank": In(range(max(banks * lanes, 2))),
                "load_row": In(range(max(depth, 2))),
                "load_group": In(group),
                "page": In(1),
                "groups": In(range(max(depth, 2))),
                "chunk": In(range(max(depth, 2))),
                "last_bank": In(range(max(banks, 2))),
                "last_column": In(range(max(columns, 2))),
                "start": In(1),
                "ready": Out(1),
                "results": Out(columns * elements * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build banks, lanes, elements and SIMD units, column by column."""
        m = Module()
        lanes = [self._lane(m, platform, i) for i in range(self.columns * self.lanes)]
        self._banks(m, lanes)
        ready = []
        for c in range(self.columns):
            own = lanes[c * self.lanes : (c + 1) * self.lanes]
            rests = self.last_column < c if c else Const(0, 1)
            m.d.comb += Cat(*(lane.start for lane in own)).eq(
                (self.start & ~rests).replicate(len(own))
            )
            ready.append(self._column(m, platform, c, own) | rests)
        m.d.comb += self.ready.eq(Cat(*ready).all())
        return m

    def _lane(self, m: Module, platform: object, index: int) -> Lane:
        lane = Lane(
            width=self.width,
            elements=self.elements,
            depth=self.depth,
            fifo=self.fifo,
            banks=self.banks,
            interleaved=self.interleaved,
            triples=self.engine == "opt2",
        )
        m.submodules[f"lane_{index}"] = shared(lane, "lane", platform)
        column = index // self.lanes
        home = column if column < self.banks and self.engine != "opt2" else 0
        away = self.last_bank < home
        m.d.comb += [
            lane.home.eq(Mux(away, 0, home)),
            lane.home_address.eq(Mux(away, 0, home * (1 if self.interleaved else self.chunk + 1))),
            lane.load_a.eq(self.load_a & (self.load_column == index)),
            lane.load_address.eq(self.load_address),
            lane.load_value.eq(self.load_value),
            lane.page.eq(self.page),
            lane.groups.eq(self.groups),
            lane.chunk.eq(self.chunk),
            lane.last_bank.eq(self.last_bank),
        ]
        return lane

    def _banks(self, m: Module, lanes: list[Lane]) -> None:
        """Let the lanes of the same number compete for their part of every bank."""
        for number in range(self.lanes):
            rivals = lanes[number :: self.lanes]
            granted: list[list[Value]] = [[] for _ in rivals]
            outputs = [self._bank(m, bank, number, rivals, granted) for bank in range(self.banks)]
            for lane, grants in zip(rivals, granted, strict=True):
                from_bank = Signal.like(lane.bank)
                m.d.sync += from_bank.eq(lane.bank)
                m.d.comb += [
                    lane.grant.eq(Cat(*grants).any()),
                    lane.b_group.eq(Array(outputs)[from_bank]),
                ]

    def _bank(
        self, m: Module, bank: int, number: int, rivals: list[Lane], granted: list[list[Value]]
    ) -> Value:
        """Make one bank's part for the lanes of a number; serve the lowest column that asks."""
        rows = 2 << len(self.load_row)
        store = memory.Memory(shape=len(self.load_group), depth=rows, init=[])
        m.submodules[f"bank_{bank}_{number}"] = store
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            write.en.eq(self.load_b & (self.load_bank == bank * self.lanes + number)),
            write.addr.eq(Cat(self.load_row, ~self.page)),
            write.data.eq(self.load_group),
            read.en.eq(1),
        ]
        taken: Value = Const(0, 1)
        for i, lane in enumerate(rivals):
            asks = Signal(name=f"asks_{bank}_{number}_{i}")
            busy = Signal(name=f"busy_{bank}_{number}_{i}")
            blocked = (
                Const(0, 1) if self.engine == "opt2" else taken
            )  # in step: all ask for one row
            m.d.comb += [
                asks.eq(lane.request & (lane.bank == bank) & ~blocked),
                busy.eq(taken | asks),
            ]
            with m.If(asks):
                m.d.comb += read.addr.eq(Cat(lane.row, self.page))
            granted[i].append(asks)
            taken = busy
        return read.data

    def _column(self, m: Module, platform: object, c: int, lanes: list[Lane]) -> Value:
        """Open the passes of a column, and read its sums; return whether it has finished."""
        opened = Signal(range(self.passes + 1), name=f"opened_{c}")
        held = Signal(range(max(self.drain, 2)), name=f"held_{c}")
        running = Signal(name=f"running_{c}")
        done, opening = Signal(name=f"done_{c}"), Signal(name=f"opening_{c}")
        any_waiting = Cat(*(lane.waiting for lane in lanes)).any()
        m.d.comb += [
            done.eq(running & Cat(*(lane.pass_done for lane in lanes)).all()),
            opening.eq(done & (held == self.drain - 1) & (opened != self.passes) & any_waiting),
        ]
        with m.If(lanes[0].start):
            m.d.sync += [running.eq(1), opened.eq(0), held.eq(self.drain - 1)]
        with m.Else():
            m.d.sync += opened.eq(opened + opening)
            with m.If(~done | opening):
                m.d.sync += held.eq(0)
            with m.Elif(held != self.drain - 1):
                m.d.sync += held.eq(held + 1)
        for lane in lanes:
            m.d.comb += [
                lane.opening.eq(opening),
                lane.allow.eq(opening | (running & ~lane.pass_done)),
            ]
        first = Signal(name=f"first_{c}")
        m.d.sync += first.eq(opening)
        sums = self._sums(m, platform, c, lanes, opening, first)
        began = Signal(name=f"began_{c}")
        m.d.sync += began.eq(done & ~opening)
        finishing = Signal(name=f"finishing_{c}")
        m.d.comb += finishing.eq(done & ~began & (opened != 0))
        self._read_out(m, platform, c, sums, finishing, opened, first)
        return done & (opened == self.passes)

    def _sums(
        self,
        m: Module,
        platform: object,
        c: int,
        lanes: list[Lane],
        opening: Value,
        first: Value,
    ) -> Sums:
        """Make the elements of a column, and what hands them digits; `first` is `opening` late."""

        def add(place: str, component: wiring.Component, name: str) -> None:
            m.submodules[f"{place}_of_{c}"] = shared(component, name, platform)

        if self.engine == "opt2":
            return group_column(m, add, lanes[0], first)
        if self.engine == "opt3":
            return encoder_column(m, add, lanes[0], opening)
        return digit_column(m, add, lanes, first, self.segmented)

    def _read_out(
        self,
        m: Module,
        platform: object,
        c: int,
        sums: Sums,
        finishing: Value,
        opened: Value,
        first: Value,
    ) -> None:
        """Read the sums in `drain` cycles from two cycles after `finishing` on.

        `age` counts the steps since the first one of the pass, idle ones too: an offset element
        adds its offset in each of them.
        """
        reading, turn = Signal(name=f"reading_{c}"), Signal(range(max(self.drain, 2)))
        begin = delayed(m, finishing, 1, name=f"begin_{c}")
        pass_now = delayed(m, opened == 1, 1, name=f"pass_{c}")
        first_pass = Signal(name=f"first_pass_{c}")
        with m.If(begin):
            m.d.sync += [reading.eq(1), turn.eq(0), first_pass.eq(pass_now)]
        with m.Elif(reading):
            m.d.sync += turn.eq(turn + 1)
            with m.If(turn == self.drain - 1):
                m.d.sync += reading.eq(0)
        age = Signal(sums.acc_width, name=f"age_{c}")
        fresh = delayed(m, first, 1, name=f"fresh_{c}")
        m.d.sync += age.eq(Mux(fresh, 1, age + 1))
        for s in range(self.simd):
            own = sums.elements[s :: self.simd]
            unit = SimdUnit(acc_width=sums.acc_width, slots=len(own))
            name = f"simd_{sums.acc_width}_{len(own)}"
            m.submodules[f"simd_{c}_{s}"] = shared(unit, name, platform)
            m.d.comb += [
                unit.total.eq(Array(element.total for element in own)[turn]),
                unit.carry.eq(Array(element.carry for element in own)[turn]),
                unit.correction.eq(age * sums.step_offset),
                unit.slot.eq(turn),
                unit.first.eq(first_pass),
                unit.valid.eq(reading & (turn < len(own))),
            ]
            for i in range(len(own)):
                at = (c * self.elements + i * self.simd + s) * 32
                m.d.comb += self.results[at : at + 32].eq(unit.results[i * 32 : (i + 1) * 32])


def _check_engine(engine: str, lanes: int, segmented: bool) -> None:
    if lanes not in (1, 2, 4):
        raise InputError(f"lanes must be 1, 2 or 4, not {lanes}")
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if engine != "opt4" and (lanes > 1 or segmented):
        raise InputError(f"only opt4 can be segmented or have several lanes, not {engine}")
