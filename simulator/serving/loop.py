"""The serving loop: admission, prefill, and one iteration of the whole batch after the other.

Requests join and leave between iterations (Orca, OSDI 2022). A prefill reads the prompt into the
cache and makes the first token; every iteration makes one more token of every request in the batch.
The cache is paged (vLLM, SOSP 2023). There are two policies for full caches:

- `reserve`: a request joins when the pages of its whole length are free; others wait.
- `preempt`: a request joins when the pages of what it has are free. When one needs a page and none
  is free, the youngest request that holds one gives its pages back and is prefilled again later,
  with the tokens that it has made. The oldest request always goes on, so that all of them end.

Requests join in the order of their arrival, and none overtakes one that does not fit.

The device says how long an iteration and a prefill take (`Device`). A device with
`prefill_units` = 0 prefills by itself: an iteration is the prefill of those who joined and the
decoding of the others, one after the other. Otherwise separate units prefill, first come, first
served: a unit that is free takes those who wait, up to a number of tokens, and hands them over
together.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from simulator.serving.arrivals import Request
from simulator.serving.caches import Cache
from workloads.errors import InputError

Policy = Literal["reserve", "preempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What serves: times as functions of the batch, and its cache.

    `decode_s(lengths, channels)` is the time of one iteration for requests with so many tokens in
    the cache, the new one included, and the channel of each. `prefill_s(lengths)` is the time to
    read prompts. `make_cache()` returns an empty cache.
    """

    name: str
    decode_s: Callable[[tuple[int, ...], tuple[int, ...]], float]
    prefill_s: Callable[[tuple[int, ...]], float]
    make_cache: Callable[[], Cache]
    prefill_units: int = 0


class Iteration(NamedTuple):
    """One iteration: requests that decode, prompt tokens read by the device itself, pages."""

    start_s: float
    seconds: float
    decoding: int
    prefill_tokens: int
    used_pages: int
    preempted: int


class Prefill(NamedTuple):
    """One request's prefill on unit number `unit`, or on the device itself (-1).

    Requests that are read together have the same start and the same seconds.
    """

    request: int
    unit: int
    start_s: float
    seconds: float
    tokens: int


