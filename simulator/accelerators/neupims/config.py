"""Configuration of the NPU with PIM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataflow.dram_timing import HBM2, DramTiming
from simulator.configuration import check_positive
from workloads.errors import InputError
from workloads.llm import Decoder, find

System = Literal["npu-only", "npu-pim", "neupims"]
Preset = Literal["published-simulator"]
SubBatch = Literal["off", "on", "auto"]

SUB_BATCHES_FROM = 256
"""Requests from which on two sub-batches pay off (NeuPIMs, ablation; the simulator's README)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One device: an NPU and 32 channels of HBM whose banks multiply, and the shard it works on."""

    preset: Preset = "published-simulator"
    """Whose behaviour: that of the authors' simulator, with its artefacts."""

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
    """One PIM instruction a clock from the core: auto is on for npu-pim as published."""

    channels: int = 32
    """Memory channels of the device (section 6: 32 of 1 GB)."""

    clock_hz: float = 1e9
    """Clock of core and DRAM commands (published simulator)."""

    def __post_init__(self) -> None:
        check_positive(self, "tensor_parallel", "pipeline_parallel", "channels", "clock_hz")
        if self.channels & (self.channels - 1):
            raise InputError(f"channels must be a power of two, not {self.channels}")
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

    @property
    def decoder(self) -> Decoder:
        """The model's shape."""
        return find(self.model)

    @property
    def timing(self) -> DramTiming:
        """Timing of a channel."""
        return HBM2

    @property
    def dual(self) -> bool:
        """Whether each bank has a second row buffer."""
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
