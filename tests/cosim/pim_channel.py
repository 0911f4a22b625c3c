"""PIM channels under test: programs, commands and rows for them, and what must come of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataflow.dram_rules import Issued
from dataflow.dram_timing import (
    ACT,
    GEMV,
    PRE,
    RD,
    READRES,
    WR,
    gemv_clocks,
)
from dataflow.kv_layout import KvLayout
from dataflow.pim_arithmetic import gemv
from rtl.pim.channel import Channel
from rtl.pim.parameters import ChannelParameters, instruction_layout
from rtl.pim.stimulus import command_word, issued_command
from simulator.accelerators.neupims import attention
from simulator.dram import pim
from tests.cosim.pim_model import Legality, run_program
from tests.cosim.units import Unit


def program_of(operator) -> np.ndarray:
    """Return the instructions of the one channel, its tiles in rows 1, 2, ..."""
    program = operator.pim[0].copy()
    tiles = program[:, pim.TILE_ROW] > 0
    program[tiles, pim.TILE_ROW] -= attention.FIRST_TILE_ROW
    return program


def tiles(kind: str, tokens: int, layout: KvLayout, *, dual: bool) -> np.ndarray:
    """Return the program of a request's logit or attend, as the simulator makes it."""
    build = attention.logit if kind == "logit" else attention.attend
    streams = attention.Streams([0], dual=dual, dispatch_limit=False)
    return program_of(build([tokens], [0], layout, streams))


def instruction_word(parameters: ChannelParameters, row: np.ndarray) -> int:
    layout = instruction_layout(parameters.dram)
    fields = {
        "kind": row[pim.KIND],
        "row": row[pim.TILE_ROW],
        "comps": row[pim.COMPS],
        "results": row[pim.RESULTS],
        "last": row[pim.LAST],
    }
    return sum(int(value) << layout[name].offset for name, value in fields.items())


def channel(parameters: ChannelParameters, *, level: str, directory, variant: str = "") -> Unit:
    return Unit(
        make=lambda: Channel(parameters),
        top="channel",
        key=f"{parameters} {variant}",
        level=level,
        directory=directory,
    )


def offered(parameters: ChannelParameters, program: np.ndarray, left: list[int], first: int):
    """Return the stimulus: each instruction is offered until the clock in which it leaves."""
    stimulus = [{"program__valid": 0} for _ in range(first)]
    for row, clock in zip(program, left, strict=True):
        word = instruction_word(parameters, row)
        while len(stimulus) <= clock:
            stimulus.append({"program__valid": 1, "program__payload": word})
    return stimulus


def check_timing(
    parameters: ChannelParameters, program: np.ndarray, *, level: str, directory, variant: str = ""
) -> tuple[list[Issued], list[int]]:
    """Run simulator and hardware from reset; every command and every hand-over alike."""
    dual, refresh = bool(parameters.dual), bool(parameters.refresh)
    expected, left = run_program(parameters.dram, program, dual=dual, refresh=refresh)
    stimulus = [*offered(parameters, program, left, 0), {"program__valid": 0}]
    unit = channel(parameters, level=level, directory=directory, variant=variant)
    got = unit.drive(stimulus, ["issued", "program__ready", "torn"])
    issued = [
        issued_command(parameters.dram, out["issued"], clock) for clock, out in enumerate(got)
    ]
    found = [done for done in issued if done]
    for ours, theirs in zip(found, expected, strict=False):
        assert ours == theirs, f"commands differ: {ours}, not {theirs}"
    assert len(found) == len(expected), "numbers of commands differ"
    taken = [c for c, out in enumerate(got[:-1]) if out["program__ready"]]
    assert taken == left, "clocks of the instructions differ"
    return found, [c for c, out in enumerate(got) if out["torn"]]


FULL = ChannelParameters(ranks=2, groups=4, banks=4, rows=64, accesses=16, compute=0)
"""A channel of the published device: 32 banks, rows of 1 KB."""

LAYOUT = KvLayout(heads=4, head_width=128)
"""Four heads of 128 in a K tile."""

TWO_TILES = 2 * LAYOUT.banks

EIGHT = ChannelParameters(ranks=2, groups=4, banks=1, rows=16, accesses=4, refresh=0)
FOUR = replace(EIGHT, ranks=1, groups=2, banks=2, dual=0)
"""Small channels with cells and multipliers, of two row buffers and of one."""


def filled(parameters: ChannelParameters, rows: dict[tuple[int, int], np.ndarray]):
    """Return the accesses that write `rows` [bank, row] as (command, access, data), and the end.

    Each command comes as soon as the simulator's timing allows, in the order of rows and banks.
    """
    timing = parameters.dram
    model = Legality(timing, bool(parameters.dual))
    plan: dict[int, tuple[Issued, int, int]] = {}
    clock = 0
    values = timing.access_bytes // 2
    for number in sorted({row for _, row in rows}):
        banks = sorted(bank for bank, row in rows if row == number)
        wanted = [(ACT, bank, 0, 0) for bank in banks]
        for access in range(parameters.accesses):
            for bank in banks:
                part = rows[bank, number][access * values : (access + 1) * values]
                word = int.from_bytes(part.astype("<f2").tobytes(), "little")
                wanted.append((WR, bank, access, word))
        wanted += [(PRE, bank, 0, 0) for bank in banks]
        for command, bank, access, word in wanted:
            clock = max(clock, model.earliest(command, bank))
            done = Issued(clock, command, bank, number if command == ACT else 0)
            assert model.allows(command, bank, number, clock)
            model.issue(done)
            plan[clock] = done, access, word
            clock += 1
    return plan, clock


