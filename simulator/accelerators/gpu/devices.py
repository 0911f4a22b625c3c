"""The GPUs of the presets as a table, each number with where it comes from.

"Verified" was seen in the source named or in a page that quotes it, "derived" follows from verified
numbers, "recalled" and "assumed" were not checked.

- SMs: A100 and H100 verified (data sheets of the SXM modules), RTX recalled (GA102 and TU102 white
  papers).
- Boost clock: A100 verified; H100 with the tensor cores at work, as the 989.4 TFLOP/s of the data
  sheet imply; H200 has the same chip; RTX recalled. Under load a card may run more slowly, down to
  its base clock.
- MACs of one SM and clock: fp16 with fp32 sums derived from the peaks 312 (verified), 989.4
  (verified), 71 and 53.8 TFLOP/s (recalled). Other types follow from the ratios of the peaks:
  verified for the A100 (TF32 156, INT8 624, INT4 1248, INT1 4992, FP64 19.5) and the H100 (TF32
  494.7, INT8 and FP8 1978.9, FP64 66.9), recalled for RTX. A type that the tensor cores lack runs
  at the rate of the next wider type that they have; fp32 is multiplied as TF32, on Turing by the
  plain lanes.
- fp32 lanes of an SM: A100 verified (white paper), the others recalled.
- L2: verified for A100 and H100, H200 as H100, RTX recalled. Bytes a clock: A100 7219 GB/s at its
  clock, H100 8986 GB/s at 1755 MHz, verified (Ultrasonics Sonochemistry 99, 2023, 106546, table 3);
  RTX 32 bytes for each of 48 and 44 slices, assumed.
- Memory: A100, H100 and H200 verified (data sheets), RTX recalled.
- Link: NVLink, one direction; A100 and H100 verified (600 and 900 GB/s both ways); RTX the bridge,
  recalled.

Sparse tensor cores (Ampere, Hopper) double the rates of fp16, bf16, fp8 and int8 at 2:4; for TF32
and INT4 their patterns are others (1:2, pairs), which count as dense here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Device = Literal["a100-40gb", "a100-80gb", "h100", "h200", "rtx3090", "rtx2080ti"]

SPARSE_DTYPES = ("fp16", "bf16", "fp8", "int8")
"""Types whose 2:4 operands the sparse tensor cores multiply at twice the rate."""

_WIDER = {
    "int1": "int2",
    "int2": "int4",
    "bool": "int8",
    "int4": "int8",
    "fp8": "fp16",
    "int8": "fp16",
    "bf16": "fp16",
    "int16": "fp32",
    "int32": "fp32",
    "int64": "fp64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """What a GPU is made of. `rates` maps a data type to MACs of one SM and clock."""

    sms: int
    clock_hz: float
    rates: dict[str, int]
    lanes: int
    l2_bytes: int
    l2_bytes_per_cycle: int
    dram_bytes_per_s: float
    memory_bytes: int
    link_bytes_per_s: float
    sparse: bool

    def rate(self, dtype: str) -> int:
        """Return the dense MACs of one SM and clock; of the next wider type if there is none.

        >>> DEVICES["a100-40gb"].rate("fp8") == DEVICES["a100-40gb"].rate("fp16") == 1024
        True
        """
        while dtype not in self.rates:
            dtype = _WIDER[dtype]
        return self.rates[dtype]

    def speedup(self, dtype: str) -> int:
        """Return how much faster a 2:4 operand of this type is multiplied than a dense one."""
        return 2 if self.sparse and dtype in SPARSE_DTYPES else 1


_GA100 = {"fp64": 64, "fp32": 512, "fp16": 1024, "int8": 2048, "int4": 4096, "int1": 16384}
_GH100 = {"fp64": 128, "fp32": 1024, "fp16": 2048, "fp8": 4096, "int8": 4096}
_GA102 = {"fp64": 2, "fp32": 128, "fp16": 256, "int8": 1024, "int4": 2048, "int1": 8192}
_TU102 = {"fp64": 2, "fp32": 64, "fp16": 256, "int8": 1024, "int4": 2048, "int1": 8192}


def _chip(
    sms: int,
    mhz: float,
    rates: dict[str, int],
    lanes: int,
    l2_mib: float,
    l2_bytes_per_cycle: int,
    memory_gb_per_s: float,
    memory_gb: int,
    link_gb_per_s: float,
) -> Chip:
    return Chip(
        sms=sms,
        clock_hz=mhz * 1e6,
        rates=rates,
        lanes=lanes,
        l2_bytes=int(l2_mib * (1 << 20)),
        l2_bytes_per_cycle=l2_bytes_per_cycle,
        dram_bytes_per_s=memory_gb_per_s * 1e9,
        memory_bytes=memory_gb * 10**9,
        link_bytes_per_s=link_gb_per_s * 1e9,
        sparse=rates is not _TU102,
    )


# fmt: off
DEVICES = {
    #                  SMs  MHz   rates   lanes  L2 MiB  B/clock  GB/s  GB   link GB/s
    "a100-40gb": _chip(108, 1410, _GA100, 64,    40,     5120,    1555, 40,  300),
    "a100-80gb": _chip(108, 1410, _GA100, 64,    40,     5120,    2039, 80,  300),
    "h100":      _chip(132, 1830, _GH100, 128,   50,     5120,    3350, 80,  450),
    "h200":      _chip(132, 1830, _GH100, 128,   50,     5120,    4800, 141, 450),
    "rtx3090":   _chip(82,  1695, _GA102, 128,   6,      1536,    936,  24,  56.25),
    "rtx2080ti": _chip(68,  1545, _TU102, 64,    5.5,    1408,    616,  11,  50),
}
# fmt: on
assert tuple(DEVICES) == get_args(Device)
