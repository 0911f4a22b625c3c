"""Published numbers of sparsity methods, each from a preset and a network by one measure.

A row names a preset (or any method text), a network with batch and tokens, and a measure:

=================  =============================================================================
training           dense over kept multiply-accumulates of a training run, its schedule integrated
forward            the same for one forward pass
layer              the same for the training step of one inner layer, whose passes are equal
layer-forward      the same for the forward pass of that layer
attention          the same for the attention products of a forward pass
compression        bits of fp32 weights over bits of the compact weights, indices included
bits-per-weight    bits of the compact weights over their number
weight-traffic     compact weight bytes of the method in `against` over those of the preset
bit-operations     fp32 bit operations over those of the preset, of a forward pass
kept-flops         kept over dense multiply-accumulates of a forward pass
density            mean density over the run
growth             exponent with which attention products grow from n to 4 n tokens
iso                dense over kept multiply-accumulates of the feed-forward layers, forward
layer-share        kept over dense multiply-accumulates of an inner layer over a run
square             kept over dense multiply-accumulates of a square layer of `network` features
weighted           what the abstract's shares of two parts amount to together
pipeline           time one after the other over that of as many overlapped resources as `against`
cost               training MACs of a dense decoder (`against`: depth x width) over those of preset
=================  =============================================================================

Where `relation` is >=, the published number is a measured speed-up, and ours the ideal one that no
implementation can exceed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from simulator import published
from simulator.collectives import pipelined_seconds
from workloads import networks
from workloads.methods import parse_method, presets
from workloads.methods.accounting import (
    bit_operations,
    kept_weights,
    weight_bytes,
    weight_operands,
)
from workloads.methods.rewriting import feed_forward
from workloads.operations import DTYPE_BITS, MatMul, Operand, Pass, Workload, gemm

Inputs = dict[str, str]


def checkable() -> dict[str, float]:
    """Return ours for every number of a published method that a workload can be held against."""
    return _computed("methods/checkable")


def systems() -> dict[str, float]:
    """Return ours for published numbers of training systems and of benchmarks."""
    return _computed("methods/systems")


def coverage() -> list[dict[str, str]]:
    """Return every published method and system with its number, and how it is checked or why not.

    `checks` names the rows of `sparsight reproduce methods` that hold it, or further exhibits.
    """
    rows = [*published.read("methods/checkable"), *published.read("methods/systems")]
    table = published.FOLDER / "methods" / "systems.csv"
    known = [
        *csv.DictReader(table.read_text("utf-8").splitlines()),
        *(preset._asdict() for preset in presets.presets().values()),
    ]
    return [
        {
            "name": each["name"],
            "title": each["title"],
            "published": each["published"],
            "checks": each.get("checks")
            or "; ".join(r.quantity for r in rows if r.quantity.partition(":")[0] == each["name"]),
            "unchecked": each["unchecked"],
        }
        for each in known
    ]


def derived() -> dict[str, float]:
    """Return ours for numbers derived by hand from published shapes and ratios."""
    return _computed("methods/derived")


def _computed(exhibit: str) -> dict[str, float]:
    return {
        row.quantity: _MEASURES[row.inputs["measure"]](row.inputs)
        for row in published.read(exhibit)
    }


@cache
def _step(network: str, tokens: str) -> Workload:
    return networks.find(network, batch=1, tokens=int(tokens) if tokens else None).training_step()


def _workload(inputs: Inputs) -> Workload:
    return _step(inputs["network"], inputs["tokens"])


def _forward(inputs: Inputs, text: str = "") -> tuple[Workload, Workload]:
    """Return the forward pass, dense and as the preset (or `text`) leaves it."""
    step = _workload(inputs)
    method = parse_method(text or inputs["preset"])
    return step.only(Pass.FF), method(step).only(Pass.FF)


def _training(inputs: Inputs) -> float:
    return 1 / parse_method(inputs["preset"]).average_flop_ratio(_workload(inputs))


def _forward_ratio(inputs: Inputs) -> float:
    dense, sparse = _forward(inputs)
    return dense.macs / sparse.kept_macs


def _layer(inputs: Inputs) -> float:
    return 1 / parse_method(inputs["preset"]).average_flop_ratio(_inner_layer(inputs))


def _layer_forward(inputs: Inputs) -> float:
    step = _inner_layer(inputs)
    sparse = parse_method(inputs["preset"])(step).only(Pass.FF)
    return step.only(Pass.FF).macs / sparse.kept_macs


def _inner_layer(inputs: Inputs) -> Workload:
    """Return the training step of the first inner layer with passes of equal size."""
    step = _workload(inputs)
    inner = next(op for op in step.matmuls if op.position == "inner" and op.kind != "attention")
    return replace(step, operations=tuple(op for op in step if op.layer == inner.layer))


def _attention(inputs: Inputs) -> float:
    return 1 / (_maps(inputs, "kept_macs") / _maps(inputs | {"preset": "dense"}, "macs"))


def _maps(inputs: Inputs, count: str) -> int:
    _, forward = _forward(inputs)
    return sum(int(getattr(op, count)) for op in forward.matmuls if op.kind == "attention")


def _growth(inputs: Inputs) -> float:
    short, long = inputs, inputs | {"tokens": str(4 * int(inputs["tokens"]))}
    return math.log(_maps(long, "kept_macs") / _maps(short, "kept_macs"), 4)


def _pruned(inputs: Inputs) -> Workload:
    """Return the sparse forward pass without the layers that stay dense."""
    _, forward = _forward(inputs)
    kept = tuple(op for op in forward.matmuls if op.position == "inner" and op.kind != "attention")
    return replace(forward, operations=kept)


def _compression(inputs: Inputs) -> float:
    weights = list(weight_operands(_pruned(inputs)))
    bits = sum(_bits(operand) for operand in weights)
    return DTYPE_BITS["fp32"] * sum(operand.elements for operand in weights) / bits


def _bits(operand: Operand) -> int:
    return operand.pattern.stored_bits(elements=operand.elements, value_bits=operand.value_bits)


def _bits_per_weight(inputs: Inputs) -> float:
    return DTYPE_BITS["fp32"] / _compression(inputs)


def _weight_traffic(inputs: Inputs) -> float:
    against = _pruned(inputs | {"preset": inputs["against"]})
    return weight_bytes(against) / weight_bytes(_pruned(inputs))


def _bit_operations(inputs: Inputs) -> float:
    dense, sparse = _forward(inputs)
    return bit_operations(_in_fp32(dense)) / bit_operations(sparse)


def _in_fp32(workload: Workload) -> Workload:
    def wide(op: MatMul) -> MatMul:
        left, right = (replace(operand, dtype="fp32") for operand in (op.left, op.right))
        return replace(op, left=left, right=right)

    return replace(workload, operations=tuple(wide(op) for op in workload.matmuls))


def _kept_flops(inputs: Inputs) -> float:
    dense, sparse = _forward(inputs)
    return sparse.kept_macs / dense.macs


def _density(inputs: Inputs) -> float:
    """Average over the run of the kept share of the inner weights."""
    layer, method = _inner_layer(inputs), parse_method(inputs["preset"])
    return sum(
        (stage.end - stage.start) * kept_weights(method(layer, stage.start)) / kept_weights(layer)
        for stage in method.stages
    )


def _iso(inputs: Inputs) -> float:
    dense, sparse = _forward(inputs)
    layers = feed_forward(dense)
    kept = sum(op.kept_macs for op in sparse.matmuls if op.layer in layers)
    return sum(op.macs for op in dense.matmuls if op.layer in layers) / kept


def _square(inputs: Inputs) -> float:
    side = int(inputs["network"])
    layer = gemm(side, side, side)
    return parse_method(inputs["preset"]).flop_ratio(layer)


def _weighted(inputs: Inputs) -> float:
    """Stable Diffusion 2: text encoder of 340 M parameters, U-Net of 866 M (recalled)."""
    text_encoder, unet = 340e6, 866e6
    return (0.475 * text_encoder + 0.35 * unet) / (text_encoder + unet)


def _pipeline(inputs: Inputs) -> float:
    """Equally long stages in a million pieces, over the same one after the other."""
    stages = [1.0] * int(inputs["against"])
    return sum(stages) / pipelined_seconds(stages, 10**6)


def _cost(inputs: Inputs) -> float:
    depth, width = map(int, inputs["against"].split("x"))
    tokens, step = int(inputs["tokens"]), _workload(inputs)
    dense = 3 * tokens * decoder_macs(depth, width, tokens)
    return dense / parse_method(inputs["preset"])(step).kept_macs


def decoder_macs(depth: int, width: int, tokens: int) -> int:
    """Return the multiply-accumulates of one token in a GPT: blocks, whole attention, logits."""
    vocabulary = 50257
    return depth * (12 * width**2 + 2 * tokens * width) + vocabulary * width


_MEASURES: dict[str, Callable[[Inputs], float]] = {
    "training": _training,
    "forward": _forward_ratio,
    "layer": _layer,
    "layer-forward": _layer_forward,
    "attention": _attention,
    "compression": _compression,
    "bits-per-weight": _bits_per_weight,
    "weight-traffic": _weight_traffic,
    "bit-operations": _bit_operations,
    "kept-flops": _kept_flops,
    "density": _density,
    "growth": _growth,
    "iso": _iso,
    "layer-share": lambda inputs: 1 / _layer(inputs),
    "square": _square,
    "weighted": _weighted,
    "pipeline": _pipeline,
    "cost": _cost,
}
