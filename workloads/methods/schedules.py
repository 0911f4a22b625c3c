"""When a pattern holds: schedules over a training run, as methods."""

from __future__ import annotations

from itertools import pairwise

from workloads.errors import InputError
from workloads.methods.allocation import Allocation, unstructured
from workloads.methods.experts import mixture
from workloads.methods.masking import Rule
from workloads.methods.method import Change, Method, Steps, change
from workloads.operations import Pass
from workloads.patterns import NM, Unstructured

CUBIC_STEPS = 16
"""Stages that stand for a cubic schedule: its mean density is exact, see `cubic`."""


def cubic_sparsity(progress: float, *, final: float, start: float, end: float) -> float:
    """Return the sparsity of gradual pruning at a time: s_f (1 - (1 - x)^3), x from start to end.

    Zhu and Gupta, arXiv 1710.01878, equation 1, from sparsity 0.

    >>> cubic_sparsity(0.5, final=1.0, start=0.0, end=1.0)
    0.875
    """
    if progress <= start:
        return 0.0
    x = min(1.0, (progress - start) / (end - start))
    return final * (1 - (1 - x) ** 3)


def cubic(*, final: float, start: float, end: float, allocation: Allocation = "uniform") -> Method:
    """Gradual magnitude pruning: nothing until `start`, cubic to `final` at `end`, then constant.

    Cut into equal stages, each at the mean sparsity of its time (the integral of the cubic), so
    that the integral over the run is exact.
    """
    _check_window(start, end)
    if not 0 < final < 1:
        raise InputError(f"final sparsity must lie between 0 and 1, not {final}")
    edges = [i / CUBIC_STEPS for i in range(CUBIC_STEPS + 1)]
    schedule: list[tuple[float, Steps]] = [(0.0, ())] if start > 0 else []
    for low, high in pairwise(edges):
        mean = 1 - ((1 - low) ** 4 - (1 - high) ** 4) / (4 * (high - low))
        at = start + low * (end - start)
        schedule.append((at, (_masked(1 - final * mean, allocation),)))
    if end < 1:
        schedule.append((end, (_masked(1 - final, allocation),)))
    return Method(
        name=f"cubic:{final:g}:{start:g}:{end:g}" + _suffix(allocation),
        source="Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878",
        schedule=tuple(schedule),
    )


def structure_decay(n: int, m: int) -> Method:
    """N:M that gets sparser in equal stages: M-1, M/2, M/4, ... down to N of M, forward only.

    Progressive gradient flow's structure decay: log2(M/N) + 1 frames.
    """
    final = NM(n, m)
    kept, counts = m // 2, [m - 1]
    while kept > n:
        counts.append(kept)
        kept //= 2
    counts = [*dict.fromkeys(c for c in counts if c > n), final.n]
    schedule = tuple(
        (i / len(counts), (Rule(Pass.FF, "W", NM(count, m)),)) for i, count in enumerate(counts)
    )
    return Method(
        name=f"structure-decay:{n}:{m}",
        source="Progressive gradient flow for robust N:M sparsity training in transformers",
        schedule=schedule,
        first_dense=False,
    )


def mask_decay(n: int, m: int, end: float) -> Method:
    """N:M whose pruned weights fade out until `end`: nothing is skipped before they are zero."""
    _check_window(0.0, end)
    rules = (Rule(Pass.FF, "W", NM(n, m)),)
    schedule: tuple[tuple[float, Steps], ...] = (
        ((0.0, ()), (end, rules)) if end < 1 else ((0.0, ()),)
    )
    return Method(
        name=f"mask-decay:{n}:{m}:{end:g}",
        source="Progressive gradient flow for robust N:M sparsity training in transformers",
        schedule=schedule,
        first_dense=False,
    )


def prune_and_regrow(name: str, density: float, every: int, *, dense_gradient: bool) -> Method:
    """Move the mask every `every` steps: drop the smallest weights, grow as many others.

    Growing by gradient (RigL) multiplies the whole of dW in such a step; growing at random (SET)
    does not.
    """
    pattern = Unstructured(density)
    if every < 2:
        raise InputError(f"{name} must keep its mask for at least 2 steps, not {every}")
    rules = (
        Rule(Pass.FF, "W", pattern),
        Rule(Pass.BP, "W", pattern),
        Rule(Pass.WU, "dW", pattern),
    )
    return Method(
        name=f"{name}:{density:g}:{every}",
        source={
            "rigl": "Evci et al., Rigging the lottery, ICML 2020, arXiv 1911.11134",
            "set": "Mocanu et al., Nature Communications 2018, arXiv 1707.04780",
        }[name],
        schedule=((0.0, rules),),
        refresh_steps=every,
        dense_on_refresh=((Pass.WU, "dW"),) if dense_gradient else (),
    )


def dense_to_sparse_gate(experts: int, top_k: int) -> Method:
    """Route every token to all experts first, then to half as many in each of equal stages.

    The last stage routes it to `top_k`.
    """
    counts = _halving(experts, top_k)
    schedule = tuple(
        (i / len(counts), (change(mixture, experts=experts, top_k=k),))
        for i, k in enumerate(counts)
    )
    return Method(
        name=f"gate:{experts}:{top_k}",
        source="EvoMoE: an evolutional mixture-of-experts training framework, arXiv 2112.14397",
        schedule=schedule,
    )


def _halving(first: int, last: int) -> list[int]:
    counts = [first]
    while counts[-1] // 2 > last:
        counts.append(counts[-1] // 2)
    return counts if first == last else [*counts, last]


def _masked(density: float, allocation: Allocation) -> Change:
    return change(unstructured, density=density, allocation=allocation)


def _suffix(allocation: str) -> str:
    return "" if allocation == "uniform" else f":{allocation}"


def _check_window(start: float, end: float) -> None:
    if not 0 <= start < end <= 1:
        raise InputError(
            f"a schedule must start before it ends, both in 0 to 1, not {start} to {end}"
        )
