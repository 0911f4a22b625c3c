"""Bit-weight engines: digit statistics, efficiency of our RTL in an open library, speed-ups.

Areas, periods and energies come from the shipped synthesis table (yosys and OpenSTA, OSU 0.18 um,
no wires, gate-level activity with cell delays). Efficiency is throughput over area, or over power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from dataflow.digits import digit_statistics, nonzero_counts, normal_pmf, quantise
from dataflow.digits.statistics import group_steps_mean, mean_digits
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight.synthesis import Row, find
from workloads import networks
from workloads.operations import MatMul, Workload, gemm

STD = 25.0
"""Deviation of the operands with which energy and steps were measured: 25 / 128 of the range."""

ARRAYS = {"systolic WS": "ws", "systolic OS": "os", "3D cube": "cube", "2D matrix": "matrix"}
RELEASED = ("systolic WS", "systolic OS", "3D cube")
"""Arrays that the authors' release holds."""
TREE = "multiplier-adder tree"
BASELINES = {"Booth MAC": "mac", "MAC that yosys fuses": "naive"}
"""Ours with the best known structure, and `sum + a * b` left to the tool."""
NO_LIMIT = 1e18
"""Bytes a second: the paper's speed-ups are those of the array, not of its memory."""


def digits() -> dict[str, float]:
    """Return digit statistics: means over ten normal matrices, shares over all INT8 values."""
    matrices = [np.random.default_rng(seed).standard_normal((1024, 1024)) for seed in range(10)]
    values = [quantise(matrix).values for matrix in matrices]
    means = {
        scheme: float(np.mean([digit_statistics(v, scheme, 8).mean for v in values]))
        for scheme in ("ent", "booth")
    }
    every = np.arange(-128, 128)
    histogram = digit_statistics(every, "booth", 8).histogram
    ours = {
        "EN-T digits of a normal matrix": means["ent"],
        "Booth digits of a normal matrix": means["booth"],
        "INT8 values with at most three Booth digits": sum(histogram[:4]) / 256,
    }
    for scheme in ("ent", "booth", "csd"):
        counts = np.bincount(nonzero_counts(every, scheme, 8), minlength=5)
        ours |= {f"INT8 values with {c} {scheme} digits": float(n) for c, n in enumerate(counts)}
    return ours


def area_efficiency() -> dict[str, float]:
    """Return throughput per area of the carry-save arrays over that of the MAC arrays."""
    return _ratios(_dense_rate)


def energy_efficiency() -> dict[str, float]:
    """Return multiply-accumulates per joule of the carry-save arrays over the MAC arrays."""
    return _ratios(lambda row: 1 / row.energy_per_op_pj)


def _ratios(efficiency: Callable[[Row], float]) -> dict[str, float]:
    """Return ratios of OPT1 (OPT2 for the tree) over both baselines, equal MACs a cycle."""
    ours = {}
    for text, name in ARRAYS.items():
        for baseline, style in BASELINES.items():
            ratio = efficiency(find(f"{name}_opt1")) / efficiency(find(f"{name}_{style}"))
            ours[f"{text}, OPT1 over the {baseline}"] = ratio
    tree = efficiency(find("tree_opt2")) / efficiency(find("tree_mac"))
    return ours | {f"{TREE}, OPT2 over the Booth MAC": tree}


def elements() -> dict[str, float]:
    """Return what single elements show: areas, delays, flat period, a group against singles."""
    mac, opt1, single, group = (find(name) for name in ("mac", "opt1", "opt4c", "opt4e"))
    return {
        "OPT1 period at 48 bits over 16 bits": _at(opt1, 48) / _at(opt1, 16),
        "MAC period at 48 bits over 16 bits, at least": _at(mac, 48) / _at(mac, 16),
        "OPT1 period over MAC period": opt1.min_period_ns / mac.min_period_ns,
        "OPT4C area over MAC area": single.area / mac.area,
        "OPT4E group area over four OPT4C": group.area / (4 * single.area),
        "OPT4E group power over four OPT4C": _power(group, 4) / (4 * _power(single, 1)),
        "throughput per area, OPT4C over MAC": _sparse_rate(single, 1) / _dense_rate(mac),
        "throughput per area, OPT4E over MAC": _sparse_rate(group, 4) / _dense_rate(mac),
        "law: three OPT4C at 2 GHz over a 1 GHz MAC": 3 * 2.0 / _digits(),
        "law: a four-lane OPT4E at 2 GHz over a 1 GHz MAC": 4 * 2.0 / _digits(),
        "law: best case at twice the clock": 2.0 / 1,
        "law: worst case at twice the clock": 2.0 / 4,
    }


def _at(row: Row, bits: int) -> float:
    return find(row.design, 8, bits).min_period_ns


def _power(row: Row, lanes: int) -> float:
    """Return energy per cycle: per multiply-accumulate times those of a cycle."""
    return row.energy_per_op_pj * lanes / _steps()


@cache
def _steps() -> float:
    """Steps per operand: non-zero digits, and the empty groups of four."""
    return group_steps_mean(normal_pmf(STD, 8), "ent", 8)


@cache
def _digits() -> float:
    """Mean non-zero digits of the operands that `bitweight` assumes, those of the paper."""
    return mean_digits(normal_pmf(bitweight.Config().operand_std, 8), "ent", 8)


def _dense_rate(row: Row) -> float:
    """Return throughput over area at one multiply-accumulate a cycle."""
    return 1 / (row.min_period_ns * row.area)


def _sparse_rate(row: Row, lanes: int) -> float:
    """Return throughput over area of `lanes`, each with a step for every digit of an operand."""
    return lanes / (_steps() * row.min_period_ns * row.area)


