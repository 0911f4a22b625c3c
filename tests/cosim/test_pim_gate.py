"""The command bus of a PIM channel: every constraint tight, every refusal the simulator's."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from dataflow.dram_rules import Issued, banks_of, refusal
from dataflow.dram_timing import (
    ACT,
    BANK,
    COMMANDS,
    COMP,
    G_ACT,
    GEMV,
    GROUP,
    GWRITE,
    HBM2,
    OTHER_RANKS,
    PIM_PIPELINE_STEPS,
    PPRE,
    PRE,
    RANK,
    RD,
    READRES,
    WR,
    DramTiming,
    delay_table,
    gemv_clocks,
)
from rtl.pim.gate import CommandGate
from rtl.pim.stimulus import command_word, random_commands
from tests.cosim.pim_model import SMALL, UNLIKE, Legality
from tests.cosim.units import Unit

LEVELS = ["amaranth", "icarus"]
COUNT = len(COMMANDS)
ONE_RANK = replace(HBM2, ranks=1, rows=16, row_bytes=256)
"""Sixteen banks in one rank: enough for five ACT in a window."""

NEEDS_ROW = (RD, WR, PRE, GWRITE)


def gate(timing: DramTiming, *, dual: bool, level: str, directory, variant: str = "") -> Unit:
    return Unit(
        make=lambda: CommandGate(timing=timing, dual=dual),
        top="gate",
        key=f"{timing} {dual} {variant}",
        level=level,
        directory=directory,
    )


def cycles_of(timing: DramTiming, wanted: dict[int, Issued], cycles: int) -> list[dict[str, int]]:
    """Return the stimulus that offers each command in its one cycle."""
    idle = {"command__valid": 0}
    return [
        {"command__valid": 1, "command__payload": command_word(timing, wanted[c])}
        if c in wanted
        else idle
        for c in range(cycles)
    ]


def prepare(timing: DramTiming, command: int, bank: int, *, dual: bool) -> list[Issued]:
    """Return commands, far apart, after which `command` may issue in `bank` of an idle channel."""
    if command in NEEDS_ROW:
        return [Issued(0, ACT, bank)]
    if command in (COMP, GEMV, PPRE):
        return [Issued(0, G_ACT, b) for b in range(0, timing.banks_total, timing.banks)]
    return []


def undo(timing: DramTiming, command: int, bank: int, *, dual: bool) -> list[Issued]:
    """Return commands, far apart, that close what `prepare` and `command` opened."""
    close = PPRE if dual else PRE
    if command in (RD, WR, GWRITE, ACT):
        return [Issued(0, PRE, bank)]
    if command == G_ACT:
        return [Issued(0, close, b) for b in banks_of(timing, G_ACT, bank)]
    if command in (COMP, GEMV, PPRE):
        keep = (bank,) if command == PPRE else ()
        return [Issued(0, close, b) for b in range(timing.banks_total) if b not in keep]
    return []


def relation(timing: DramTiming, one: int, other: int) -> list[int]:
    """Return the scopes in which `other` stands to the bank `one`."""
    per_rank = timing.groups * timing.banks
    if one // per_rank != other // per_rank:
        return [OTHER_RANKS]
    scopes = [RANK]
    if one // timing.banks == other // timing.banks:
        scopes.append(GROUP)
    return [*scopes, BANK] if one == other else scopes


def delay(timing: DramTiming, done: Issued, second: int, bank: int, *, dual: bool) -> int:
    """Return the clocks after `done` at which the table allows `second` in `bank`; 1 is the bus."""
    table = delay_table(timing, dual=dual)
    found = max(table[s, done.command, second] for s in relation(timing, done.bank, bank))
    if done.command == GEMV and second == GEMV:
        found = max(found, gemv_clocks(timing, done.comps))
    if done.command == COMP and second == READRES:
        found = max(found, PIM_PIPELINE_STEPS)
    return max(1, int(found))


def firsts(timing: DramTiming, *, dual: bool) -> list[Issued]:
    """Return every command once, in an inner bank; a GEMV also longer than its pipeline."""
    bank = timing.banks_total // 2 - 1
    found = [
        Issued(0, command, 0 if command in (COMP, READRES, GEMV) else bank)
        for command in range(COUNT)
        if dual or command != PPRE
    ]
    return [*found, Issued(0, GEMV, 0, comps=PIM_PIPELINE_STEPS + 2)]


def constraint_run(timing: DramTiming, *, dual: bool) -> tuple[dict[int, Issued], list[int], int]:
    """Return commands by cycle, the cycles of those under test, and the cycles in all."""
    wanted: dict[int, Issued] = {}
    tested, clock = [], 0
    for first in firsts(timing, dual=dual):
        before = prepare(timing, first.command, first.bank, dual=dual)
        after = undo(timing, first.command, first.bank, dual=dual)
        for place, done in enumerate([*before, first, *after]):
            wanted[clock] = done
            if place == len(before):
                tested.append(clock)
            clock += settles(timing, done.command, dual=dual)
    return wanted, tested, clock


def settles(timing: DramTiming, command: int, *, dual: bool) -> int:
    """Return clocks after which nothing waits for `command` any more."""
    longest = int(delay_table(timing, dual=dual)[:, command].max())
    return max(longest, timing.faw, gemv_clocks(timing, PIM_PIPELINE_STEPS + 2)) + 2


@pytest.mark.parametrize("dual", [True, False], ids=["two buffers", "one buffer"])
@pytest.mark.parametrize(
    ("timing", "level"), [(SMALL, "icarus"), (UNLIKE, "amaranth")], ids=["hbm2", "unlike"]
)
def test_every_constraint_holds_until_its_clock_and_no_longer(
    timing: DramTiming, dual: bool, level: str, icarus, runs
) -> None:
    """After each command in an idle channel, every command of every bank: late by 0, early by 0."""
    check_constraints(timing, dual=dual, level=level, directory=runs)


def bits(words: list[int], timing: DramTiming) -> np.ndarray:
    """Return [cycle, bank x command] of the `ready` port."""
    width = COUNT * timing.banks_total
    raw = b"".join(word.to_bytes(-(-width // 8), "little") for word in words)
    rows = np.frombuffer(raw, np.uint8).reshape(len(words), -1)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :width].astype(np.int8)


def check_constraints(timing: DramTiming, *, dual: bool, level: str, directory, variant="") -> None:
    unit = gate(timing, dual=dual, level=level, directory=directory, variant=variant)
    wanted, tested, cycles = constraint_run(timing, dual=dual)
    got = unit.drive(cycles_of(timing, wanted, cycles), ["command__ready", "ready"])
    assert all(got[c]["command__ready"] for c in wanted), "a prepared command is refused"
    wrong = []
    for at in tested:
        done = wanted[at]
        window = settles(timing, done.command, dual=dual) - 1
        ready = bits([got[at + 1 + i]["ready"] for i in range(window)], timing)
        first_ready = ready.argmax(axis=0) + 1
        stays = (np.diff(ready, axis=0) >= 0).all(axis=0) & (ready[-1] == 1)
        for bank in range(timing.banks_total):
            for second in range(COUNT):
                expected = delay(timing, done, second, bank, dual=dual)
                place = bank * COUNT + second
                if first_ready[place] != expected or not stays[place]:
                    wrong.append(
                        f"{COMMANDS[second]} in bank {bank} after {COMMANDS[done.command]} in "
                        f"{done.bank}: {first_ready[place]} clocks, not {expected}"
                    )
    assert not wrong, "constraints differ:\n" + "\n".join(wrong)


@pytest.mark.parametrize("level", LEVELS)
def test_the_fifth_act_of_a_rank_waits_for_the_window(level: str, icarus, runs) -> None:
    check_window(level=level, directory=runs)


def check_window(*, level: str, directory, variant: str = "") -> None:
    """Offer ACT in bank after bank: tRRD apart, but never five in tFAW."""
    unit = gate(ONE_RANK, dual=True, level=level, directory=directory, variant=variant)
    order = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6]
    expected = [0]
    for i in range(1, len(order)):
        after_fourth_last = expected[i - 4] + ONE_RANK.faw if i >= 4 else 0
        expected.append(max(expected[-1] + ONE_RANK.rrd_s, after_fourth_last))
    assert expected[4] == ONE_RANK.faw > expected[3] + ONE_RANK.rrd_s
    offered: dict[int, Issued] = {}
    for clock in range(expected[-1] + 1):
        place = sum(at < clock for at in expected)
        offered[clock] = Issued(clock, ACT, order[place])
    got = unit.drive(cycles_of(ONE_RANK, offered, len(offered)), ["command__ready"])
    accepted = [c for c, values in enumerate(got) if values["command__ready"]]
    assert accepted == expected, f"clocks of ACT differ: {accepted}, not {expected}"


def random_run(
    timing: DramTiming, *, dual: bool, seed: int, cycles: int
) -> tuple[dict[int, Issued], list[bool], Legality]:
    """Offer commands at random, most of them until they are accepted; ask the simulator."""
    model = Legality(timing, dual)
    commands = random_commands(timing, random.Random(seed), dual=dual)
    offered: dict[int, Issued] = {}
    accepted: list[bool] = []
    now = next(commands)
    for clock in range(cycles):
        legal = now is not None and model.allows(now.command, now.bank, now.row, clock)
        if now is not None:
            offered[clock] = replace(now, clock=clock)
        if legal:
            model.issue(offered[clock])
        accepted.append(legal)
        now = commands.send(legal)
    return offered, accepted, model


@pytest.mark.parametrize("dual", [True, False], ids=["two buffers", "one buffer"])
@pytest.mark.parametrize(
    ("timing", "level"),
    [(SMALL, "icarus"), (UNLIKE, "amaranth"), (ONE_RANK, "icarus")],
    ids=["hbm2", "unlike", "one rank"],
)
def test_commands_are_accepted_in_the_clocks_in_which_the_simulator_allows_them(
    timing: DramTiming, dual: bool, level: str, icarus, runs
) -> None:
    check_random(timing, dual=dual, level=level, directory=runs)


def check_random(timing: DramTiming, *, dual: bool, level: str, directory, variant="") -> None:
    unit = gate(timing, dual=dual, level=level, directory=directory, variant=variant)
    offered, accepted, model = random_run(timing, dual=dual, seed=5, cycles=3000)
    issued = {done.command for done in model.history}
    assert issued == set(range(COUNT)) - (set() if dual else {PPRE})
    got = unit.drive(cycles_of(timing, offered, 3000), ["command__ready"])
    wrong = [
        (offered[clock], accepted[clock])
        for clock in offered
        if got[clock]["command__ready"] != accepted[clock]
    ]
    assert not wrong, f"{len(wrong)} decisions differ, first {wrong[0]}"


def states(timing: DramTiming, *, dual: bool) -> list[list[Issued]]:
    """Return commands that lead from closed rows, one set after the other, to rows of all kinds."""
    last = timing.banks_total - 1
    groups = range(0, timing.banks_total, timing.banks)
    close = PPRE if dual else PRE
    return [
        [],
        [Issued(0, ACT, last, 1)],
        [Issued(0, G_ACT, 0, 1)],
        [Issued(0, PRE, last)],
        [Issued(0, G_ACT, first, 0) for first in groups[1:]],
        [Issued(0, ACT, 0, 1)] if dual else [],
        [Issued(0, close, last)],
    ]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dual", [True, False], ids=["two buffers", "one buffer"])
def test_open_rows_refuse_what_they_must(dual: bool, level: str, icarus, runs) -> None:
    check_refusals(SMALL, dual=dual, level=level, directory=runs)


def check_refusals(timing: DramTiming, *, dual: bool, level: str, directory, variant="") -> None:
    """Long after the last command, offer all that the open rows do not allow; nothing is taken."""
    unit = gate(timing, dual=dual, level=level, directory=directory, variant=variant)
    model = Legality(timing, dual)
    wanted: dict[int, Issued] = {}
    clock, legal = 0, set[int]()
    for commands in states(timing, dual=dual):
        for done in commands:
            clock += timing.rc + timing.faw
            wanted[clock] = done
            legal.add(clock)
            model.issue(replace(done, clock=clock))
        clock += timing.rc + timing.faw
        for command in range(COUNT + 1):
            for bank in range(timing.banks_total):
                if command == COUNT or refusal(timing, model.rows, command, bank, 0, dual=dual):
                    clock += 1
                    wanted[clock] = Issued(clock, command, bank)
    got = unit.drive(cycles_of(timing, wanted, clock + 1), ["command__ready"])
    taken = {c for c in wanted if got[c]["command__ready"]}
    assert taken == legal, f"refusals differ: {[wanted[c] for c in sorted(taken ^ legal)]}"
