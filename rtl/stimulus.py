"""What drives a design cycle by cycle: generators that see the outputs of each cycle they drive.

A stimulus yields the inputs of a cycle by port name (`load__valid`; a port without a value is
zero) and is sent the outputs of that cycle, as they are just before its end. It starts after a
reset or where an earlier stimulus of the same design has ended, and ends by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import wiring

Inputs = dict[str, int]
Outputs = Mapping[str, int]
Stimulus = Generator[Inputs, Outputs, None]
MakeStimulus = Callable[[Any, random.Random], Stimulus]
"""Makes the stimulus of a component; all that is drawn comes from the generator of numbers."""

PAUSE = 0.1
"""Chance that a stream rests in a cycle."""


def send(port: str, payloads: Iterable[int], rng: random.Random) -> Stimulus:
    """Offer the payloads to a stream one after the other, each until it is taken."""
    for payload in payloads:
        while rng.random() < PAUSE:
            yield {}
        offer = {f"{port}__valid": 1, f"{port}__payload": payload}
        while not (yield offer)[f"{port}__ready"]:
            pass


def take(port: str, count: int, rng: random.Random) -> Stimulus:
    """Take `count` words from a stream."""
    while count:
        ready = int(rng.random() >= PAUSE)
        count -= (yield {f"{port}__ready": ready})[f"{port}__valid"] & ready


def wait_for(port: str) -> Stimulus:
    """Drive nothing up to and with the next cycle in which the output is not zero."""
    while not (yield {})[port]:
        pass


def together(*parts: Stimulus) -> Stimulus:
    """Run stimuli of different ports at once, until the last one ends."""
    offers = {part: next(part) for part in parts}
    while offers:
        seen = yield {name: value for offer in offers.values() for name, value in offer.items()}
        following: dict[Stimulus, Inputs] = {}
        for part in offers:
            try:
                following[part] = part.send(seen)
            except StopIteration:
                continue
        offers = following


RANDOM_CYCLES = 200
SWITCHES = 0.3
"""Chance that an input of one bit is drawn anew in a cycle."""


def random_bits(component: wiring.Component, rng: random.Random) -> Stimulus:
    """Drive random bits; inputs of one bit change seldom, so that streams wait and flow."""
    inputs, _ = ports(component)
    held = dict.fromkeys(inputs, 0)
    for _ in range(RANDOM_CYCLES):
        for name, port in inputs.items():
            if len(port) > 1 or rng.random() < SWITCHES:
                held[name] = rng.getrandbits(len(port))
        yield dict(held)


def ports(component: wiring.Component) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the inputs and the outputs of a component as bits, by their names in Verilog."""
    found: tuple[dict[str, Value], dict[str, Value]] = {}, {}
    for path, member, value in component.signature.flatten(component):
        bits = Value.cast(value).as_unsigned()
        found[member.flow == wiring.Out]["__".join(map(str, path))] = bits
    return found
