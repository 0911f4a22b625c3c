"""The GPUs of the presets as a table, each number with where it comes from.

"Verified" was seen in the source named, "derived" follows from verified numbers, "recalled" and
"assumed" were not checked.

=================  ===========  ===========  ==========  ==========  =========  ===========  =====
device             a100-40gb    a100-80gb    h100        h200        rtx3090    rtx2080ti
=================  ===========  ===========  ==========  ==========  =========  ===========  =====
sms                108          108          132         132         82         68           [1]
clock, MHz         1410         1410         1830        1830        1695       1545         [2]
fp16 MACs [3]      1024         1024         2048        2048        256        256          [4]
L2, MiB            40           40           50          50          6          5.5          [5]
L2 bytes a clock   5120         5120         5120        5120        1536       1408         [6]
memory, GB/s       1555         2039         3350        4800        936        616          [7]
memory, GB         40           80           80          141         24         11           [8]
link, GB/s         300          300          450         450         56.25      50           [9]
=================  ===========  ===========  ==========  ==========  =========  ===========  =====

[1] A100, H100: verified (data sheets of the SXM modules). RTX: recalled (GA102 and TU102 white
papers). [2] Boost clock. A100: verified. H100: 1830 MHz with the tensor cores at work, as the
989.4 TFLOP/s of the data sheet imply; H200 has the same chip. RTX: recalled. Under load a card may
run more slowly, down to its base clock. [3] Of one SM and clock, sums in fp32. [4] Derived from
the peaks 312 (verified), 989.4 (verified), 71 and 53.8 TFLOP/s (recalled). [5] Verified for A100
and H100; H200 as H100; RTX recalled. [6] A100: 7219 GB/s at its clock, H100: 8986 GB/s at 1755 MHz,
verified (Ultrasonics Sonochemistry 99, 2023, 106546, table 3). RTX: 32 bytes for each of 48 and 44
slices, assumed. [7], [8] A100, H100, H200: verified (data sheets). RTX: recalled. [9] NVLink, one
direction; A100 and H100 verified (600 and 900 GB/s both ways), RTX: the bridge, recalled.

Rates of other data types, MACs of one SM and clock, follow from the ratios of the peaks: verified
for the A100 (TF32 156, INT8 624, INT4 1248, INT1 4992, FP64 19.5), for the H100 (TF32 494.7, INT8
and FP8 1978.9, FP64 66.9), recalled for RTX. A type that the tensor cores lack runs at the rate of
the next wider type that they have; fp32 is multiplied as TF32, on Turing by the plain lanes.
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
    sparse: bool = True

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
MIB = 1 << 20


def _a100(memory_bytes_per_s: float, memory_bytes: int) -> Chip:
    return Chip(
        sms=108,
        clock_hz=1410e6,
        rates=_GA100,
        lanes=64,
        l2_bytes=40 * MIB,
        l2_bytes_per_cycle=5120,
        dram_bytes_per_s=memory_bytes_per_s,
        memory_bytes=memory_bytes,
        link_bytes_per_s=300e9,
    )


def _hopper(memory_bytes_per_s: float, memory_bytes: int) -> Chip:
    return Chip(
        sms=132,
        clock_hz=1830e6,
        rates=_GH100,
        lanes=128,
        l2_bytes=50 * MIB,
        l2_bytes_per_cycle=5120,
        dram_bytes_per_s=memory_bytes_per_s,
        memory_bytes=memory_bytes,
        link_bytes_per_s=450e9,
    )


DEVICES: dict[str, Chip] = {
    "a100-40gb": _a100(1555e9, 40 * 10**9),
    "a100-80gb": _a100(2039e9, 80 * 10**9),
    "h100": _hopper(3350e9, 80 * 10**9),
    "h200": _hopper(4800e9, 141 * 10**9),
    "rtx3090": Chip(
        sms=82,
        clock_hz=1695e6,
        rates=_GA102,
        lanes=128,
        l2_bytes=6 * MIB,
        l2_bytes_per_cycle=1536,
        dram_bytes_per_s=936e9,
        memory_bytes=24 * 10**9,
        link_bytes_per_s=56.25e9,
    ),
    "rtx2080ti": Chip(
        sms=68,
        clock_hz=1545e6,
        rates=_TU102,
        lanes=64,
        l2_bytes=11 * MIB // 2,
        l2_bytes_per_cycle=1408,
        dram_bytes_per_s=616e9,
        memory_bytes=11 * 10**9,
        link_bytes_per_s=50e9,
        sparse=False,
    ),
}
assert tuple(DEVICES) == get_args(Device)
