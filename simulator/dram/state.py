"""The state of the channels of one device in one flat array of integers.

Kernels take the array and the offset of a channel: passing one array costs nothing, and numba
compiles it fast. The head of the array holds parameters and constraints, then follows one record
per channel. Names below are offsets: into the array for parameters, into the record for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dataflow.dram_timing import COMMAND_COUNT, COMMANDS, DramTiming, constraints
from workloads.errors import InputError
from workloads.rounding import ceil_div

Ints = NDArray[np.int64]

kernel = njit(cache=True, error_model="numpy", _nrt=False)
"""Decorator of the kernels. They make no arrays: without reference counts they run three times as
fast."""

COMMAND_QUEUE = 128
"""Entries of a bank's command queue and of the PIM command queue (published simulator)."""

TRANSACTION_QUEUE = 32
"""Entries of the read queue, the write buffer and the PIM queue (published simulator)."""

NEVER = 1 << 60
MAX_BANKS, MAX_GROUPS, MAX_RANKS = 32, 8, 4
WHEEL_SLOTS, WHEEL_ROOM = 256, 256
"""Clocks that an answer may lie ahead of the core; answers of all channels in one clock, after
their number."""
MAX_CHANNELS = 64
"""Channels of a device: two answers of each in one clock (`simulator.dram.responses`) have room."""

SET_LEAST = 8
"""Slots of the hash set that orders the lines of a transfer, at first (`simulator.dram.lines`)."""
SET_LARGEST = 255
"""Largest distance from home in it; as many slots behind the last home take what overflows."""

ANSWER_SLOTS = 32
"""Clocks that an answer may lie ahead of its channel."""

PARAMETERS = (
    "ranks",
    "groups",
    "banks",
    "read_delay",
    "faw",
    "interval",
    "gwrite",
    "rp",
    "rcd_read",
    "rcd_write",
    "rtp",
    "comp_step",
    "ccd_l",
    "outstanding",
    "dual",
    "device_channels",
    "columns",
    "stride",
    "channels",
    "span_bytes",
    "channel_bits",
    "column_bits",
    "bank_bits",
    "lines_at",
    "lines_room",
    "set_at",
)
(
    RANKS,
    GROUPS,
    BANKS,
    READ_DELAY,
    FAW,
    INTERVAL,
    GWRITE_CLOCKS,
    RP,
    RCD_READ,
    RCD_WRITE,
    RTP,
    COMP_STEP,
    CCD_L,
    OUTSTANDING_LIMIT,
    DUAL,
    DEVICE_CHANNELS,
    COLUMNS,
    STRIDE,
    CHANNELS,
    SPAN_BYTES,
    CHANNEL_BITS,
    COLUMN_BITS,
    BANK_BITS,
    LINES_AT,
    LINES_ROOM,
    SET_AT,
) = range(len(PARAMETERS))

GROUP_READY = 32
"""For each bank, the offset of its group's record in READY_GROUP, then of its rank's in READY_RANK,
then the number of its rank."""
RANK_READY = GROUP_READY + MAX_BANKS
RANK_OF = RANK_READY + MAX_BANKS
DELAY_FROM = RANK_OF + MAX_BANKS
"""Where the constraints after each command start: triples (scope, second, delay)."""
DELAYS = DELAY_FROM + COMMAND_COUNT + 1
WHEEL = 1024
"""Answers on their way to the core: for each clock modulo WHEEL_SLOTS their number, then their
tags. A tag of 0 or more is a load, a group of PIM sums is PIM_ANSWER - group, a write
of stream i is WRITE_ANSWER - i."""
WRITE_ANSWER, PIM_ANSWER = -1, -3
UNHEARD = NEVER
"""Tag of an answer that the core does not wait for."""
FIRST_RECORD = WHEEL + WHEEL_SLOTS * WHEEL_ROOM

(
    NUMBER,
    READS,
    WRITES,
    DRAIN,
    LOCKED_LINE,
    QUEUE_INDEX,
    REFRESH_DUE,
    REFRESH_DUE_2,
    REFRESH_RANK,
    REFRESH_AT,
    REFRESHING,
    OUTSTANDING,
    RESPONSES,
    ROW_MASK,
    HIT_MASK,
    PIM_SENT,
    PIM_QUEUED,
    PIM_HEAD,
    PIM_END,
    GWRITING,
    GWRITE_DONE,
    SKIP_PIM,
    SLACK,
    RESERVED_ROW,
    PIM_MODE,
    FIRST_COMP,
    TRANSFER_NEXT,
    _TRANSFER_NEXT_2,
    LINE_NEXT,
    _LINE_NEXT_2,
    LINE_COUNT,
    _LINE_COUNT_2,
    ENTERED,
    _ENTERED_2,
    TO_GIVE,
    _TO_GIVE_2,
    GIVEN_AT,
    _GIVEN_AT_2,
    ARRIVED,
    _ARRIVED_2,
    PIM_ARRIVED,
    LEFT_PATH_AT,
    PIM_CLOCKS,
    PIM_NOT_BEFORE,
    PIM_OPEN,
    READ_HEAD,
    STUCK,
    CHANGED,
    RESPONSE_HEAD,
    ANSWERS_DUE,
) = range(50)
"""Scalars of a channel. Those in pairs belong to the NPU's and the PIM's stream of transfers.
ENTERED is the last transfer of which a line was given to the path into the interconnect, TO_GIVE
its lines that were not, GIVEN_AT the interconnect's cycle of the last; ARRIVED are the requests
that left the path, the last at LEFT_PATH_AT, and wait for the channel, PIM_ARRIVED those among them
that are PIM instructions. PIM_OPEN is a mask of banks with a row in their second buffer; STUCK is a
mask of the full banks for which all waiting reads wait, or 0; CHANGED says that something happened
in this clock. RESPONSES are the answers in the queue from RESPONSE_HEAD on, ANSWERS_DUE those and
all that will be."""

