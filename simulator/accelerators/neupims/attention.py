"""Attention in PIM: the instruction streams of logit and attend for every channel.

Source: published NeuPIMs simulator. Logit: per request and chunk of the key's width one GWRITE of
the query, then per tile a header and one GEMV per head; softmax per head when its sums are there.
Attend: per request, head and 512 tokens one GWRITE of the probabilities, then per V tile a header
and one GEMV; sums over several V tiles along a request are added by the vector units. The blocked
memory knows no GEMV: its COMP and READRES are instructions of their own.

GWRITE reads a fixed row; queries and probabilities are not written there first, nor are new keys
and values. With grouped-query attention the instructions of a request repeat for each query head of
a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataflow.kv_layout import KvLayout
from simulator.accelerators.neupims.npu import SIZE, softmax_clocks
from simulator.accelerators.neupims.program import (
    STEP_FIELDS,
    STORE_FIELDS,
    VECTOR,
    Ints,
    OperatorProgram,
)
from simulator.dram.closed_form import announced
from simulator.dram.pim import (
    COMP_OP,
    GEMV_OP,
    GROUP,
    GWRITE_OP,
    HEADER_OP,
    PIM_FIELDS,
    READRES_OP,
)
from workloads.rounding import ceil_div

FIRST_TILE_ROW = 1 << 20
"""Rows of tiles are numbered from here: apart from those that the NPU's transfers use."""

Instruction = list[int]


def logit(
    lengths: Sequence[int],
    channels_of: Sequence[int],
    layout: KvLayout,
    streams: Streams,
) -> OperatorProgram:
    """Return logit and softmax of requests in the order given, through empty `streams`."""
    softmaxes, stores = [], []
    for length, channel in zip(lengths, channels_of, strict=True):
        tiles = ceil_div(length, layout.banks)
        for _ in range(layout.groups):
            first = streams.open_groups([tiles] * layout.heads, channel)
            for chunk in range(layout.key_chunks):
                heads = layout.heads_in_chunk(chunk)
                names = range(first + chunk * layout.heads_per_row, first + layout.heads)[:heads]
                streams.gwrite(channel)
                for _ in range(tiles):
                    streams.tile(channel, layout.comps_per_head, list(names), round_up=False)
            for head in range(layout.heads):
                group, result = first + head, len(softmaxes)
                latency = softmax_clocks(2 * length)
                softmaxes.append([VECTOR, latency, group, group, -1, 0, result])
                stores.append([result, length, -1])
    return streams.program("attn.NeuPIMSLogitSoftmax", softmaxes, stores)


def attend(
    lengths: Sequence[int],
    channels_of: Sequence[int],
    layout: KvLayout,
    streams: Streams,
) -> OperatorProgram:
    """Return the product of probabilities and values; arguments as those of `logit`."""
    adds, stores = [], []
    for length, channel in zip(lengths, channels_of, strict=True):
        chunks = layout.value_chunks(length)
        for _ in range(layout.groups * layout.heads):
            first = streams.open_groups([len(chunks)] * layout.value_rows, channel)
            for tokens in chunks:
                streams.gwrite(channel)
                comps = ceil_div(tokens, layout.multipliers)
                for row in range(layout.value_rows):
                    streams.tile(channel, comps, [first + row], round_up=True)
            if len(chunks) == 1:
                continue
            for row in range(layout.value_rows):
                result = len(adds)
                latency = ceil_div(2 * layout.value_rows * layout.banks, SIZE)
                adds.append([VECTOR, latency, first + row, first + row, -1, 0, result])
                stores.append([result, layout.head_width, -1])
    return streams.program("attn.NeuPIMSAttend", adds, stores)


class Streams:
    """Collects the instructions of each channel in the order in which the core hands them over.

    `simulated` are the numbers of the channels that are simulated. `dispatch_limit` hands over one
    instruction a clock for all channels together instead of all at once.
    """

    def __init__(self, simulated: Sequence[int], *, dual: bool, dispatch_limit: bool) -> None:
        self.simulated = {number: i for i, number in enumerate(simulated)}
        self.dual = dual
        self.dispatch_limit = dispatch_limit
        self.streams: list[list[Instruction]] = [[] for _ in simulated]
        self.groups: list[int] = []
        self.handed_over = 0
        self.row = FIRST_TILE_ROW

    def open_groups(self, sizes: list[int], channel: int) -> int:
        """Start groups of answers; those of a channel that is not simulated are complete."""
        first = len(self.groups)
        self.groups += sizes if channel in self.simulated else [0] * len(sizes)
        return first

    def gwrite(self, channel: int) -> None:
        """Append the copy of a vector into the channel's buffer."""
        self._append(channel, [GWRITE_OP, 0, 0, 0, 0, 0])

    def tile(self, channel: int, comps: int, groups: list[int], *, round_up: bool) -> None:
        """Append a header and the work on one tile: `comps` COMP and a READRES for each group.

        The header rounds the COMP of several heads down, those of one head up.
        """
        self.row += 1
        header = announced(comps, len(groups), round_up=round_up)
        self._append(channel, [HEADER_OP, self.row, *header, 0, 0])
        for group in groups:
            last = int(group == groups[-1])
            if self.dual:
                self._append(channel, [GEMV_OP, self.row, comps, 1, group, last])
                continue
            for _ in range(comps):
                self._append(channel, [COMP_OP, self.row, 1, 0, 0, 0])
            self._append(channel, [READRES_OP, self.row, 0, 1, group, last])

    def _append(self, channel: int, instruction: Instruction) -> None:
        if channel in self.simulated:
            at = self.handed_over if self.dispatch_limit else 0
            self.streams[self.simulated[channel]].append([*instruction, at])
        self.handed_over += 1

    def program(
        self, name: str, instructions: list[Instruction], stores: list[Instruction]
    ) -> OperatorProgram:
        """Return the operator with its vector instructions and stores."""
        return OperatorProgram(
            name=name,
            steps=np.array(instructions, np.int64).reshape(-1, STEP_FIELDS),
            stores=np.array(stores, np.int64).reshape(-1, STORE_FIELDS),
            results=max(1, len(instructions)),
            groups=np.array(self.groups, np.int64),
            pim=tuple(np.array(s, np.int64).reshape(-1, PIM_FIELDS) for s in self.streams),
        )


def join_pim(operators: Sequence[OperatorProgram], simulated: int) -> tuple[Ints, Ints]:
    """Return the PIM programs of all operators as one table, and bounds [operator, channel, 2].

    Groups of an operator are renumbered to follow those of the operators before it.
    """
    parts, bounds = [], np.zeros((len(operators), simulated, 2), np.int64)
    at, groups = 0, 0
    for i, operator in enumerate(operators):
        for channel, rows in enumerate(operator.pim):
            shifted = rows.copy()
            shifted[:, GROUP] += groups
            parts.append(shifted)
            bounds[i, channel] = at, at + len(rows)
            at += len(rows)
        groups += len(operator.groups)
    table = np.concatenate([np.zeros((1, PIM_FIELDS), np.int64), *parts])
    return table, bounds + 1
