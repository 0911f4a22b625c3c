"""Stimuli of the command bus and of the channel: commands that may issue, and a PIM program."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dataflow import dram_timing as dt
from dataflow.dram_rules import Issued, Rows, banks_of, refusal, rows_after
from dataflow.dram_timing import DramTiming
from rtl.pim.channel import Channel
from rtl.pim.gate import CommandGate
from rtl.pim.parameters import command_layout, comps_in_row, instruction_layout
from rtl.pim.sequencer import Op
from rtl.stimulus import Stimulus, send, together

GOAL_CHANGES, DROPS, OFFERS = 1 / 150, 0.03, 0.9
"""Chances in a cycle: of another goal, that a command is given up, and that one is offered."""

GATE_CYCLES = 3000


def command_word(timing: DramTiming, done: Issued, access: int = 0) -> int:
    """Return a command as the bits of a port."""
    layout = command_layout(timing)
    fields = {
        "kind": done.command,
        "bank": done.bank,
        "row": done.row,
        "access": access,
        "comps": done.comps,
    }
    return sum(value << layout[name].offset for name, value in fields.items())


def issued_command(timing: DramTiming, word: int, clock: int = 0) -> Issued | None:
    """Return the command that the `issued` port of a channel shows, if there is one."""
    if not word & 1:
        return None
    layout = command_layout(timing)
    fields = {}
    for name in ("kind", "bank", "row", "comps"):
        field = layout[name]
        fields[name] = word >> 1 + field.offset & (1 << field.width) - 1
    command = fields["kind"]
    row = fields["row"] if command in (dt.ACT, dt.G_ACT) else 0
    return Issued(clock, command, fields["bank"], row, fields["comps"] if command == dt.GEMV else 0)


def offer_commands(gate: CommandGate, rng: random.Random) -> Stimulus:
    """Offer commands of all kinds, most of them until they are taken."""
    commands = random_commands(gate.timing, rng, dual=gate.dual)
    offered = next(commands)
    for _ in range(GATE_CYCLES):
        if offered is None:
            yield {}
            offered = commands.send(False)
        else:
            word = command_word(gate.timing, offered)
            seen = yield {"command__valid": 1, "command__payload": word}
            offered = commands.send(bool(seen["command__ready"]))


def random_commands(
    timing: DramTiming, rng: random.Random, *, dual: bool
) -> Generator[Issued | None, bool, None]:
    """Yield what to offer in each cycle, without end; it is sent whether that was accepted.

    Goals take turns: rows that are opened and accessed, sums, a refresh.
    """
    rows = rows_after(timing, [], dual=dual)
    now: Issued | None = None
    goal = "rows"
    while True:
        if rng.random() < GOAL_CHANGES:
            goal = rng.choice(["rows", "sums", "sums", "refresh"])
        if rng.random() < DROPS:
            now = None
        if now is None and rng.random() < OFFERS:
            now = _choose(rng, timing, rows, goal, dual=dual)
        accepted = yield now
        if accepted and now is not None:
            rows.follow(timing, now)
            goal, now = "sums" if now.command == dt.REF else goal, None


def _choose(rng: random.Random, timing: DramTiming, rows: Rows, goal: str, *, dual: bool) -> Issued:
    """Return a command towards the goal, or in between any, or with two buffers an access."""
    banks, free = timing.banks_total, rng.random()
    if free < 1 / 16:
        return Issued(
            0, rng.randrange(len(dt.COMMANDS) + 1), rng.randrange(banks), rng.randrange(2)
        )
    if goal == "refresh":
        return _lead_to_refresh(rng, timing, rows)
    if goal == "sums" and not (dual and free < 5 / 8):
        return _lead_to_sums(rng, timing, rows, dt.PPRE if dual else dt.PRE)
    while True:
        command = rng.choice(
            [dt.RD, dt.RD, dt.WR, dt.WR, dt.ACT, dt.ACT, dt.GWRITE, dt.PRE, dt.G_ACT]
        )
        done = Issued(0, command, rng.randrange(banks), rng.randrange(2))
        if not refusal(timing, rows, command, done.bank, done.row, dual=dual):
            return done


def _lead_to_sums(rng: random.Random, timing: DramTiming, rows: Rows, close: int) -> Issued:
    """Return the next of the commands that open all banks for multiplication, or multiply."""
    for first in range(0, timing.banks_total, timing.banks):
        open_banks = [b for b in banks_of(timing, dt.G_ACT, first) if rows.pim[b] is not None]
        if len(open_banks) == timing.banks:
            continue
        if open_banks:
            return Issued(0, close, open_banks[0])
        return Issued(0, dt.G_ACT, first, rng.randrange(2))
    command = rng.choice([dt.COMP, dt.COMP, dt.GEMV, dt.GEMV, dt.READRES, dt.READRES, close])
    comps = rng.randrange(comps_in_row(timing) + 1)
    return Issued(0, command, rng.randrange(timing.banks_total), 0, comps)


def _lead_to_refresh(rng: random.Random, timing: DramTiming, rows: Rows) -> Issued:
    """Return the next of the commands that close the rows of the last rank, or REF."""
    banks = list(banks_of(timing, dt.REF, timing.banks_total - 1))
    rng.shuffle(banks)
    for bank in banks:
        if rows.normal[bank] is not None:
            return Issued(0, dt.PRE, bank)
        if rows.pim[bank] is not None:
            return Issued(0, dt.PPRE, bank)
    return Issued(0, dt.REF, banks[0])


@dataclass(frozen=True, slots=True)
class Access:
    """A read or a write (`kind` RD or WR) of an access of a row; `word` is what is written."""

    kind: int
    bank: int
    row: int
    access: int
    word: int = 0


TILES = 3


def multiply_rows(channel: Channel, rng: random.Random) -> Stimulus:
    """Write rows, run a program on them while others are accessed; a refresh; read a row again.

    The program has two tiles of two sums each, and a third whose COMP comes into a running GEMV
    (`torn`).
    """
    timing, p = channel.timing, channel.parameters
    numbers = np.random.default_rng(rng.getrandbits(32))
    rows = rows_after(timing, [], dual=bool(p.dual))
    last_tile, banks = min(TILES, timing.rows - 1), range(timing.banks_total)
    written = [(dt.GWRITE_BANK, dt.GWRITE_ROW)]
    written += [(bank, row) for row in range(1, last_tile + 1) for bank in banks]

    def drive(*parts: Stimulus) -> Stimulus:
        return _followed(together(*parts), timing, rows)

    def fill(bank: int, row: int) -> Iterator[Access]:
        for access in range(p.accesses):
            drawn = numbers.standard_normal(timing.access_bytes // 2).astype("<f2")
            yield Access(dt.WR, bank, row, access, int.from_bytes(drawn.tobytes(), "little"))

    def read(bank: int, row: int) -> Iterator[Access]:
        return (Access(dt.RD, bank, row, access) for access in range(p.accesses))

    yield from drive(_access(channel, rows, (x for at in written for x in fill(*at))))
    beside = [*read(banks[-1], last_tile), *fill(banks[-1], 0)]
    program = send("program", _program(channel, last_tile), rng)
    yield from drive(program, _access(channel, rows, beside))
    if p.refresh:
        yield from drive(_until_refresh(timing))
    yield from drive(_access(channel, rows, read(banks[-1], last_tile)))
    yield from drive(_rest(timing.read_delay))


def _program(channel: Channel, tiles: int) -> Iterator[int]:
    """Yield the instructions: a tile in each of the rows from 1 on, the last one torn."""
    layout, comps = instruction_layout(channel.timing), max(1, comps_in_row(channel.timing) // 2)

    def word(kind: Op, row: int, *, comps: int = 0, results: int = 0, last: int = 0) -> int:
        fields = {"kind": kind, "row": row, "comps": comps, "results": results, "last": last}
        return sum(value << layout[name].offset for name, value in fields.items())

    yield word(Op.GWRITE, dt.GWRITE_ROW)
    for row in range(1, tiles + 1):
        yield word(Op.HEADER, row, comps=2 * comps, results=2)
        for last in (0, 1):
            if channel.parameters.dual and row % 2:
                yield word(Op.GEMV, row, comps=comps, results=1, last=last)
                if row < tiles or not last:
                    continue
            for _ in range(comps):
                yield word(Op.COMP, row, comps=1)
            yield word(Op.READRES, row, results=1, last=last)


def _access(channel: Channel, rows: Rows, wanted: Iterable[Access]) -> Stimulus:
    """Read and write; open and close rows for it, again if a refresh has closed one."""
    for access in wanted:
        taken = False
        while not taken:
            held = rows.normal[access.bank]
            needed = dt.ACT if held is None else dt.PRE
            command = access.kind if held == access.row else needed
            done = Issued(0, command, access.bank, access.row)
            offer = {
                "host__valid": 1,
                "host__payload": command_word(channel.timing, done, access.access),
            }
            if channel.parameters.compute:
                offer["written"] = access.word
            taken = bool((yield offer)["host__ready"]) and command == access.kind


def _followed(stimulus: Stimulus, timing: DramTiming, rows: Rows) -> Stimulus:
    """Run a stimulus of a channel; keep `rows` as the commands leave them."""
    offer = next(stimulus)
    while True:
        seen = yield offer
        done = issued_command(timing, seen["issued"])
        if done:
            rows.follow(timing, done)
        try:
            offer = stimulus.send(seen)
        except StopIteration:
            return


def _until_refresh(timing: DramTiming) -> Stimulus:
    done = None
    while done is None or done.command != dt.REF:
        done = issued_command(timing, (yield {})["issued"])


def _rest(cycles: int) -> Stimulus:
    for _ in range(cycles):
        yield {}