@dataclass(slots=True, kw_only=True)
class Served:
    """What happened to one request; times in s from the start."""

    request: Request
    prefill_start_s: float = -1.0
    first_token_s: float = -1.0
    finish_s: float = -1.0
    tokens: int = 0
    cached: int = 0
    preemptions: int = 0

    @property
    def context(self) -> int:
        """Tokens that a prefill has to read: the prompt and what has been made."""
        return self.request.input_tokens + self.tokens

    @property
    def done(self) -> bool:
        """Whether all tokens have been made."""
        return self.tokens == self.request.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All requests, iterations and prefills of a run."""

    device: str
    policy: Policy
    served: tuple[Served, ...]
    iterations: tuple[Iteration, ...]
    prefills: tuple[Prefill, ...]
    capacity_pages: int
    leaked_pages: int


@dataclass(slots=True, kw_only=True)
class _State:
    """Everything that changes: requests are numbered in the order of arrival."""

    device: Device
    cache: Cache
    policy: Policy
    most_running: int
    most_prefill_tokens: int
    served: list[Served]
    clock_s: float = 0.0
    arrived: int = 0
    finished: int = 0
    unread: list[tuple[float, int]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    handed_over: list[tuple[float, int]] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    unit_free_s: list[float] = field(default_factory=list)
    iterations: list[Iteration] = field(default_factory=list)
    prefills: list[Prefill] = field(default_factory=list)


def serve(
    requests: Sequence[Request],
    device: Device,
    *,
    policy: Policy = "preempt",
    most_running: int = 256,
    most_prefill_tokens: int = 8192,
) -> Outcome:
    """Serve all requests and return what happened.

    `most_prefill_tokens` bounds the prompts that are read together, a single prompt aside. Raises
    `InputError` for requests that are not in the order of arrival, and for one that the cache could
    never hold.
    """
    if not requests:
        raise InputError("there must be at least one request to serve")
    for name, value in (("batch", most_running), ("prefill tokens", most_prefill_tokens)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    for before, after in pairwise(requests):
        if after.arrival_s < before.arrival_s:
            raise InputError(
                f"{after.where}: requests must be in the order of arrival, not at "
                f"{after.arrival_s} s after one at {before.arrival_s} s"
            )
    cache = device.make_cache()
    for request in requests:
        if not cache.holds(request.cached_tokens):
            raise InputError(
                f"{request.where}: {request.cached_tokens} tokens in the cache are more than "
                f"{device.name} has room for"
            )
    state = _State(
        device=device,
        cache=cache,
        policy=policy,
        most_running=most_running,
        most_prefill_tokens=most_prefill_tokens,
        served=[Served(request=request) for request in requests],
        unit_free_s=[0.0] * device.prefill_units,
    )
    while state.finished < len(requests):
        _arrive(state)
        preempted = _make_room(state)
        joined = [] if preempted else _join(state)
        if state.running or joined:
            _iterate(state, joined, preempted)
        elif state.finished < len(requests):
            state.clock_s = _next_event_s(state)
    return Outcome(
        device=device.name,
        policy=policy,
        served=tuple(state.served),
        iterations=tuple(state.iterations),
        prefills=tuple(state.prefills),
        capacity_pages=cache.capacity_pages,
        leaked_pages=cache.used_pages,
    )


def _next_event_s(state: _State) -> float:
    """Return when something happens to an idle device: an arrival, a prefill or its end."""
    events = [ready for ready, _ in state.handed_over[:1]]
    if state.unread:
        events.append(max(min(state.unit_free_s), state.unread[0][0]))
    if state.arrived < len(state.served):
        events.append(state.served[state.arrived].request.arrival_s)
    return max(state.clock_s, min(events))


def _arrive(state: _State) -> None:
    """Let those who have arrived, or have been handed over, wait for their place in the batch."""
    while (
        state.arrived < len(state.served)
        and state.served[state.arrived].request.arrival_s <= state.clock_s
    ):
        state.arrived += 1
        _wait(state, state.arrived - 1, state.served[state.arrived - 1].request.arrival_s)
    while state.unread and _start_unit(state):
        pass
    while state.handed_over and state.handed_over[0][0] <= state.clock_s:
        _, number = heapq.heappop(state.handed_over)
        state.waiting.append(number)
    state.waiting.sort()


def _wait(state: _State, number: int, since_s: float) -> None:
    """Queue a request for prefill, from `since_s` on."""
    if state.device.prefill_units:
        state.unread.append((since_s, number))
    else:
        state.waiting.append(number)


def _start_unit(state: _State) -> bool:
    """Start the prefill that comes next, if it does so by now: then all who share it are known."""
    unit = min(range(len(state.unit_free_s)), key=lambda u: (state.unit_free_s[u], u))
    start = max(state.unit_free_s[unit], state.unread[0][0])
    if start > state.clock_s:
        return False
    together: list[int] = []
    tokens = 0
    while state.unread and state.unread[0][0] <= start:
        tokens += state.served[state.unread[0][1]].context
        if together and tokens > state.most_prefill_tokens:
            break
        together.append(state.unread.pop(0)[1])
    seconds = state.device.prefill_s(tuple(state.served[number].context for number in together))
    state.unit_free_s[unit] = start + seconds
    for number in together:
        _prefilled(state, number, unit, start, seconds)
        if state.served[number].done:
            state.finished += 1
        else:
            heapq.heappush(state.handed_over, (start + seconds, number))
    return True


def _prefilled(state: _State, number: int, unit: int, start_s: float, seconds: float) -> None:
    """Record a prefill, which fills the cache and makes a token."""
    each = state.served[number]
    state.prefills.append(Prefill(number, unit, start_s, seconds, each.context))
    each.cached = each.context
    if each.prefill_start_s < 0:
        each.prefill_start_s = start_s
    _made_token(each, start_s + seconds)


def _made_token(each: Served, now_s: float) -> None:
    each.tokens += 1
    if each.tokens == 1:
        each.first_token_s = now_s
    if each.done:
        each.finish_s = now_s


def _make_room(state: _State) -> int:
    """Give every running request the page of its next token, the oldest first.

    Returns how many had to leave, the youngest of a pool first.
    """
    gone: list[int] = []
    for number in state.running:
        each = state.served[number]
        while number not in gone and not state.cache.grow(number, each.cached + 1):
            victim = max(state.cache.rivals(number))
            state.cache.release(victim)
            state.served[victim].preemptions += 1
            gone.append(victim)
        each.cached += 1
    state.running = [number for number in state.running if number not in gone]
    for number in gone:
        _wait(state, number, state.clock_s)
    return len(gone)


def _join(state: _State) -> list[int]:
    """Take waiting requests into the batch while they fit; return those to be prefilled here."""
    joined: list[int] = []
    prefill_tokens = 0
    own = not state.device.prefill_units
    while state.waiting and len(state.running) + len(joined) < state.most_running:
        each = state.served[state.waiting[0]]
        prefill_tokens += each.context
        if own and joined and prefill_tokens > state.most_prefill_tokens:
            break
        tokens = each.context if own else each.cached + 1
        wanted = each.request.cached_tokens if state.policy == "reserve" else tokens
        if not state.cache.place(state.waiting[0], wanted):
            break
        each.cached = tokens
        joined.append(state.waiting.pop(0))
    if own:
        return joined
    state.running = sorted(state.running + joined)
    return []


def _iterate(state: _State, joined: list[int], preempted: int) -> None:
    """Prefill those who joined, give everyone else a token, and let those who are done leave."""
    lengths = tuple(state.served[number].cached for number in state.running)
    channels = tuple(state.cache.channel_of(number) for number in state.running)
    contexts = tuple(state.served[number].context for number in joined)
    prefill_s = state.device.prefill_s(contexts) if contexts else 0.0
    seconds = prefill_s + (state.device.decode_s(lengths, channels) if lengths else 0.0)
    start, used = state.clock_s, state.cache.used_pages
    state.clock_s = start + seconds
    state.iterations.append(Iteration(start, seconds, len(lengths), sum(contexts), used, preempted))
    for number in joined:
        _prefilled(state, number, -1, start, prefill_s)
    for number in state.running:
        _made_token(state.served[number], state.clock_s)
    everyone = sorted(state.running + joined)
    for number in everyone:
        if state.served[number].done:
            state.cache.release(number)
            state.finished += 1
    state.running = [number for number in everyone if not state.served[number].done]
