"""When a command is legal: the one definition that the controller and a bank controller share.

For a bank controller in hardware, or a test of one:

>>> from dataflow.dram_timing import ACT, HBM2, RD
>>> channel = idle_channel(HBM2, dual=True)
>>> issue(channel, ACT, clock=0, bank=3)
>>> earliest_clock(channel, RD, bank=3)   # tRCD
14

`earliest_clock` is the first clock at which every constraint after the commands issued so far
allows a command: it must be refused one clock before and accepted in that clock. Banks are numbered
bank group by bank group, rank by rank. `bank` names any bank of the group for G_ACT, any bank of
the rank for REF, and does not matter for what is broadcast (COMP, READRES, GEMV). Which row is open
is not looked at: a command may be legal in time and still need an ACT first.

Constraints come from `dataflow.dram_timing.constraints`. Two more cannot be written as a delay
between two commands: tFAW (the fifth ACT of a rank waits for the first), and the pipeline of the
adder trees (after READRES, the first COMP holds up the next READRES for as many clocks as the
pipeline has steps; a GEMV holds up the next one for `gemv_clocks`).
"""

from __future__ import annotations

from dataflow.dram_rules import BROADCAST
from dataflow.dram_timing import (
    COMMAND_COUNT,
    COMMANDS,
    COMP,
    G_ACT,
    GEMV,
    PIM_PIPELINE_STEPS,
    READRES,
    REF,
    DramTiming,
)
from simulator.dram import bank as banks
from simulator.dram.pim import gemv_clocks
from simulator.dram.state import (
    BANKS,
    CHANNELS,
    FIRST_COMP,
    GROUPS,
    RANKS,
    READY_RANK,
    Ints,
    device_state,
    record,
)
from workloads.errors import InputError


def idle_channel(timing: DramTiming, *, dual: bool) -> Ints:
    """Return the state of one channel in which no command has issued yet."""
    return device_state(
        timing,
        dual=dual,
        refresh=False,
        device_channels=1,
        channels=[0],
        span_bytes=timing.row_bytes,
        outstanding=1,
        elements_per_transfer=1,
    )


def earliest_clock(channel: Ints, command: int, *, bank: int = 0) -> int:
    """Return the first clock at which `command` is legal in `bank`."""
    ch = _check(channel, command, bank)
    taken = _banks_of(channel, command, bank)
    return max(0, *(int(banks.earliest(channel, ch, b, command)) for b in taken))


def issue(channel: Ints, command: int, *, clock: int, bank: int = 0, comps: int = 1) -> None:
    """Record that `command` issues in `clock`; `comps` are the COMP of a GEMV.

    Raises `InputError` if it is not legal yet.
    """
    ch = _check(channel, command, bank)
    if clock < (first := earliest_clock(channel, command, bank=bank)):
        raise InputError(
            f"{COMMANDS[command]} in bank {bank} is legal from clock {first}, not {clock}"
        )
    banks.note(channel, ch, bank, command, clock)
    if command == GEMV:
        _hold(channel, ch, GEMV, clock + int(gemv_clocks(channel, comps)))
    if command == COMP and channel[ch + FIRST_COMP]:
        channel[ch + FIRST_COMP] = 0
        _hold(channel, ch, READRES, clock + PIM_PIPELINE_STEPS)
    if command == READRES:
        channel[ch + FIRST_COMP] = 1


def _hold(channel: Ints, ch: int, command: int, clock: int) -> None:
    for rank in range(int(channel[RANKS])):
        at = ch + READY_RANK + rank * COMMAND_COUNT + command
        channel[at] = max(int(channel[at]), clock)


def _banks_of(channel: Ints, command: int, bank: int) -> range:
    """Return the banks that take a command: one, those of a group, of a rank, or all."""
    size = 1
    if command in BROADCAST:
        size = _count(channel)
    elif command == G_ACT:
        size = int(channel[BANKS])
    elif command == REF:
        size = int(channel[BANKS] * channel[GROUPS])
    first = bank // size * size
    return range(first, first + size)


def _count(channel: Ints) -> int:
    return int(channel[BANKS] * channel[GROUPS] * channel[RANKS])


def _check(channel: Ints, command: int, bank: int) -> int:
    assert channel[CHANNELS] == 1, "a state with one channel"
    if not 0 <= bank < _count(channel):
        raise InputError(f"bank must be 0 to {_count(channel) - 1}, not {bank}")
    if not 0 <= command < COMMAND_COUNT:
        raise InputError(f"command must be 0 to {COMMAND_COUNT - 1}, not {command}")
    return record(channel, 0)
