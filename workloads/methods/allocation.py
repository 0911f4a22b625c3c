"""Which density each layer gets, so that all layers together keep a given share of their weights.

*uniform*: the same in each. *ERK* (Erdos-Renyi kernel; Evci et al., ICML 2020, arXiv 1911.11134):
in proportion to the sum over the product of the sizes of the weight, layers that would exceed one
are dense and the rest is scaled again. *magnitude*: the share of the weights above one threshold
for all layers; of Gaussians of He's variance 2 / fan-in (He et al., ICCV 2015), since a workload
holds no weights. `magnitude` does the same for weights at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import erfc, prod, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError
from workloads.methods.accounting import settle_updates
from workloads.methods.masking import Policy, Rule, assign_one
from workloads.methods.rewriting import is_inner, with_note
from workloads.operations import MatMul, Operation, Pass, Workload
from workloads.patterns import Unstructured, check_fraction

Sizes = Mapping[str, tuple[int, ...]]
Allocation = Literal["uniform", "erk", "magnitude"]

_FLOOR = 1e-6


def sizes_of_layers(workload: Workload) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the weights of inner layers: outputs, inputs of a group, kernel."""
    found: dict[str, tuple[int, ...]] = {}
    for op in workload.matmuls:
        if is_inner(op) and op.pass_ is Pass.FF and op.layer not in found:
            kernel = op.conv.kernel if op.conv is not None else ()
            found[op.layer] = (op.n * op.batch, op.k_run, *kernel)
    return found


def uniform(sizes: Sizes, density: float) -> dict[str, float]:
    """Give every layer the same density."""
    return dict.fromkeys(sizes, density)


def erk(sizes: Sizes, density: float) -> dict[str, float]:
    """Give a layer a density in proportion to (sum of sizes) / (product of sizes), at most one.

    >>> found = erk({"a": (64, 64, 3, 3), "b": (512, 512, 3, 3)}, 0.1)
    >>> found["a"] > found["b"]
    True
    """
    dense: set[str] = set()
    raw = {layer: sum(size) / prod(size) for layer, size in sizes.items()}
    while True:
        free = density * sum(map(prod, sizes.values())) - sum(prod(sizes[d]) for d in dense)
        scaled = sum(raw[layer] * prod(sizes[layer]) for layer in sizes if layer not in dense)
        epsilon = free / scaled if scaled else 0.0
        over = {x for x in sizes if x not in dense and epsilon * raw[x] > 1}
        if not over:
            return {x: 1.0 if x in dense else max(_FLOOR, epsilon * raw[x]) for x in sizes}
        dense |= over


def magnitude_of_gaussians(sizes: Sizes, density: float) -> dict[str, float]:
    """Keep the largest of Gaussian weights of variance 2 / fan-in, by one threshold for all."""
    scale = {layer: sqrt(2 / prod(size[1:])) for layer, size in sizes.items()}

    def kept(threshold: float) -> dict[str, float]:
        return {x: erfc(threshold / scale[x] / sqrt(2)) for x in sizes}

    return _bisected(kept, {x: prod(size) for x, size in sizes.items()}, density)


def magnitude(weights: Mapping[str, NDArray[np.floating]], density: float) -> dict[str, float]:
    """Keep the largest of the given weights, of any shapes, by one threshold for all layers."""
    everything = np.concatenate([np.abs(w).ravel() for w in weights.values()])
    count = max(1, round(density * everything.size))
    threshold = np.partition(everything, everything.size - count)[everything.size - count]
    return {x: max(_FLOOR, float((np.abs(w) >= threshold).mean())) for x, w in weights.items()}


def _bisected(
    kept: Callable[[float], dict[str, float]], counts: Mapping[str, int], density: float
) -> dict[str, float]:
    """Find the threshold at which the layers together keep `density` of `counts`."""
    low, high = 0.0, 40.0 * sqrt(2)
    for _ in range(100):
        middle = (low + high) / 2
        share = sum(counts[x] * d for x, d in kept(middle).items()) / sum(counts.values())
        low, high = (middle, high) if share > density else (low, middle)
    return {x: min(1.0, max(_FLOOR, d)) for x, d in kept(low).items()}


_ALLOCATIONS: dict[str, Callable[[Sizes, float], dict[str, float]]] = {
    "uniform": uniform,
    "erk": erk,
    "magnitude": magnitude_of_gaussians,
}


def unstructured(
    workload: Workload,
    *,
    density: float,
    allocation: Allocation = "uniform",
    passes: Iterable[Pass] = (Pass.FF, Pass.BP, Pass.WU),
) -> Workload:
    """Mask inner weights without structure in the named passes; WU wants only the kept gradients.

    First layer, classifier and attention stay dense.
    """
    check_fraction(density, "density")
    if allocation not in _ALLOCATIONS:
        raise InputError(f"allocation must be one of {', '.join(_ALLOCATIONS)}, not {allocation!r}")
    sizes = sizes_of_layers(workload)
    if not sizes:
        return with_note(workload, "no layer between the first and the classifier can be masked")
    return with_densities(workload, _ALLOCATIONS[allocation](sizes, density), passes)


def with_densities(
    workload: Workload, densities: Mapping[str, float], passes: Iterable[Pass]
) -> Workload:
    """Mask the weights of each layer at a density of its own."""
    tensors = {Pass.FF: "W", Pass.BP: "W", Pass.WU: "dW"}
    wanted = tuple((p, tensors[p]) for p in passes)
    policy = Policy("", selects=False)
    operations: list[Operation] = []
    for op in workload:
        share = densities.get(op.layer, 1.0)
        if isinstance(op, MatMul) and is_inner(op) and share < 1:
            rules = tuple(Rule(p, t, Unstructured(share)) for p, t in wanted)
            operations += assign_one(op, rules, policy)
        else:
            operations.append(op)
    return settle_updates(workload, replace(workload, operations=tuple(operations)))


def measured(workload: Workload) -> Workload:
    """Take the zeros that a capture or an importer found in the weights as a mask that is stored.

    Only layers with at least a tenth of zeros; the notes say if there are none.
    """
    found = {
        op.layer: 1 - operand.statistics.zero_fraction
        for op in workload.matmuls
        for operand in (op.left, op.right)
        if op.pass_ is Pass.FF and operand.tensor == "W" and operand.statistics is not None
    }
    pruned = {layer: max(_FLOOR, share) for layer, share in found.items() if share <= 0.9}
    if not pruned:
        note = "no weights with a tenth of zeros were measured: nothing is masked"
        return with_note(workload, note)
    return with_densities(workload, pruned, (Pass.FF, Pass.BP))
