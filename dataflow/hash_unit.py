"""Parameters of the hash-accumulate unit, which the simulator steps and `rtl.hash` builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataflow.hashing import HashKind, SlotHash
from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class HashUnit:
    """Size and kind of the table; raises `InputError` for what cannot be built."""

    requesters: int = 4
    """Updates that can be in the unit at once."""

    banks: int = 4
    """Banks of the table, a power of two."""

    slots: int = 64
    """Slots of the table, a power of two."""

    key_bits: int = 32
    """Bits of a key."""

    kind: Literal["int32", "fp32"] = "int32"
    """Values: int32 wraps around, fp32 rounds to nearest even."""

    hash_kind: HashKind = "multiplicative"
    """First slot of a key."""

    add_cycles: int = 2
    """Latency of the fp32 adder; int32 adds in the cycle of the answer."""

    def __post_init__(self) -> None:
        for name, size in (("banks", self.banks), ("slots", self.slots)):
            if size < 2 or size & (size - 1):
                raise InputError(f"{name} must be a power of two from 2 on, not {size}")
        if self.slots < self.banks:
            raise InputError(
                f"slots must be at least as many as the {self.banks} banks, not {self.slots}"
            )
        if self.requesters < 1:
            raise InputError(f"requesters must be a positive whole number, not {self.requesters}")
        if self.kind not in ("int32", "fp32"):
            raise InputError(f"kind must be int32 or fp32, not {self.kind!r}")
        if self.add_cycles < 0:
            raise InputError(f"add_cycles must not be negative, not {self.add_cycles}")
        _ = self.hashing  # refuses bits of a key and kinds of a hash that there are not

    @property
    def hashing(self) -> SlotHash:
        """The hash of the unit."""
        bits = self.slots.bit_length() - 1
        return SlotHash(kind=self.hash_kind, slot_bits=bits, key_bits=self.key_bits)
