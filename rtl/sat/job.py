"""What the accelerator is told over its streams: words to load, and words to fetch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl.sat import host
from rtl.sat.instructions import encode
from rtl.sat.parameters import ADDRESS_BITS, BANK_BITS, SPACE_BITS, Parameters
from rtl.sat.top import Space


@dataclass(kw_only=True)
class Job:
    """Payloads of the `load` and of the `fetch` stream (`rtl.sat.top`), in their order."""

    load: list[int] = field(default_factory=list)
    fetch: list[int] = field(default_factory=list)

    def write(self, space: Space, bank: int, address: int, value: int) -> None:
        """Load a word."""
        self.load.append(_place(space, bank, address) | value << PLACE_BITS)

    def read(self, space: Space, bank: int, address: int) -> None:
        """Fetch a word."""
        self.fetch.append(_place(space, bank, address))


PLACE_BITS = SPACE_BITS + BANK_BITS + ADDRESS_BITS


def _place(space: Space, bank: int, address: int) -> int:
    return space | bank << SPACE_BITS | address << (SPACE_BITS + BANK_BITS)


def write_product(
    job: Job,
    product: host.Product,
    parameters: Parameters,
    *,
    slot: int,
    bases: Mapping[str, int] | None = None,
) -> None:
    """Load operands and the instruction; `bases` are the bank addresses to use."""
    bases = bases or {}
    bits = parameters.operand_bits
    for bank, windows in enumerate(product.west):
        for address, value in enumerate(host.pack(windows, bits)):
            job.write(Space.WEST, bank, bases.get("west_base", 0) + address, value)
    for bank, (values, indices) in enumerate(
        zip(product.north_values, product.north_indices, strict=True)
    ):
        raw = values.view(f"u{bits // 8}")
        for address, (value, index) in enumerate(zip(raw.tolist(), indices.tolist(), strict=True)):
            north = bases.get("north_base", 0) + address
            job.write(Space.NORTH, bank, north, value | index << bits)
    job.write(Space.PLAN, 0, slot, encode({**product.instruction, **bases}, parameters))


def read_results(job: Job, product: host.Product, base: int = 0) -> None:
    """Fetch the results of a product, bank by bank."""
    for bank in range(product.row.shape[0]):
        for address in range(product.row.shape[1]):
            job.read(Space.RESULT, bank, base + address)


def write_settings(job: Job, *, rate: float, momentum: float, decay: float) -> None:
    """Load rate, momentum and weight decay of the update; no decay saves an operation."""
    for address, value in enumerate((rate, momentum, decay)):
        job.write(Space.SETTING, 0, address, int(np.float32(value).view(np.uint32)))
    job.write(Space.SETTING, 0, 3, int(decay != 0))


def write_state(
    job: Job,
    space: Space,
    update: host.Update,
    matrix: NDArray[Any],
    base: int,
    *,
    lanes: int | None = None,
) -> None:
    """Load weights, momenta or gradients (K, Q) as fp32 into all lanes, or into the first ones."""
    image = update.scatter(matrix.astype(np.float32)).view(np.uint32)
    for lane, words in enumerate(image[:lanes].tolist()):
        for address, value in enumerate(words):
            job.write(space, lane, base + address, value)


def read_state(
    job: Job, space: Space, update: host.Update, base: int, *, lanes: int | None = None
) -> None:
    """Fetch weights or momenta, lane by lane, of all lanes or of the first ones."""
    for lane in range(update.parameters.lanes if lanes is None else lanes):
        for address in range(update.rows * update.blocks):
            job.read(space, lane, base + address)


def read_compact(job: Job, update: host.Update, forward_base: int, backward_base: int) -> None:
    """Fetch the selected weights of both directions."""
    p = update.parameters
    for space, banks, words, base in (
        (Space.FORWARD, p.lanes, update.forward_words, forward_base),
        (Space.BACKWARD, p.flights * p.slices, update.backward_words, backward_base),
    ):
        for bank in range(banks):
            for entry in range(update.pattern.n):
                for address in range(words):
                    job.read(space, bank * p.n + entry, base + address)