DUE = 50
"""Answers that fall due in each clock, modulo ANSWER_SLOTS: their number, then their tags."""
DUE_ROOM = 32
RESPONSE_QUEUE = DUE + ANSWER_SLOTS * DUE_ROOM
"""Answers that wait for the way back: more than a channel may owe (published simulator: 4352)."""
RESPONSE_ROOM = 8192
COUNTS = RESPONSE_QUEUE + RESPONSE_ROOM
"""Commands issued, by command."""
OPEN_BANKS = COUNTS + COMMAND_COUNT
"""Open banks by buffer (normal, PIM) and rank, then since when one is, then clocks with one."""
ACTIVE_SINCE = OPEN_BANKS + 2 * MAX_RANKS
ACTIVE_CLOCKS = ACTIVE_SINCE + 2 * MAX_RANKS
READY_BANK = ACTIVE_CLOCKS + 2 * MAX_RANKS
"""Earliest clock of each command by the constraints of its bank, then group, then rank."""
READY_GROUP = READY_BANK + MAX_BANKS * COMMAND_COUNT
READY_RANK = READY_GROUP + MAX_GROUPS * COMMAND_COUNT
ACTIVATIONS = READY_RANK + MAX_RANKS * COMMAND_COUNT
"""Clocks of the last four ACT of each rank."""
BANK = ACTIVATIONS + 4 * MAX_RANKS
BANK_FIELDS = 7
OPEN_ROW, PIM_ROW, HITS, COUNT, HEAD, HITS_QUEUED, WRITES_QUEUED = range(BANK_FIELDS)
"""Fields of a bank: open row of either buffer (-1 closed), accesses since ACT, its queue."""
READ_QUEUE = BANK + MAX_BANKS * BANK_FIELDS
"""The waiting reads from READ_HEAD on, as entries."""
WRITE_BUFFER = READ_QUEUE + TRANSACTION_QUEUE
QUEUE = WRITE_BUFFER + TRANSACTION_QUEUE
TAG_SHIFT, WRITE_BIT, LINE_MASK = 32, 1 << 31, (1 << 31) - 1
"""An access in its bank's queue is one word: its line, a bit for a write, what it answers to."""
PENDING = QUEUE + MAX_BANKS * COMMAND_QUEUE
"""One word per line: number of reads that wait for it, 16 if a write does, 256 x second tag (loads
are longer than a line: no more than two meet in one). Behind it, from LINES_AT on, the lines of the
transfer under way of each stream, LINES_ROOM each."""