def release() -> dict[str, float]:
    """Return what the reports and tables of the authors' release give, from our own netlists.

    Its power reports assume default toggle rates, which have no glitches: ours leave them out too.
    """
    ours = {}
    for place in ("element", *RELEASED):
        prefix = f"{ARRAYS[place]}_" if place in ARRAYS else ""
        opt1 = find(f"{prefix}opt1")
        for baseline, style in BASELINES.items():
            mac = find("mac_naive" if f"{prefix}{style}" == "naive" else f"{prefix}{style}")
            rate = _dense_rate(opt1) / _dense_rate(mac)
            ours[f"{place}: throughput per area, OPT1 over the {baseline}"] = rate
            energy = mac.settled_energy_pj / opt1.settled_energy_pj
            ours[f"{place}: energy efficiency without glitches, OPT1 over the {baseline}"] = energy
    digits = {
        f"EN-T digits of a normal operand of deviation {std}": mean_digits(
            normal_pmf(std, 8), "ent", 8
        )
        for std in (10, 20, 30, 40, 50)
    }
    return ours | _released_column() | digits


def _released_column() -> dict[str, float]:
    """Return a column of 32 OPT4C elements over as many MACs, counted as the release counts."""
    mac, element, front = find("mac"), find("opt4c"), find("column_front")
    area = element.area + front.area / 32
    period = max(element.min_period_ns, front.min_period_ns)
    of_mac = area / mac.area
    return {
        "OPT4C with its share of an encoder over the Booth MAC, area at relaxed periods": of_mac,
        "OPT4C with its share of an encoder over the Booth MAC, area at fastest periods": of_mac,
        "OPT4C column over the Booth MAC, throughput per area at 2.22 digits": mac.min_period_ns
        * mac.area
        / (2.22 * period * area),
    }


def variants() -> dict[str, float]:
    """Return the variants beyond the paper over the best of its five engines, on the same flow."""
    five = [find(name) for name in ("opt1", "opt2", "opt3", "opt4c", "opt4e")]
    rates = [_dense_rate(five[0]), _dense_rate(five[1])]
    rates += [_sparse_rate(row, lanes) for row, lanes in zip(five[2:], (1, 1, 4), strict=True)]
    least = min(row.energy_per_op_pj for row in five)
    ours = {}
    for name, lanes in (("opt4c_seg", 1), ("opt4e_seg", 4)):
        row = find(name)
        ours[f"{name}: throughput per area over the best of five"] = _sparse_rate(row, lanes) / max(
            rates
        )
        ours[f"{name}: energy over the least of five"] = row.energy_per_op_pj / least
    return ours


def laconic() -> dict[str, float]:
    """Return OPT4E over our Laconic-like element: throughput per area, energy efficiency."""
    rival, group = find("laconic"), find("opt4e")
    rate = rival.ops_per_cycle / (rival.min_period_ns * rival.area)
    return {
        "area efficiency over Laconic": _sparse_rate(group, 4) / rate,
        "energy efficiency over Laconic": rival.energy_per_op_pj / group.energy_per_op_pj,
    }


def speedup() -> dict[str, float]:
    """Return OPT4E over a systolic MAC array of the same area, memory without limit."""
    return {
        f"{name}, OPT4E over a systolic array of equal area": _speedup(work)
        for name, work in (
            ("MobileViT", mobilevit()),
            ("ViT", _products(networks.find("vit-b16", batch=1).inference())),
            ("GPT-2", _products(networks.find("gpt2", batch=1).inference())),
        )
    }


def _speedup(work: Workload) -> float:
    systolic = bitweight.Config(engine="mac", rows=32, cols=32, dram_bytes_per_s=NO_LIMIT)
    ours = replace(systolic, engine="opt4e", rows=16, cols=1)
    while replace(ours, cols=ours.cols + 1).area_um2 <= systolic.area_um2:
        ours = replace(ours, cols=ours.cols + 1)
    return _seconds(systolic, work) / _seconds(ours, work)


def _seconds(config: bitweight.Config, work: Workload) -> float:
    return bitweight.simulate(config, bitweight.schedule(config, work)).seconds


def _products(work: Workload) -> Workload:
    return replace(work, operations=work.matmuls)


def mobilevit() -> Workload:
    """Return the products of MobileViT-S's transformer blocks at 256 x 256, shapes recalled.

    Mehta and Rastegari, ICLR 2022 (arXiv 2110.02178): three stages of width 144, 192 and 240 with
    2, 4 and 3 layers, MLPs twice as wide, 4 heads, patches of four positions, 256, 64 and 16 each.
    """
    operations: list[MatMul] = []
    for stage, (width, layers, tokens) in enumerate(((144, 2, 256), (192, 4, 64), (240, 3, 16))):
        rows, head = 4 * tokens, width // 4
        for layer in range(layers):
            shapes = {
                "qkv": (rows, width, 3 * width, 1),
                "scores": (tokens, head, tokens, 16),
                "context": (tokens, tokens, head, 16),
                "projection": (rows, width, width, 1),
                "expand": (rows, width, 2 * width, 1),
                "contract": (rows, 2 * width, width, 1),
            }
            for what, (m, k, n, batch) in shapes.items():
                (one,) = gemm(m, k, n, dtype="int8", name=f"{stage}.{layer}.{what}").matmuls
                left, right, out = (
                    replace(operand, elements=operand.elements * batch)
                    for operand in (one.left, one.right, one.out)
                )
                operations.append(replace(one, batch=batch, left=left, right=right, out=out))
    return Workload(name="mobilevit-s blocks", operations=tuple(operations))
