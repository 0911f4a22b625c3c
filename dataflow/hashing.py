"""Which slot of a hash table a key starts at: one object for the simulator and for the hardware.

A key is the place of a partial product in its window of rows: row in the window times the number
of columns, plus the column. `high` keeps the order of the keys, `low` is what the fewest gates
give, `multiplicative` is Fibonacci hashing (Knuth, volume 3, section 6.4).

>>> import numpy as np
>>> hashing = SlotHash(kind="multiplicative", slot_bits=4, key_bits=16)
>>> hashing.compute(np.array([0, 1, 2, 3])).tolist()
[0, 9, 3, 13]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import InputError

HashKind = Literal["high", "low", "multiplicative"]
KINDS: tuple[str, ...] = get_args(HashKind)
GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd; narrower keys use its upper bits, made odd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotHash:
    """First slot of a key of `key_bits` in a table of 2**slot_bits slots; then linear probing."""

    kind: HashKind
    slot_bits: int
    key_bits: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"hash must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if not 1 <= self.key_bits <= 64:
            raise InputError(f"key bits of a hash must be from 1 to 64, not {self.key_bits}")
        if not 0 <= self.slot_bits <= 32:
            raise InputError(f"slot bits of a hash must be from 0 to 32, not {self.slot_bits}")

    @property
    def slots(self) -> int:
        """Slots of the table."""
        return 1 << self.slot_bits

    @property
    def multiplier(self) -> int:
        """What a key is multiplied by, modulo 2**key_bits; 1 unless multiplicative."""
        if self.kind != "multiplicative":
            return 1
        return (GOLDEN >> (64 - self.key_bits)) | 1

    @property
    def shift(self) -> int:
        """Places that the product is shifted to the right; 0 for low bits."""
        return 0 if self.kind == "low" else max(0, self.key_bits - self.slot_bits)

    def compute(self, keys: ArrayLike) -> NDArray[np.uint64]:
        """Return the first slots of keys, which must be below 2**key_bits."""
        key = np.asarray(keys, dtype=np.uint64)
        kept = np.uint64(2**self.key_bits - 1)
        product = (key * np.uint64(self.multiplier)) & kept
        return (product >> np.uint64(self.shift)) & np.uint64(self.slots - 1)


def window_hash(kind: HashKind, slot_bits: int, key_count: int) -> SlotHash:
    """Make the hash of a window whose keys are below `key_count`.

    High bits are those of the largest key that the window can hold, so that the table is used
    from end to end; the multiplicative hash always works on 64 bits.
    """
    bits = max(1, (max(key_count, 2) - 1).bit_length())
    return SlotHash(kind=kind, slot_bits=slot_bits, key_bits=bits if kind == "high" else 64)


def probe_lengths(
    keys: ArrayLike, hashing: SlotHash
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Insert keys one after the other with linear probing; returns probes and final slot of each.

    A key that is in the table already ends where it is. Raises `InputError` when a new key finds
    the table full. This is the plain definition that kernels and hardware are tested against.
    """
    table: dict[int, int] = {}
    probes, places = [], []
    starts = hashing.compute(keys)
    for key, start in zip(np.asarray(keys).tolist(), starts.tolist(), strict=True):
        for step in range(hashing.slots):
            slot = (start + step) % hashing.slots
            if table.setdefault(slot, key) == key:
                break
        else:
            raise InputError(f"a table of {hashing.slots} slots is full; it cannot take key {key}")
        probes.append(step + 1)
        places.append(slot)
    return np.array(probes, dtype=np.int64), np.array(places, dtype=np.int64)
