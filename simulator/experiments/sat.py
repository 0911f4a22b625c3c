"""SAT with BDWP: speed-up over five networks, training-FLOP ratios, engine facts."""

from __future__ import annotations

import math
from functools import cache

from simulator import published
from simulator.accelerators import sat
from simulator.report import Report
from workloads import networks
from workloads.methods import parse_method
from workloads.operations import Pass, Selection, Workload
from workloads.patterns import NM

BATCHES = {"resnet9": 512, "vgg19": 512, "vit-32": 512, "resnet18-64": 512, "resnet50": 256}
"""The five networks of the paper. Their batch sizes are not known; these fill the array."""

EF_TRAIN_FLOPS = 46.99e9
"""Operations a second of EF-Train (arXiv 2202.10935, abstract)."""
FPL_2019_FLOPS = 479e9
"""Operations a second of Venkataramanaiah et al., FPL 2019 (arXiv 1908.06724, abstract)."""


@cache
def _step(network: str, method: str) -> Workload:
    return networks.find(network, batch=BATCHES[network]).training_step(parse_method(method))


@cache
def _report(network: str, method: str) -> Report:
    config = sat.Config()
    return sat.simulate(config, sat.schedule(config, _step(network, method)))


def _speedup(network: str, pattern: str) -> float:
    return _report(network, "dense").cycles / _report(network, f"bdwp:{pattern}").cycles


def speedup() -> dict[str, float]:
    """Return the speed-up of BDWP over dense training on the same accelerator, default config.

    The average is the arithmetic mean over the five networks, as in the abstract; the largest of
    the five is set against the bound 3 / (1 + 2 N/M) of a step with equal passes and a dense WU.
    """
    ours: dict[str, float] = {}
    for pattern in ("2:4", "2:8", "2:16"):
        each = [_speedup(network, pattern) for network in BATCHES]
        ours[f"largest speedup at {pattern}"] = max(each)
        if pattern == "2:8":
            ours["average speedup at 2:8"] = sum(each) / len(each)
    ours |= {f"speedup of {network} at 2:8": _speedup(network, "2:8") for network in BATCHES}
    return ours


def flop_ratio() -> dict[str, float]:
    """Return kept over dense multiply-accumulates of a training step for each row's method.

    The network "equal passes" is one inner layer, whose FF, BP and WU are equally large.
    """
    return {
        row.quantity: _training_step(row.inputs["network"], row.inputs["method"]).flop_ratio
        for row in published.read("sat/flop-ratio")
    }


def _training_step(network: str, method: str) -> Workload:
    if network != "equal passes":
        return networks.find(network, batch=2).training_step(parse_method(method))
    block = networks.find("resnet9", batch=2).training_step()
    inner = next(op for op in block.matmuls if op.position == "inner" and op.kind == "conv")
    layer = tuple(op for op in block if op.layer == inner.layer)
    return parse_method(method)(Workload(name=network, operations=layer))


def facts() -> dict[str, float]:
    """Return what the text states of engine, networks and comparisons.

    Throughput is that of BDWP at 2:8, in dense-equivalent operations, averaged over the networks.
    """
    vit = networks.find("vit-32", batch=1)
    attention = sum(
        op.macs
        for op in vit.training_step().matmuls
        if op.kind == "attention" and op.pass_ == Pass.FF
    )
    rates = [
        2 * _step(network, "bdwp:2:8").macs / _report(network, "bdwp:2:8").seconds
        for network in BATCHES
    ]
    throughput = sum(rates) / len(rates)
    return {
        "selection cycles of one group of 8": _selection_cycles(groups=1),
        "selection cycles of 32 groups of 8": _selection_cycles(groups=32),
        "selection cycles of 33 groups of 8": _selection_cycles(groups=33),
        "peak dense throughput": sat.Config().peak_dense_flops,
        "ViT for 32x32: parameters": vit.parameters,
        "ViT for 32x32: MACs of the layers with weights": vit.macs - attention,
        "throughput over EF-Train, at least": throughput / EF_TRAIN_FLOPS,
        "throughput over EF-Train, at most": throughput / EF_TRAIN_FLOPS,
        "throughput over FPL 2019 on Stratix 10, at least": throughput / FPL_2019_FLOPS,
        "throughput over FPL 2019 on Stratix 10, at most": throughput / FPL_2019_FLOPS,
        "average loss of accuracy at 2:8": math.nan,
    }


def _selection_cycles(groups: int) -> float:
    config = sat.Config(pregeneration=False)
    operation = Selection(
        name="selection",
        layer="layer",
        pass_=Pass.FF,
        tensor="W",
        elements=8 * groups,
        pattern=NM(2, 8),
    )
    work = Workload(name="selection", operations=(operation,))
    return sat.simulate(config, sat.schedule(config, work)).cycles
