"""Configuration of the GPU: a device, what differs from it, and how kernels are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from simulator.accelerators.gpu.devices import DEVICES, Chip, Device
from simulator.configuration import SENSIBLE, check_choices, check_positive
from workloads.errors import InputError
from workloads.llm import Decoder, find
from workloads.operations import DTYPE_BITS
from workloads.patterns import Pattern, parse_pattern

OF_THE_DEVICE = (
    "sms",
    "clock_hz",
    "l2_bytes",
    "l2_bytes_per_cycle",
    "dram_bytes_per_s",
    "memory_bytes",
    "link_bytes_per_s",
)
"""Fields that are zero where the device's own number counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One GPU, or one of the tensor-parallel GPUs that decode a language model."""

    device: Device = "a100-80gb"
    """Whose numbers count (`devices` has the table and its sources)."""

    sms: int = 0
    """Streaming multiprocessors; 0: as the device."""

    clock_hz: float = 0.0
    """Clock in Hz; 0: the device's boost clock, which a card under load may not hold."""

    l2_bytes: int = 0
    """Capacity of the L2 cache in bytes; 0: as the device."""

    l2_bytes_per_cycle: int = 0
    """Bytes a clock from L2 to all SMs together; 0: as the device."""

    dram_bytes_per_s: float = 0.0
    """Peak memory bandwidth in bytes/s; 0: as the device."""

    memory_bytes: int = 0
    """Memory capacity in bytes; 0: as the device."""

    link_bytes_per_s: float = 0.0
    """Bandwidth to other GPUs, one direction, in bytes/s; 0: as the device."""

    dram_efficiency: float = 0.9
    """Share of the peak bandwidth that kernels reach; recalled: STREAM-like kernels on HBM."""

    memory_latency_cycles: int = 400
    """Clocks from a load to its data (Ultrasonics Sonochemistry 99, 2023, 106546, table 3)."""

    port_bytes_per_cycle: int = 64
    """Bytes a clock that one SM takes from L2; recalled (white paper of the A100)."""

    launch_ns: float = 1100.0
    """Time from a kernel's end to the next one's start in a CUDA graph: an addition of 1024
    elements takes 1.1 us there (pytorch/pytorch issue 161104), which is an upper bound."""

    nm_support: bool = True
    """Whether 2:4 operands run on the sparse tensor cores, where the device has them."""

    attention: Literal["fused", "unfused"] = "fused"
    """fused: scores stay on chip and caches are paged, as in FlashAttention; unfused: every step is
    a kernel, and caches are padded to the longest request."""

    tile_m: int = 0
    """Rows of a thread block's tile; 0: the fastest of `products.TILES`, as a tuned library."""

    tile_n: int = 0
    """Columns of a thread block's tile; 0: the fastest."""

    model: str = "gpt3-7b"
    """Decoder by name, for batches of requests."""

    tensor_parallel: int = 4
    """GPUs among which heads and feed-forward columns are divided; one of them is simulated."""

    pipeline_parallel: int = 1
    """Groups of GPUs among which the layers are divided; each has its share of the batch."""

    all_reduce: bool = True
    """Whether the two all-reduces of a layer are counted."""

    link_latency_ns: float = 2000.0
    """Time of one step of a collective beside its bytes; assumed."""

    weight_pattern: str = "dense"
    """Pattern of the decoder's weights, such as 2:4."""

    weight_dtype: str = "fp16"
    """Data type in which the decoder's weights are stored, such as int4."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in OF_THE_DEVICE:
            _check_zero_or_sensible(self, name, "the device's own")
        for name in ("tile_m", "tile_n"):
            _check_zero_or_sensible(self, name, "the fastest")
        if bool(self.tile_m) != bool(self.tile_n):
            raise InputError("tile_m and tile_n must be given together, or neither")
        check_positive(
            self,
            "dram_efficiency",
            "memory_latency_cycles",
            "port_bytes_per_cycle",
            "launch_ns",
            "tensor_parallel",
            "pipeline_parallel",
            "link_latency_ns",
        )
        if self.dram_efficiency > 1:
            raise InputError(f"dram_efficiency must be at most 1, not {self.dram_efficiency!r}")
        if self.weight_dtype not in DTYPE_BITS:
            raise InputError(
                f"weight_dtype must be one of {', '.join(DTYPE_BITS)}, not {self.weight_dtype!r}"
            )
        parse_pattern(self.weight_pattern)
        self.decoder.check_shards(self.tensor_parallel)
        if self.decoder.layers % self.pipeline_parallel:
            raise InputError(
                f"pipeline_parallel must divide the {self.decoder.layers} layers of {self.model}, "
                f"not {self.pipeline_parallel}"
            )

    @property
    def chip(self) -> Chip:
        """The device with the fields that were given in place of its own."""
        given = {name: getattr(self, name) for name in OF_THE_DEVICE if getattr(self, name)}
        return replace(DEVICES[self.device], **given)

    @property
    def resolved(self) -> Config:
        """The same with the device's numbers in place of zeros, for reports."""
        chip = self.chip
        return replace(self, **{name: getattr(chip, name) for name in OF_THE_DEVICE})

    @property
    def decoder(self) -> Decoder:
        """The model's shape."""
        return find(self.model)

    @property
    def weights(self) -> Pattern:
        """Pattern of the decoder's weights."""
        return parse_pattern(self.weight_pattern)

    @property
    def launch_cycles(self) -> int:
        """Clocks between two kernels."""
        return round(self.launch_ns * 1e-9 * self.chip.clock_hz)


def _check_zero_or_sensible(config: Config, name: str, zero: str) -> None:
    """Raise `InputError` unless a field is sensible, or 0, which stands for what `zero` names."""
    value = getattr(config, name)
    whole = isinstance(Config.__dataclass_fields__[name].default, int)
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not (value == 0 or SENSIBLE[0] <= value <= SENSIBLE[1]):
        wanted = "a positive whole number" if whole else "a positive number"
        raise InputError(f"{name} must be {wanted}, or 0 for {zero}, not {value!r}")
