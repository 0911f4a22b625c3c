"""Parameters of the PIUMA-like core that SMASH runs on, each with how sure its value is.

*verified*: read in a source at hand. *recalled*: known from memory of the thesis or of papers on
PIUMA, not checked. *assumed*: no source; a plain choice, stated before any result was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dataflow.hashing import HashKind
from simulator.configuration import check_choices, check_positive
from simulator.sparse_products import check_seed
from workloads.errors import InputError

VERSIONS = ("v1", "v2", "v3")
HashChoice = Literal["version", "high", "low", "multiplicative"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One PIUMA block running one or more versions of the SMASH kernel."""

    version: str = "v3"
    """Versions to run, one row each: v1 atomic hashing, v2 tokenization, v3 fragmenting memory; a
    list such as v1,v2,v3 runs several."""

    clock_hz: float = 1e9
    """Clock in Hz. Recalled (1 GHz class)."""

    pipelines: int = 4
    """Single-issue, in-order, multi-threaded pipelines. Recalled; 66 threads a core is verified,
    of which 2 belong to single-threaded pipelines that only set up the work."""

    threads_per_pipeline: int = 16
    """Threads of a pipeline, each with at most one instruction in flight. Recalled."""

    scratchpad_bytes: int = 4 << 20
    """Bytes of the scratchpad. Verified (4 MB SRAM a core)."""

    scratchpad_banks: int = 32
    """Banks, interleaved by table slot. Assumed."""

    scratchpad_latency_cycles: int = 10
    """Cycles from a thread to the scratchpad and back. Assumed."""

    atomic_bank_cycles: int = 2
    """Cycles that an atomic operation occupies its bank: a read and a write. Assumed; equal to the
    hash-accumulate unit of rtl/."""

    dram_latency_cycles: int = 100
    """Cycles of an unloaded DRAM access. Assumed (100 ns)."""

    dram_bytes_per_cycle: int = 8
    """Bandwidth of the block's own memory controller. Assumed: one native 8-byte access a cycle."""

    access_bytes: int = 64
    """Bytes of a DRAM access of the streams of A and B: 64 through the L1 line or 8 native. Both
    sizes recalled; the choice is assumed. Pointers and write-back always use 8."""

    instruction_latency_cycles: int = 4
    """Cycles between two instructions of one thread. Assumed."""

    hash_kind: HashChoice = "version"
    """high, low or multiplicative bits; version: high for v1, low for v2 and v3. Recalled."""

    fill_limit: float = 0.5
    """Share of the table's slots that the bound of a window may fill. Assumed."""

    token_products: int = 256
    """Partial products that one token of v2 and v3 covers, at least one row of B. Assumed."""

    product_instructions: int = 9
    """Instructions of a partial product besides probes: two loads, multiply, two for the tag, two
    for the hash, increment, branch. Counted from that loop."""

    probe_instructions: int = 3
    """Instructions of a probe: compare-and-swap and two branches; the later ones also step the
    slot, which `product_instructions` holds once. Counted."""

    entry_instructions: int = 8
    """Instructions for an entry of A: two loads, two pointer loads, key base, loop. Counted."""

    write_back_instructions: int = 8
    """Instructions of v1 and v2 for a valid entry: load, row counter, two addresses, two stores,
    clear, count. Counted."""

    scan_instructions: int = 3
    """Instructions of v1 and v2 for each slot scanned: load, branch, increment. Counted."""

    sort_instructions: int = 4
    """Further instructions of v1 for an entry: one step of its insertion sort. Assumed."""

    sampling_seed: int = 0
    """Seed for operands of workloads that state densities instead of matrices."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "clock_hz",
            "pipelines",
            "threads_per_pipeline",
            "scratchpad_bytes",
            "scratchpad_banks",
            "scratchpad_latency_cycles",
            "atomic_bank_cycles",
            "dram_latency_cycles",
            "dram_bytes_per_cycle",
            "instruction_latency_cycles",
            "token_products",
            "product_instructions",
            "probe_instructions",
            "entry_instructions",
            "write_back_instructions",
            "scan_instructions",
            "fill_limit",
        )
        check_seed(self.sampling_seed)
        check_choices(self)
        self._check_versions_and_sizes()

    def _check_versions_and_sizes(self) -> None:
        wrong = [name for name in self.versions if name not in VERSIONS]
        if wrong or len(set(self.versions)) < len(self.versions):
            raise InputError(f"version must list v1, v2 or v3, each once, not {self.version!r}")
        if self.access_bytes not in (8, 16, 32, 64):
            raise InputError(f"access_bytes must be 8, 16, 32 or 64, not {self.access_bytes}")
        if self.scratchpad_banks & (self.scratchpad_banks - 1):
            raise InputError(
                f"scratchpad_banks must be a power of two, not {self.scratchpad_banks}"
            )
        if not 0 < self.fill_limit <= 1:
            raise InputError(f"fill_limit must be above 0 and at most 1, not {self.fill_limit}")
        if self.threads > 4096:
            raise InputError(f"threads must be at most 4096 in all, not {self.threads}")
        if not isinstance(self.sort_instructions, int) or self.sort_instructions < 0:
            raise InputError(
                f"sort_instructions must be a whole number from 0 on, not {self.sort_instructions}"
            )
        for version in self.versions:
            if self.table(version) < 1:
                raise InputError(
                    f"scratchpad_bytes must hold at least one table slot of "
                    f"{self.slot_bytes(version)} bytes for {version}, not {self.scratchpad_bytes}"
                )

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that run, in the order given."""
        return tuple(part.strip() for part in self.version.split(","))

    @property
    def threads(self) -> int:
        """Threads that hash."""
        return self.pipelines * self.threads_per_pipeline

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiplies per cycle: one instruction per pipeline."""
        return self.pipelines

    def slot_bytes(self, version: str) -> int:
        """Scratchpad bytes for each slot, rounded up.

        v1 and v2 keep an 8-byte tag and an 8-byte value side by side. v3 keeps tag and 4-byte
        offset, and two halves (one is streamed out) of dense 4-byte keys and 8-byte values for
        the share of the slots that may fill.
        """
        if version != "v3":
            return 16
        return 12 + math.ceil(2 * 12 * self.fill_limit)

    def table(self, version: str) -> int:
        """Slots of the hash table: the largest power of two that fits; 0 if none does."""
        fits = self.scratchpad_bytes // self.slot_bytes(version)
        return 1 << (fits.bit_length() - 1) if fits else 0

    def capacity(self, version: str) -> int:
        """Entries that a window may hold."""
        return max(1, int(self.table(version) * self.fill_limit))

    def hash_of(self, version: str) -> HashKind:
        """The hash that a version uses."""
        if self.hash_kind != "version":
            return self.hash_kind
        return "high" if version == "v1" else "low"
