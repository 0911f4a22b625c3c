"""When a DRAM command may issue, from the list of the commands before it: slow and obvious.

The rules are those of `dataflow.dram_timing.constraints`, applied one by one: if `first` issued at
clock t in a bank that stands in the constraint's scope to the bank of `second`, `second` may issue
from t + delay on. Four rules are not pairs of commands:

- tFAW: of one rank's ACT, the fifth comes at least tFAW after the first;
- a GEMV holds the multipliers: the next one comes `gemv_clocks` later;
- the first COMP after a READRES fills the pipeline: READRES comes PIM_PIPELINE_STEPS later;
- the command bus carries one command a clock.

Broadcast commands (COMP, READRES, GEMV) act on all banks: they count as issued in bank 0, and issue
when every bank may take them. G_ACT acts on a bank group, REF on a rank, likewise.

What a bank's rows allow is a second question (`refusal`): a row is opened only when none is open,
and read only when one is. `simulator.dram.bank` keeps the next clock of every command instead of a
history, `rtl.pim` a counter of the clocks left; both are compared with this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dataflow import dram_timing as dt
from dataflow.dram_timing import DramTiming, constraints, gemv_clocks

BROADCAST = (dt.COMP, dt.READRES, dt.GEMV)
ACTIVATIONS_IN_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Issued:
    """A command on the bus: `bank` counts through groups and ranks, `comps` is that of a GEMV."""

    clock: int
    command: int
    bank: int = 0
    row: int = 0
    comps: int = 0


def banks_of(timing: DramTiming, command: int, bank: int) -> range:
    """Return the banks on which `command` acts, named by any of them."""
    size = 1
    if command in BROADCAST:
        size = timing.banks_total
    elif command == dt.REF:
        size = timing.groups * timing.banks
    elif command == dt.G_ACT:
        size = timing.banks
    first = bank // size * size
    return range(first, first + size)


def earliest(
    timing: DramTiming, history: Sequence[Issued], command: int, bank: int, *, dual: bool
) -> int:
    """Return the first clock after `history` at which timing allows `command`; rows apart."""
    clock = history[-1].clock + 1 if history else 0
    banks = banks_of(timing, command, bank)
    for before in history:
        at = 0 if before.command in BROADCAST else before.bank
        for scope, delay in _rules(timing, dual).get((before.command, command), ()):
            late = before.clock + delay
            if late > clock and any(_in_scope(timing, scope, at, own) for own in banks):
                clock = late
    if command == dt.ACT:
        rank = bank // (timing.groups * timing.banks)
        clock = max(clock, _window_opens(timing, history, rank))
    return max(clock, _pipeline_free(timing, history, command))


@cache
def _rules(timing: DramTiming, dual: bool) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return (scope, delay) of every constraint by its two commands."""
    rules: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for scope, first, second, delay in constraints(timing, dual=dual):
        rules.setdefault((first, second), []).append((scope, delay))
    return rules


def _in_scope(timing: DramTiming, scope: int, one: int, other: int) -> bool:
    """Say whether `other` stands in `scope` to the bank `one`."""
    group, rank = timing.banks, timing.banks * timing.groups
    if scope == dt.BANK:
        return one == other
    if scope == dt.GROUP:
        return one // group == other // group
    same = one // rank == other // rank
    return same if scope == dt.RANK else not same and scope == dt.OTHER_RANKS


def _window_opens(timing: DramTiming, history: Sequence[Issued], rank: int) -> int:
    """Return the first clock of a further ACT in the rank by tFAW."""
    per_rank = timing.groups * timing.banks
    clocks = [h.clock for h in history if h.command == dt.ACT and h.bank // per_rank == rank]
    if len(clocks) < ACTIVATIONS_IN_WINDOW:
        return 0
    return clocks[-ACTIVATIONS_IN_WINDOW] + timing.faw


def _pipeline_free(timing: DramTiming, history: Sequence[Issued], command: int) -> int:
    """Return the first clock at which the multipliers and adder trees allow `command`."""
    if command == dt.GEMV:
        return max(
            (h.clock + gemv_clocks(timing, h.comps) for h in history if h.command == dt.GEMV),
            default=0,
        )
    free = 0
    if command == dt.READRES:
        filled = False
        for before in history:
            if before.command == dt.COMP and not filled:
                filled, free = True, max(free, before.clock + dt.PIM_PIPELINE_STEPS)
            elif before.command == dt.READRES:
                filled = False
    return free


@dataclass(slots=True)
class Rows:
    """The open row of every bank, None if closed, in the normal and in the PIM row buffer.

    With one row buffer per bank, both names mean the same list.
    """

    normal: list[int | None]
    pim: list[int | None]

    def follow(self, timing: DramTiming, done: Issued) -> None:
        """Open or close the rows that a command opens or closes."""
        for bank in banks_of(timing, done.command, done.bank):
            if done.command == dt.ACT:
                self.normal[bank] = done.row
            elif done.command == dt.PRE:
                self.normal[bank] = None
            elif done.command == dt.G_ACT:
                self.pim[bank] = done.row
            elif done.command == dt.PPRE:
                self.pim[bank] = None


def rows_after(timing: DramTiming, history: Sequence[Issued], *, dual: bool) -> Rows:
    """Return the rows that `history` leaves open."""
    normal: list[int | None] = [None] * timing.banks_total
    pim: list[int | None] = [None] * timing.banks_total if dual else normal
    rows = Rows(normal, pim)
    for done in history:
        rows.follow(timing, done)
    return rows


def refusal(
    timing: DramTiming, rows: Rows, command: int, bank: int, row: int, *, dual: bool
) -> str:
    """Say why the open rows do not allow `command`; empty if they do.

    G_ACT takes a group of which some banks have that very row open already: that happens with one
    row buffer, when ACT opened it.
    """
    banks = banks_of(timing, command, bank)
    if command == dt.ACT and rows.normal[bank] is not None:
        return "a row is open"
    if command in (dt.RD, dt.WR, dt.PRE, dt.GWRITE) and rows.normal[bank] is None:
        return "no row is open"
    if command == dt.PPRE and (not dual or rows.pim[bank] is None):
        return "no row is open for multiplication"
    if command == dt.REF and any(
        rows.normal[b] is not None or rows.pim[b] is not None for b in banks
    ):
        return "the rank has an open row"
    if command == dt.G_ACT:
        held = [rows.pim[b] for b in banks]
        if all(r is not None for r in held) or any(r not in (None, row) for r in held):
            return "the group has an open row"
    if command in (dt.COMP, dt.GEMV) and any(rows.pim[b] is None for b in banks):
        return "a bank has no row open for multiplication"
    return ""


def violations(timing: DramTiming, commands: Sequence[Issued], *, dual: bool) -> list[str]:
    """Return a sentence for every command of a stream that comes too early or finds wrong rows."""
    found = []
    for i, done in enumerate(commands):
        before = commands[:i]
        soonest = earliest(timing, before, done.command, done.bank, dual=dual)
        if done.clock < soonest:
            found.append(f"{done} is {soonest - done.clock} clocks early")
        rows = rows_after(timing, before, dual=dual)
        why = refusal(timing, rows, done.command, done.bank, done.row, dual=dual)
        if why:
            found.append(f"{done}: {why}")
    return found