def device_state(
    timing: DramTiming,
    *,
    dual: bool,
    refresh: bool,
    device_channels: int,
    channels: Sequence[int],
    span_bytes: int,
    outstanding: int,
    elements_per_transfer: int,
) -> Ints:
    """Return the state of idle channels: those numbered `channels` out of `device_channels`.

    Transfers address `span_bytes` and start again at 0 after that. `outstanding` bounds the
    requests of a channel without an answer, `elements_per_transfer` the length of a transfer.
    """
    _check_size(timing, len(channels))
    lines = ceil_div(span_bytes, timing.access_bytes * device_channels) + 2
    room = ceil_div(2 * elements_per_transfer, timing.access_bytes * device_channels) + 3
    stride = PENDING + lines + 2 * room
    set_at = FIRST_RECORD + stride * len(channels)
    most = ceil_div(2 * elements_per_transfer, timing.access_bytes) + 2
    state = np.zeros(set_at + _set_slots(most), np.int64)
    values = {
        "interval": timing.refresh_interval if refresh else 0,
        "gwrite": timing.gwrite,
        "outstanding": outstanding,
        "dual": int(dual),
        "device_channels": device_channels,
        "columns": timing.row_bytes // timing.access_bytes,
        "stride": stride,
        "channels": len(channels),
        "span_bytes": span_bytes,
        "lines_at": PENDING + lines,
        "lines_room": room,
        "set_at": set_at,
        "channel_bits": _bits(device_channels, "channels"),
        "column_bits": _bits(timing.row_bytes // timing.access_bytes, "accesses in a row"),
        "bank_bits": _bits(timing.banks_total, "banks"),
    }
    for i, name in enumerate(PARAMETERS):
        state[i] = values[name] if name in values else getattr(timing, name)
    _write_places(state, timing)
    _write_delays(state, timing, dual=dual)
    for i, number in enumerate(channels):
        _reset(state[FIRST_RECORD + i * stride :][:stride], timing, number, refresh=refresh)
    return state


def record(state: Ints, index: int) -> int:
    """Return the offset of the record of simulated channel `index`."""
    return FIRST_RECORD + index * int(state[STRIDE])


def counts(state: Ints) -> dict[str, int]:
    """Return the commands issued by all simulated channels together."""
    at = [record(state, i) + COUNTS for i in range(int(state[CHANNELS]))]
    total = np.sum([state[a : a + COMMAND_COUNT] for a in at], axis=0)
    return dict(zip(COMMANDS, total.tolist(), strict=True))


def mean(state: Ints, scalar: int) -> float:
    """Return a scalar of the channels, averaged over the simulated ones."""
    return float(np.mean([state[record(state, i) + scalar] for i in range(int(state[CHANNELS]))]))


def active_clocks(state: Ints, clock: int) -> tuple[float, float]:
    """Return the clocks in which a rank had a row open, in normal and PIM buffers, all ranks."""
    total = [0.0, 0.0]
    for i in range(int(state[CHANNELS])):
        ch = record(state, i)
        for buffer in range(2):
            at = slice(buffer * MAX_RANKS, buffer * MAX_RANKS + int(state[RANKS]))
            still_open = state[ch + OPEN_BANKS :][at] > 0
            since = state[ch + ACTIVE_SINCE :][at]
            total[buffer] += float(state[ch + ACTIVE_CLOCKS :][at].sum())
            total[buffer] += float((still_open * (clock - since)).sum())
    return total[0], total[1]


def _set_slots(lines: int) -> int:
    """Return the slots of a hash set for that many lines, with those that overflow."""
    slots = SET_LEAST
    while slots * 8 // 10 < lines:
        slots *= 2
    return slots + SET_LARGEST


def _reset(channel: Ints, timing: DramTiming, number: int, *, refresh: bool) -> None:
    channel[NUMBER] = number
    channel[[LOCKED_LINE, REFRESH_DUE, REFRESH_DUE_2, REFRESHING, RESERVED_ROW]] = -1
    channel[FIRST_COMP] = 1
    channel[GIVEN_AT : GIVEN_AT + 2] = -1
    channel[REFRESH_AT] = timing.refresh_interval if refresh else NEVER
    channel[ACTIVATIONS : ACTIVATIONS + 4 * MAX_RANKS] = -timing.faw
    banks = channel[BANK : BANK + MAX_BANKS * BANK_FIELDS].reshape(MAX_BANKS, BANK_FIELDS)
    banks[:, [OPEN_ROW, PIM_ROW]] = -1


def _write_places(state: Ints, timing: DramTiming) -> None:
    for bank in range(timing.banks_total):
        group = bank // timing.banks
        rank = group // timing.groups
        state[GROUP_READY + bank] = READY_GROUP + group * COMMAND_COUNT
        state[RANK_READY + bank] = READY_RANK + rank * COMMAND_COUNT
        state[RANK_OF + bank] = rank


def _write_delays(state: Ints, timing: DramTiming, *, dual: bool) -> None:
    longest: dict[tuple[int, int, int], int] = {}
    for scope, first, second, delay in constraints(timing, dual=dual):
        key = first, scope, second
        longest[key] = max(longest.get(key, 0), delay)
    triples = sorted((key, delay) for key, delay in longest.items() if delay)
    assert DELAYS + 3 * len(triples) <= WHEEL, "the table of constraints is full"
    for i, ((_, scope, second), delay) in enumerate(triples):
        state[DELAYS + 3 * i : DELAYS + 3 * i + 3] = scope, second, delay
    firsts = [key[0] for key, _ in triples]
    for command in range(COMMAND_COUNT + 1):
        before = sum(first < command for first in firsts)
        state[DELAY_FROM + command] = DELAYS + 3 * before


def _bits(size: int, what: str) -> int:
    if size < 1 or size & (size - 1):
        raise InputError(f"the number of {what} must be a power of two, not {size}")
    return size.bit_length() - 1


def _check_size(timing: DramTiming, channels: int) -> None:
    if channels > MAX_CHANNELS:
        raise InputError(
            f"a device that is stepped clock by clock must have at most {MAX_CHANNELS} channels, "
            f"not {channels}"
        )
    for name, size, limit in (
        ("banks", timing.banks_total, MAX_BANKS),
        ("bank groups", timing.ranks * timing.groups, MAX_GROUPS),
        ("ranks", timing.ranks, MAX_RANKS),
    ):
        if size > limit:
            raise InputError(f"a channel must have at most {limit} {name}, not {size}")