def logit_case(parameters: ChannelParameters, seed: int):
    """Return program, rows and sums of two K tiles, four heads of 32."""
    timing, rng = parameters.dram, np.random.default_rng(seed)
    banks, width = timing.banks_total, timing.row_bytes // 2
    layout = KvLayout(heads=4, head_width=width // 4, banks=banks, row_elements=width)
    keys = rng.standard_normal((2, banks, width)).astype(np.float16)
    query = rng.standard_normal(width).astype(np.float16)
    program = tiles("logit", 2 * banks, layout, dual=bool(parameters.dual))
    rows = {(bank, 1 + t): keys[t, bank] for t in range(2) for bank in range(banks)}
    heads = [slice(h * width // 4, (h + 1) * width // 4) for h in range(4)]
    sums = [gemv(keys[t][:, head], query[head]) for t in range(2) for head in heads]
    return program, {**rows, (0, 0): query}, sums


def attend_case(parameters: ChannelParameters, seed: int):
    """Return program, rows and sums of two V tiles of one head over 100 tokens."""
    timing, rng = parameters.dram, np.random.default_rng(seed)
    banks, width, tokens = timing.banks_total, timing.row_bytes // 2, 100
    layout = KvLayout(heads=1, head_width=2 * banks, banks=banks, row_elements=width)
    values, weights = np.zeros((2, banks, width), np.float16), np.zeros(width, np.float16)
    values[:, :, :tokens] = rng.standard_normal((2, banks, tokens))
    weights[:tokens] = rng.dirichlet(np.ones(tokens))
    program = tiles("attend", tokens, layout, dual=bool(parameters.dual))
    rows = {(bank, 1 + t): values[t, bank] for t in range(2) for bank in range(banks)}
    used = -(-tokens // 16) * 16
    sums = [gemv(values[t][:, :used], weights[:used]) for t in range(2)]
    return program, {**rows, (0, 0): weights}, sums


def sums_at(parameters: ChannelParameters, commands: list[Issued]) -> list[int]:
    """Return the clocks in which sums leave: read_delay after the READRES, also that of a GEMV."""
    timing = parameters.dram
    clocks = []
    for done in commands:
        if done.command == GEMV:
            hold = gemv_clocks(timing, done.comps) - timing.comp_step
            clocks.append(done.clock + hold + timing.read_delay)
        elif done.command == READRES:
            clocks.append(done.clock + timing.read_delay)
    return clocks


def check_values(parameters: ChannelParameters, case, *, directory, variant: str = "") -> None:
    """Write the rows by WR, read some back, run the program: clocks, data and sums."""
    program, rows, sums = case
    dual, timing = bool(parameters.dual), parameters.dram
    plan, clock = filled(parameters, rows)
    reads = read_back(parameters, clock + timing.rc, max(row for _, row in rows))
    start = max(reads) + timing.gwrite
    commands, left = run_program(timing, program, dual=dual, refresh=False)
    stimulus = offered(parameters, program, [start + c for c in left], start)
    stimulus += [{"program__valid": 0}] * (timing.gwrite + timing.read_delay)
    for at, (done, access, word) in {**plan, **reads}.items():
        stimulus[at] |= {
            "host__valid": 1,
            "host__payload": command_word(timing, done, access),
            "written": word,
        }
        stimulus[at + 1].setdefault("host__valid", 0)
    unit = channel(parameters, level="icarus", directory=directory, variant=variant)
    watch = ["issued", "host__ready", "torn", "sums_valid", "sums", "data_valid", "data"]
    got = unit.drive(stimulus, watch)
    issued = [issued_command(timing, out["issued"], c) for c, out in enumerate(got)]
    found = [replace(done, clock=done.clock - start) for done in issued[start:] if done]
    assert found == commands, "commands differ"
    assert all(got[at]["host__ready"] for at in plan), "an access is refused"
    assert not any(out["torn"] for out in got)
    values = [(c, out["data"]) for c, out in enumerate(got) if out["data_valid"]]
    assert values == read_values(parameters, reads, rows), "data differ"
    size = 2 * timing.banks_total
    wanted = [
        (start + c, int.from_bytes(s.tobytes(), "little"))
        for c, s in zip(sums_at(parameters, commands), sums, strict=True)
    ]
    assert size == len(sums[0].tobytes())
    assert [(c, out["sums"]) for c, out in enumerate(got) if out["sums_valid"]] == wanted, (
        "sums differ"
    )


def read_back(parameters: ChannelParameters, clock: int, row: int):
    """Return an ACT of the last bank, RD of all its accesses, and PRE, from `clock` on."""
    timing, bank = parameters.dram, parameters.dram.banks_total - 1
    plan = {clock: (Issued(clock, ACT, bank, row), 0, 0)}
    for access in range(parameters.accesses):
        clock += timing.rcd_read
        plan[clock] = Issued(clock, RD, bank), access, 0
    clock += timing.ras
    return plan | {clock: (Issued(clock, PRE, bank), 0, 0)}


def read_values(parameters: ChannelParameters, reads, rows) -> list[tuple[int, int]]:
    """Return when the data of the reads leave, and what they are."""
    timing, size = parameters.dram, parameters.dram.access_bytes
    bank, row = timing.banks_total - 1, max(row for _, row in rows)
    held = rows[bank, row].astype("<f2").tobytes()
    return [
        (at + timing.read_delay, int.from_bytes(held[a * size : (a + 1) * size], "little"))
        for at, (done, a, _) in reads.items()
        if done.command == RD
    ]
