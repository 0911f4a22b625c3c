"""Where keys and values of decoding requests lie in PIM rows, and who shares a channel with whom.

Source: NeuPIMs (ASPLOS 2024, arXiv 2403.00579), algorithms 1 to 3 and section 5. A *tile* is one
row in every bank of a channel. A K tile holds `banks` tokens of `row_elements` elements of the
shard's width; a V tile holds `banks` elements of one head for `row_elements` tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workloads.errors import InputError
from workloads.rounding import ceil_div

GWRITE_CLOCKS = 100
TILE_CLOCKS = 184
"""Constants of algorithm 1 in the published scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayout:
    """Attention of one shard in PIM: `groups` query heads share each of the `heads` stored ones.

    The rows of the `banks` of a channel have `row_elements` elements, of which a COMP multiplies
    `multipliers` in each bank.
    """

    heads: int
    head_width: int
    groups: int = 1
    banks: int = 32
    row_elements: int = 512
    multipliers: int = 16

    @property
    def width(self) -> int:
        """Elements of a key in this shard."""
        return self.heads * self.head_width

    @property
    def key_chunks(self) -> int:
        """Rows side by side that hold one key."""
        return ceil_div(self.width, self.row_elements)

    @property
    def heads_per_row(self) -> int:
        """Heads in a full row of a K tile."""
        return ceil_div(self.row_elements, self.head_width)

    def heads_in_chunk(self, chunk: int) -> int:
        """Heads in the rows of chunk number `chunk`: fewer in the last one."""
        rest = self.width % self.row_elements
        if chunk == self.key_chunks - 1 and rest:
            return ceil_div(rest, self.head_width)
        return self.heads_per_row

    @property
    def comps_per_head(self) -> int:
        """COMP that multiply one head of a key."""
        return ceil_div(self.head_width, self.multipliers)

    @property
    def value_rows(self) -> int:
        """V tiles side by side that hold one head."""
        return ceil_div(self.head_width, self.banks)

    def key_tiles(self, tokens: int) -> int:
        """Return the K tiles of a request."""
        return self.key_chunks * ceil_div(tokens, self.banks)

    def value_chunks(self, tokens: int) -> list[int]:
        """Return the tokens in each V tile along a request."""
        full, rest = divmod(tokens, self.row_elements)
        return [self.row_elements] * full + ([rest] if rest else [])

    def value_tiles(self, tokens: int) -> int:
        """Return the V tiles of a request."""
        return self.heads * self.value_rows * ceil_div(tokens, self.row_elements)

    def tiles(self, tokens: int) -> int:
        """Return the tiles that a request occupies."""
        return self.key_tiles(tokens) + self.value_tiles(tokens)

    def estimate_clocks(self, tokens: int) -> int:
        """Return the latency of a request's attention by algorithm 1.

        >>> KvLayout(heads=8, head_width=128).estimate_clocks(512)   # 2 + 8 GWRITE, 32 + 32 tiles
        12776
        """
        keys = self.key_chunks * (GWRITE_CLOCKS + ceil_div(tokens, self.banks) * TILE_CLOCKS)
        values = ceil_div(tokens, self.row_elements) * self.heads
        return self.groups * (keys + values * (GWRITE_CLOCKS + self.value_rows * TILE_CLOCKS))


def pack_channels(layout: KvLayout, lengths: Sequence[int], *, channels: int) -> list[int]:
    """Assign each request to the channel with the least estimated load, longest first: algorithm 2.

    The channels are empty before.
    """
    load = np.zeros(channels, np.int64)
    chosen = [0] * len(lengths)
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        chosen[i] = int(load.argmin())
        load[chosen[i]] += layout.estimate_clocks(lengths[i])
    return chosen


def round_robin(count: int, *, channels: int) -> list[int]:
    """Assign requests to channels in turn: the baseline of the paper."""
    return [i % channels for i in range(count)]


def split_sub_batches(channels_of: Sequence[int], *, channels: int) -> tuple[list[int], list[int]]:
    """Cut the requests of every channel in two halves: algorithm 3.

    Odd channels give their extra request to the first and second sub-batch in turn. Returns the
    positions of the requests, channel by channel.
    """
    first: list[int] = []
    second: list[int] = []
    round_up = True
    for channel in range(channels):
        here = [i for i, c in enumerate(channels_of) if c == channel]
        half = len(here) // 2
        if len(here) % 2:
            half += round_up
            round_up = not round_up
        first += here[:half]
        second += here[half:]
    return first, second


def channel_order(channels_of: Sequence[int], *, channels: int) -> list[int]:
    """Return the positions of the requests, channel by channel."""
    return [i for c in range(channels) for i, at in enumerate(channels_of) if at == c]


def check_capacity(
    layout: KvLayout,
    lengths: Sequence[int],
    channels_of: Sequence[int],
    *,
    tiles_per_channel: int,
    name: str,
) -> None:
    """Raise `InputError` naming the first request that fits no more, and its line in a trace."""
    used: dict[int, int] = {}
    for i, (length, channel) in enumerate(zip(lengths, channels_of, strict=True)):
        used[channel] = used.get(channel, 0) + layout.tiles(length)
        if used[channel] > tiles_per_channel:
            raise InputError(
                f"{name}, request {i + 1} (line {i + 2} of a trace): {length} tokens do not fit "
                f"into channel {channel}, whose cache has room for {tiles_per_channel} tiles, not "
                f"{used[channel]}; give the channel fewer or shorter requests"
            )
