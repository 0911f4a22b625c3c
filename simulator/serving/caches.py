"""Paged key-value caches: who holds how many pages, and whether more fit.

Two layouts. `TokenPages` is one pool of pages of a few tokens, as on a GPU. `ChannelTiles` is the
PIM's: a request lives in one channel; its keys take another row of tiles every 32 tokens, its
values every 512 (`dataflow.kv_layout`). Sizes are those of one layer: the others are alike.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dataflow.kv_layout import KvLayout
from workloads.rounding import ceil_div


class Cache(Protocol):
    """Pages of the requests that are in the batch, by the number of the request."""

    @property
    def capacity_pages(self) -> int:
        """Pages of the whole cache."""

    @property
    def used_pages(self) -> int:
        """Pages that requests hold."""

    def holds(self, tokens: int) -> bool:
        """Say whether a request of so many tokens fits an empty cache."""

    def place(self, request: int, tokens: int) -> bool:
        """Give a new request its pages; change nothing and say False if they are not there."""

    def grow(self, request: int, tokens: int) -> bool:
        """Give a request the pages for `tokens` in all; change nothing and say False if not."""

    def release(self, request: int) -> None:
        """Take back the pages of a request."""

    def rivals(self, request: int) -> Collection[int]:
        """Return the requests whose pages could serve this one, itself included."""

    def channel_of(self, request: int) -> int:
        """Return the channel that holds a request; 0 where there is one pool."""


@dataclass(slots=True, kw_only=True)
class TokenPages:
    """One pool of `capacity_pages` pages of `page_tokens` tokens."""

    capacity_pages: int
    page_tokens: int
    used_pages: int = 0
    held: dict[int, int] = field(default_factory=dict)

    def holds(self, tokens: int) -> bool:
        """Say whether a request of so many tokens fits an empty cache."""
        return ceil_div(tokens, self.page_tokens) <= self.capacity_pages

    def place(self, request: int, tokens: int) -> bool:
        """Give a new request its pages."""
        assert request not in self.held, "a request has its pages already"
        return self._take(request, tokens, held=0)

    def grow(self, request: int, tokens: int) -> bool:
        """Give a request the pages for `tokens` in all."""
        return self._take(request, tokens, held=self.held[request])

    def _take(self, request: int, tokens: int, *, held: int) -> bool:
        pages = max(held, ceil_div(tokens, self.page_tokens))
        if self.used_pages + pages - held > self.capacity_pages:
            return False
        self.used_pages += pages - held
        self.held[request] = pages
        return True

    def release(self, request: int) -> None:
        """Take back the pages of a request."""
        self.used_pages -= self.held.pop(request)

    def rivals(self, request: int) -> Collection[int]:
        """Return all requests."""
        return self.held.keys()

    def channel_of(self, request: int) -> int:
        """Return 0: there is one pool."""
        return 0


Assignment = Literal["least-load", "round-robin"]


@dataclass(slots=True, kw_only=True)
class ChannelTiles:
    """`channels` pools of `tiles_per_channel` tiles; a page is a tile of one layer.

    A new request goes to the channel with the least estimated latency (algorithm 1 and 2 of
    NeuPIMs) among those with room, or to the next one in turn that has room.
    """

    layout: KvLayout
    channels: int
    tiles_per_channel: int
    assignment: Assignment = "least-load"
    used: list[int] = field(default_factory=list)
    tokens: dict[int, int] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    turn: int = 0

    def __post_init__(self) -> None:
        self.used = [0] * self.channels

    @property
    def capacity_pages(self) -> int:
        """Tiles of all channels."""
        return self.channels * self.tiles_per_channel

    @property
    def used_pages(self) -> int:
        """Tiles that requests hold."""
        return sum(self.used)

    def holds(self, tokens: int) -> bool:
        """Say whether a request of so many tokens fits an empty channel."""
        return self.layout.tiles(tokens) <= self.tiles_per_channel

    def place(self, request: int, tokens: int) -> bool:
        """Choose a channel with room for a new request."""
        assert request not in self.places, "a request has its tiles already"
        wanted = self.layout.tiles(tokens)
        roomy = [c for c in range(self.channels) if self.used[c] + wanted <= self.tiles_per_channel]
        if not roomy:
            return False
        channel = self._choose(roomy)
        self.used[channel] += wanted
        self.places[request], self.tokens[request] = channel, tokens
        return True

    def _choose(self, roomy: list[int]) -> int:
        if self.assignment == "round-robin":
            channel = min(roomy, key=lambda c: (c - self.turn) % self.channels)
            self.turn = (channel + 1) % self.channels
            return channel
        load = [0] * self.channels
        for request, channel in self.places.items():
            load[channel] += self.layout.estimate_clocks(self.tokens[request])
        return min(roomy, key=lambda c: (load[c], c))

    def grow(self, request: int, tokens: int) -> bool:
        """Give a request the tiles for `tokens` in all, in its channel."""
        held, channel = self.tokens[request], self.places[request]
        if tokens <= held:
            return True
        more = self.layout.tiles(tokens) - self.layout.tiles(held)
        if self.used[channel] + more > self.tiles_per_channel:
            return False
        self.used[channel] += more
        self.tokens[request] = tokens
        return True

    def release(self, request: int) -> None:
        """Take back the tiles of a request."""
        channel = self.places.pop(request)
        self.used[channel] -= self.layout.tiles(self.tokens.pop(request))

    def rivals(self, request: int) -> Collection[int]:
        """Return the requests of the same channel."""
        channel = self.places[request]
        return [other for other, place in self.places.items() if place == channel]

    def channel_of(self, request: int) -> int:
        """Return the channel that holds a request."""
        return self.places[request]
