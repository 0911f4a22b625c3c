"""Configuration of the NPU with PIM."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Literal

from dataflow.dram_timing import MEMORIES, DramTiming
from simulator.configuration import check_choices, check_positive
from workloads.errors import InputError
from workloads.llm import Decoder, find

System = Literal["npu-only", "npu-pim", "neupims"]
Preset = Literal["paper", "published-simulator"]
Memory = Literal["hbm2", "hbm3", "ddr4", "ddr5"]
SubBatch = Literal["off", "on", "auto"]

SUB_BATCHES_FROM = 256
"""Requests from which on two sub-batches pay off (NeuPIMs, ablation; the simulator's README)."""

MOST_CHANNELS = 4096
"""Channels of a device, at most: batches are laid out channel by channel."""

TILE_BYTES = 128 * 128 * 2
"""A tile of fp16 weights of one systolic array: each half of a scratchpad holds at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One device: an NPU and channels of memory whose banks multiply, and the shard it works on."""

    preset: Preset = "paper"
    """Whose behaviour: what the paper describes, by closed form; or the authors' simulator with its
    artefacts, clock by clock."""

    system: System = "neupims"
    """npu-only; npu-pim: one row buffer a bank, NPU and PIM in turn; neupims: two, side by side."""

    model: str = "gpt3-7b"
    """Decoder by name."""

    tensor_parallel: int = 4
    """Devices among which heads and feed-forward columns are divided; one of them is simulated."""

    pipeline_parallel: int = 1
    """Groups of devices among which the layers are divided; each has its share of the batch."""

    sub_batch: SubBatch = "auto"
    """Two interleaved sub-batches: off, on, or auto (neupims: from 256 requests on)."""

    refresh: bool = True
    """Whether the DRAM is refreshed."""

    dispatch_limit: Literal["auto", "on", "off"] = "auto"
    """One PIM instruction a clock from the core, as the published simulator does: auto is on for
    npu-pim; preset published-simulator."""

    channels: int = 32
    """Memory channels of the device (section 6: 32 of 1 GB)."""

    memory: Memory = "hbm2"
    """DRAM of a channel (published simulator: HBM2 at 1 GHz): its clocks are those of `clock_hz`,
    its currents always those of HBM2."""

    banks_per_group: int = 0
    """Banks in a bank group, a power of two; 0 for as many as the memory has."""

    scratchpad_bytes: int = 1 << 20
    """Each of the operands' and the accumulators' scratchpads, two halves in turn; preset paper
    (the published simulator's file says 1024 KB, and its loader makes 131 MiB of it)."""

    weights: str = "dense"
    """How products hold their weights: dense (16 bits), N:M such as 2:4 (values and positions), or
    qBgG such as q4g128 (B bits, and a scale of 16 bits for every G weights); preset paper."""

    link_bytes_per_s: float = 0.0
    """Bandwidth of the ring between tensor-parallel devices; 0 leaves their all-reduces out, as the
    published simulator does; preset paper."""

    output_layer: bool = False
    """Whether the product with the vocabulary follows the last layer; preset paper."""

    clock_hz: float = 1e9
    """Clock of core and DRAM commands (published simulator)."""

    def __post_init__(self) -> None:
        check_positive(
            self, "tensor_parallel", "pipeline_parallel", "channels", "clock_hz", "scratchpad_bytes"
        )
        if self.scratchpad_bytes < 2 * TILE_BYTES:
            raise InputError(
                f"scratchpad_bytes must hold two tiles of weights, {2 * TILE_BYTES} bytes, "
                f"not {self.scratchpad_bytes}"
            )
        check_choices(self)
        weight_bits(self.weights)
        if not 0 <= self.link_bytes_per_s < float("inf"):
            raise InputError(f"link_bytes_per_s must be at least 0, not {self.link_bytes_per_s}")
        if self.link_bytes_per_s:
            check_positive(self, "link_bytes_per_s")
        if self.preset == "published-simulator":
            self._check_published()
        elif self.dispatch_limit == "on":
            raise InputError(
                "dispatch_limit must be auto or off with preset paper, whose core hands over PIM "
                "instructions as fast as they issue, not on"
            )
        banks = self.banks_per_group
        if not isinstance(banks, int) or banks < 0 or banks & (banks - 1):
            raise InputError(f"banks_per_group must be a power of two, or 0, not {banks}")
        if self.channels & (self.channels - 1):
            raise InputError(f"channels must be a power of two, not {self.channels}")
        if self.channels > MOST_CHANNELS:
            raise InputError(f"channels must be at most {MOST_CHANNELS}, not {self.channels}")
        self.decoder.check_shards(self.tensor_parallel)
        if self.decoder.layers % self.pipeline_parallel:
            raise InputError(
                f"pipeline_parallel must divide the {self.decoder.layers} layers of {self.model}, "
                f"not {self.pipeline_parallel}"
            )
        if self.sub_batch == "on" and self.system != "neupims":
            raise InputError(
                f"sub_batch must be off for system {self.system}: only neupims runs NPU and PIM "
                "side by side"
            )

    def _check_published(self) -> None:
        """Raise `InputError` for what the published simulator knows nothing of."""
        fixed = {
            "memory": "hbm2",
            "banks_per_group": 0,
            "weights": "dense",
            "link_bytes_per_s": 0,
            "output_layer": False,
        }
        for name, value in fixed.items():
            if getattr(self, name) != value:
                raise InputError(
                    f"{name} must be {value} with preset published-simulator, whose simulator "
                    f"knows nothing else, not {getattr(self, name)}"
                )

    @property
    def decoder(self) -> Decoder:
        """The model's shape."""
        return find(self.model)

    @property
    def timing(self) -> DramTiming:
        """Timing of a channel, at the clock of this device."""
        return _timing(self.memory, self.banks_per_group, self.clock_hz)

    def weight_bytes(self, depth: int, columns: int) -> int:
        """Return the bytes of a product's weights."""
        return math.ceil(depth * columns * weight_bits(self.weights) / 8)

    @property
    def dual(self) -> bool:
        """Whether the controller knows a second row buffer in each bank (npu-only: never used)."""
        return self.system != "npu-pim"

    @property
    def limits_dispatch(self) -> bool:
        """Whether the core hands over one PIM instruction a clock."""
        if self.dispatch_limit != "auto":
            return self.dispatch_limit == "on"
        return self.system == "npu-pim" and self.preset == "published-simulator"

    def splits(self, requests: int) -> bool:
        """Whether a batch of this size runs as two sub-batches."""
        if self.sub_batch == "auto":
            return self.system == "neupims" and requests >= SUB_BATCHES_FROM
        return self.sub_batch == "on"


@cache
def _timing(memory: Memory, banks_per_group: int, clock_hz: float) -> DramTiming:
    timing = replace(MEMORIES[memory], clock_hz=clock_hz)
    return replace(timing, banks=banks_per_group) if banks_per_group else timing


@cache
def weight_bits(weights: str) -> Fraction:
    """Return the bits that one weight takes in memory, zeros of N:M left out.

    >>> weight_bits("2:4"), weight_bits("q4g128")   # half of 16 + 2 bits; 4 + 16 / 128
    (Fraction(9, 1), Fraction(33, 8))
    """
    if weights == "dense":
        return Fraction(16)
    if found := re.fullmatch(r"([0-9]+):([0-9]+)", weights):
        n, m = int(found[1]), int(found[2])
        if 0 < n <= m:
            return Fraction(n, m) * (16 + (m - 1).bit_length())
    if found := re.fullmatch(r"q([0-9]+)g([0-9]+)", weights):
        bits, group = int(found[1]), int(found[2])
        if 0 < bits <= 16 and group > 0:
            return bits + Fraction(16, group)
    raise InputError(
        f"weights must be dense, N:M such as 2:4, or qBgG such as q4g128, not {weights!r}"
    )
