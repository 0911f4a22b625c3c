"""A GPU's published peaks, and published times of dense and 2:4 products beside ours.

A row names a device, a measure, and a size:

==========  =================  ===================================================================
measure     size               ours
==========  =================  ===================================================================
peak        data type          TFLOP/s of all SMs at the boost clock; with 2:4 of what is skipped
rate        m,k,n              TFLOP/s of a dense product
time        m,k,n              us of a product
linear      rows,in,out        us of the forward and backward products of a layer
block       rows,in,hidden     us of those of two layers around a GELU, hidden wide and back
clone       m,n                us to copy a matrix
selection   m,n                us to choose 2:4 of a matrix along both axes
==========  =================  ===================================================================

`pattern` is that of the weights. With `speedup` ours is dense time over sparse time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from simulator import published
from simulator.accelerators import gpu
from workloads.lowering import lower_linear
from workloads.methods import parse_method
from workloads.operations import Operation, Pass, Selection, VectorOp, Workload, gemm
from workloads.patterns import NM, parse_pattern
from workloads.vector_work import FP16_BYTES, vector_work

TERA, MICRO = 1e12, 1e-6


def tensor_cores() -> dict[str, float]:
    """Return peaks, rates and times of products, and of what goes with them, for each row."""
    return {row.quantity: _ours(row.inputs) for row in published.read("gpu/tensor-cores")}


def _ours(inputs: dict[str, str]) -> float:
    device, size, pattern = inputs["device"], inputs["size"], inputs["pattern"]
    if inputs["measure"] == "peak":
        return _peak(device, size, sparse=pattern != "dense")
    sizes = tuple(int(text) for text in size.split(","))
    if inputs["measure"] == "rate":
        m, k, n = sizes
        return 2 * m * k * n / _seconds(device, gemm(m, k, n)) / TERA
    make = _MEASURES[inputs["measure"]]
    sparse = _seconds(device, make(sizes, pattern))
    if inputs["speedup"]:
        return _seconds(device, make(sizes, "dense")) / sparse
    return sparse / MICRO


def _peak(device: str, dtype: str, *, sparse: bool) -> float:
    chip = _config(device).chip
    speedup = chip.speedup(dtype) if sparse else 1
    return 2 * chip.sms * chip.rate(dtype) * speedup * chip.clock_hz / TERA


def _config(device: str) -> gpu.Config:
    return gpu.Config(device=cast(gpu.Device, device))


def _seconds(device: str, workload: Workload) -> float:
    config = _config(device)
    return gpu.simulate(config, gpu.schedule(config, workload)).seconds


def _product(sizes: tuple[int, ...], pattern: str) -> Workload:
    m, k, n = sizes
    return gemm(m, k, n, pattern=parse_pattern(pattern))


def _linear(sizes: tuple[int, ...], pattern: str) -> Workload:
    rows, inputs, outputs = sizes
    return _trained("linear", pattern, [("fc", inputs, outputs)], rows)


def _block(sizes: tuple[int, ...], pattern: str) -> Workload:
    rows, width, hidden = sizes
    return _trained("block", pattern, [("fc1", width, hidden), ("fc2", hidden, width)], rows)


def _trained(name: str, pattern: str, layers: list[tuple[str, int, int]], rows: int) -> Workload:
    """Return forward and backward of linear layers with a GELU between; one mask for both."""
    operations: list[Operation] = []
    for pass_ in (Pass.FF, Pass.BP, Pass.WU):
        for at, (layer, inputs, outputs) in enumerate(layers):
            operations += lower_linear(layer, rows, inputs, outputs, pass_)
            if at == 0 and len(layers) > 1:
                operations += vector_work("gelu", "gelu", pass_, rows * outputs)
    dense = Workload(name=name, operations=tuple(operations))
    if pattern == "dense":
        return dense
    return parse_method(f"transposable:{pattern}")(dense)


def _clone(sizes: tuple[int, ...], pattern: str) -> Workload:
    m, n = sizes
    moved = FP16_BYTES * m * n
    copy = VectorOp(
        name="clone",
        layer="clone",
        pass_=Pass.FF,
        kind="copy",
        elements=m * n,
        read_bytes=moved,
        write_bytes=moved,
    )
    return Workload(name="clone", operations=(copy,))


def _selection(sizes: tuple[int, ...], pattern: str) -> Workload:
    """Return the work of one kernel that writes two compact copies: a selection and a copy."""
    m, n = sizes
    chosen = Selection(
        name="selection", layer="w", pass_=Pass.UP, tensor="W", elements=m * n, pattern=NM(2, 4)
    )
    copy = VectorOp(
        name="transposed copy",
        layer="w",
        pass_=Pass.UP,
        kind="copy",
        elements=m * n,
        write_bytes=NM(2, 4).stored_bits(elements=m * n, value_bits=16) // 8,
        fused=True,
    )
    return Workload(name="selection", operations=(chosen, copy))


_MEASURES: dict[str, Callable[[tuple[int, ...], str], Workload]] = {
    "time": _product,
    "linear": _linear,
    "block": _block,
    "clone": _clone,
    "selection": _selection,
}
