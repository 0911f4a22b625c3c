"""A channel of PIM banks: the simulator's commands in the simulator's clocks, numpy's sums."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from dataflow.dram_rules import Issued, violations
from dataflow.dram_timing import (
    ACT,
    G_ACT,
    GEMV,
    PPRE,
    PRE,
    RD,
    READRES,
    REF,
    WR,
    DramTiming,
)
from dataflow.kv_layout import KvLayout
from rtl.pim.channel import Channel
from rtl.pim.estimate import Estimate
from rtl.pim.parameters import ChannelParameters
from rtl.pim.stimulus import issued_command
from simulator.dram import pim
from simulator.dram.state import FIRST_RECORD, OPEN_ROW, PIM_ROW
from tests.cosim.pim_channel import (
    EIGHT,
    FOUR,
    FULL,
    LAYOUT,
    TWO_TILES,
    attend_case,
    check_timing,
    check_values,
    command_word,
    instruction_word,
    logit_case,
    tiles,
)
from tests.cosim.pim_model import bank_fields, idle_state


@pytest.mark.parametrize(
    ("dual", "level"), [(1, "icarus"), (0, "amaranth")], ids=["two buffers", "one buffer"]
)
def test_logit_tiles_of_a_full_channel_take_the_simulator_s_clocks(
    dual, level, icarus, runs
) -> None:
    """32 banks, two K tiles with a head switch in each and a row switch between them."""
    parameters = replace(FULL, dual=dual)
    program = tiles("logit", TWO_TILES, LAYOUT, dual=bool(dual))
    commands, torn = check_timing(parameters, program, level=level, directory=runs)
    assert not violations(parameters.dram, commands, dual=bool(dual))
    assert not torn


@pytest.mark.parametrize("dual", [1, 0], ids=["two buffers", "one buffer"])
def test_attend_tiles_of_a_full_channel_wait_for_the_refresh_as_the_simulator_does(
    dual, tmp_path
) -> None:
    """V tiles of three heads go beyond the first refresh, which closes rows and delays tiles."""
    parameters = replace(FULL, dual=dual)
    program = tiles("attend", 200, LAYOUT, dual=bool(dual))
    program = program[: 3 * len(program) // 4]
    commands, torn = check_timing(parameters, program, level="amaranth", directory=tmp_path)
    assert commands[-1].clock > parameters.dram.refresh_interval
    assert [done.command for done in commands].count(REF) == 1
    assert not violations(parameters.dram, commands, dual=bool(dual))
    assert not torn


@pytest.mark.parametrize("comps", [20, 21, 32])
def test_long_sums_of_the_published_timing_run_into_the_next_tile(comps: int, tmp_path) -> None:
    """The table lets PPRE follow a GEMV after tRTP; 32 of them, one for the header, then G_ACT.

    A GEMV reads comp_step clocks for each COMP: `torn` shows when the next tile opens meanwhile.
    """
    quiet = replace(FULL, refresh=0)
    timing = quiet.dram
    program = tiles("attend", 16 * comps, KvLayout(heads=1, head_width=64), dual=True)
    commands, torn = check_timing(quiet, program, level="amaranth", directory=tmp_path)
    first = next(done for done in commands if done.command == GEMV)
    opens = next(c for c in commands if c.command == G_ACT and c.clock > first.clock)
    assert opens.clock == first.clock + timing.rtp + timing.banks_total + 1
    reads_until = first.clock + timing.comp_step * (comps - 1)
    early = [c.clock for c in commands if c.command == G_ACT and first.clock < c.clock]
    assert torn == [clock for clock in early if clock < reads_until]
    assert bool(torn) == (comps > 20)


@pytest.mark.parametrize("case", [logit_case, attend_case], ids=["logit", "attend"])
@pytest.mark.parametrize("parameters", [EIGHT, FOUR], ids=["two buffers", "one buffer"])
def test_tiles_give_numpy_s_sums_in_the_simulator_s_clocks(parameters, case, icarus, runs) -> None:
    check_values(parameters, case(parameters, 1), directory=runs)


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2, 2), (2, 2, 4), (2, 4, 2)], ids=str)
def test_the_groups_of_a_small_channel_wait_for_all_their_banks(shape, tmp_path) -> None:
    """Few banks close faster than tRP: the last bank of a group decides when the group opens."""
    ranks, groups, banks = shape
    parameters = replace(EIGHT, ranks=ranks, groups=groups, banks=banks, compute=0)
    timing = parameters.dram
    width = timing.row_bytes // 2
    layout = KvLayout(heads=4, head_width=width // 4, banks=timing.banks_total, row_elements=width)
    program = tiles("logit", 3 * timing.banks_total, layout, dual=True)
    commands, _ = check_timing(parameters, program, level="amaranth", directory=tmp_path)
    assert not violations(timing, commands, dual=True)
    closed = [done.clock for done in commands if done.command == PPRE]
    opened = [done.clock for done in commands if done.command == G_ACT]
    assert len(opened) == 3 * ranks * groups
    assert opened[ranks * groups] - closed[banks - 1] >= timing.rp


def check_estimates(parameters: ChannelParameters) -> None:
    """Compare both estimates with the simulator's, rows of another tile open at random.

    No tile has the row of another one, so that the hardware closes whatever is open.
    """
    timing, rng = parameters.dram, np.random.default_rng(2)
    stimulus, expected = [], []
    for _ in range(300):
        state_now = idle_state(timing, dual=True)
        held = rng.integers(2, size=timing.banks_total)
        source, comps, results = (int(rng.integers(low, high)) for low, high in ESTIMATED)
        bank_fields(timing, state_now)[0, OPEN_ROW] = source
        bank_fields(timing, state_now)[:, PIM_ROW] = np.where(held, OTHER_TILE, -1)
        stimulus.append(
            {
                "holds": sum(1 << int(b) for b in np.flatnonzero(held)),
                "comps": comps,
                "results": results,
                "source_open": int(source >= 0),
                "source_right": int(source == 0),
            }
        )
        tile = pim.tile_estimate(state_now, FIRST_RECORD, OTHER_TILE + 1, comps, results)
        expected.append((int(tile), int(pim.gwrite_estimate(state_now, FIRST_RECORD))))
    assert estimated(timing, stimulus) == expected, "estimates differ"


def estimated(timing: DramTiming, stimulus: list[dict[str, int]]) -> list[tuple[int, int]]:
    """Return the estimates of the hardware, which has no clock."""
    component, got = Estimate(timing=timing), []

    async def bench(ctx) -> None:
        for values in stimulus:
            for name, value in values.items():
                ctx.set(getattr(component, name), value)
            await ctx.delay(1e-9)
            got.append((ctx.get(component.tile), ctx.get(component.gwrite)))

    simulator = Simulator(component)
    simulator.add_testbench(bench)
    simulator.run()
    return got


OTHER_TILE = 7
"""The row that banks hold open from a tile before."""

ESTIMATED = ((-1, 2), (1, 9), (1, 5))
"""Ranges of the row open in bank 0, and of the COMP and READRES of a header."""


def test_estimates_are_the_simulator_s() -> None:
    check_estimates(EIGHT)


def with_traffic(parameters: ChannelParameters, program: np.ndarray, seed: int) -> list[Issued]:
    """Run a program while the host offers accesses, in half of the clocks; return all commands.

    An access that is refused gives way to another, as from a queue per bank.
    """
    component, issued = Channel(parameters), []
    rng = random.Random(seed)
    words = [instruction_word(parameters, row) for row in program]

    async def bench(ctx) -> None:
        ports, clock = component, 0
        while words and clock < 5_000:
            ctx.set(Value.cast(ports.host.valid), rng.randrange(2))
            done = Issued(clock, rng.choice([RD, WR, ACT, PRE]), rng.randrange(8), 9)
            ctx.set(Value.cast(ports.host.payload), command_word(parameters.dram, done))
            ctx.set(Value.cast(ports.program.valid), 1)
            ctx.set(Value.cast(ports.program.payload), words[0])
            found = issued_command(parameters.dram, ctx.get(Value.cast(ports.issued)), clock)
            issued.extend([found] if found else [])
            if ctx.get(ports.program.ready):
                words.pop(0)
            clock += 1
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert not words, "the program does not end"
    return issued


@pytest.mark.parametrize("dual", [1, 0], ids=["two buffers", "one buffer"])
def test_accesses_go_on_in_a_tile_only_with_a_second_row_buffer(dual: int) -> None:
    """Whatever the host asks for, every command is legal, and the program comes to its end."""
    parameters = replace(EIGHT, compute=0, dual=dual, refresh=1)
    layout = KvLayout(heads=4, head_width=32, banks=8, row_elements=128)
    program = tiles("logit", 24, layout, dual=bool(dual))
    commands = with_traffic(parameters, program, seed=dual)
    assert not violations(parameters.dram, commands, dual=bool(dual))
    sums = GEMV if dual else READRES
    assert [done.command for done in commands].count(sums) == 3 * 4
    opens = [done.clock for done in commands if done.command == G_ACT]
    ends = [done.clock for done in commands if done.command == sums]
    inside = [
        done for done in commands if done.command in (RD, WR) and opens[0] < done.clock < ends[0]
    ]
    assert bool(inside) == bool(dual)
