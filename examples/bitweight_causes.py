"""Why rows of the bit-weight exhibits miss the published number: one change at a time, measured.

    python examples/bitweight_causes.py [TABLE.csv]
    python examples/bitweight_causes.py --reasons    renew the numbers that reasons quote

Each row changes one thing against our own setting (clock, library, baseline, glitches, flip-flops,
digits, read-out, area) and gives what the published quantity then is. The default table is
sim_results/bitweight/causes.csv. Other libraries come from other-libraries.csv beside it, which
bitweight_libraries.py makes. Takes seconds.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataflow.digits import normal_pmf
from dataflow.digits.statistics import group_steps_mean, mean_digits
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import baselines
from simulator.accelerators.bitweight.synthesis import Row, find
from simulator.experiments.bitweight import ARRAYS, NO_LIMIT, STD, TREE, mobilevit
from simulator.published import path as published_path
from simulator.published import read
from simulator.reproduce import experiment
from workloads import networks
from workloads.files import csv_content, json_content, write_whole
from workloads.operations import Workload

FOLDER = Path(__file__).parent.parent / "sim_results" / "bitweight"
FLIP_FLOP = 96.0
"""Area of the flip-flop of the OSU 0.18 um library, um2."""
LIBRARIES = {"osu035_stdcells": "OSU 0.35 um", "osu05_stdcells": "OSU 0.5 um"}


class Cause(NamedTuple):
    """One experiment: the exhibit's quantity, what was changed, and the quantity with it."""

    exhibit: str
    quantity: str
    changed: str
    value: float


@cache
def _others() -> dict[tuple[str, str], Row]:
    with (FOLDER / "other-libraries.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("area", "min_period_ns", "energy_per_op_pj", "settled_energy_pj", "ops_per_cycle")
    return {
        (row["library"], row["design"]): find(row["design"])._replace(
            **{name: float(row[name]) for name in numbers}, flops=int(row["flops"])
        )
        for row in rows
    }


def causes() -> Iterator[Cause]:
    """Yield all experiments."""
    pairs = {
        text: [("Booth MAC", f"{name}_mac"), ("MAC that yosys fuses", f"{name}_naive")]
        for text, name in ARRAYS.items()
    }
    for text, baselines_ in pairs.items():
        for baseline, design in baselines_:
            quantity = f"{text}, OPT1 over the {baseline}"
            yield from _array(quantity, f"{ARRAYS[text]}_opt1", design)
    yield from _array(f"{TREE}, OPT2 over the Booth MAC", "tree_opt2", "tree_mac")
    yield from _elements()
    yield from _throughput()
    yield from _laconic()
    yield from _speedups()


def _array(quantity: str, design: str, baseline: str) -> Iterator[Cause]:
    ours, theirs = find(design), find(baseline)
    area, energy = "area-efficiency", "energy-efficiency"
    period = theirs.min_period_ns / ours.min_period_ns
    yield Cause(area, quantity, "both at one clock: area alone", theirs.area / ours.area)
    yield Cause(area, quantity, "both of one area: clock alone", period)
    gates = (theirs.area - FLIP_FLOP * theirs.flops) / (ours.area - FLIP_FLOP * ours.flops)
    yield Cause(area, quantity, "flip-flops without area", gates * period)
    settled = theirs.settled_energy_pj / ours.settled_energy_pj
    yield Cause(energy, quantity, "no glitches", settled)
    for library, text in LIBRARIES.items():
        ours, theirs = _others()[library, design], _others()[library, baseline]
        rate = (theirs.area * theirs.min_period_ns) / (ours.area * ours.min_period_ns)
        yield Cause(area, quantity, f"library {text}", rate)
        spent = theirs.energy_per_op_pj / ours.energy_per_op_pj
        yield Cause(energy, quantity, f"library {text}", spent)


def _elements() -> Iterator[Cause]:
    exhibit = "elements"
    mac, opt1, single, group = (find(name) for name in ("mac", "opt1", "opt4c", "opt4e"))
    naive, plain = find("mac_naive"), find("mac_plain")
    quantity = "OPT1 period over MAC period"
    for text, other in (("that yosys fuses", naive), ("of separate multiplier and adder", plain)):
        ratio = opt1.min_period_ns / other.min_period_ns
        yield Cause(exhibit, quantity, f"baseline: MAC {text}", ratio)
    quantity = "OPT4C area over MAC area"
    for text, other in (("that yosys fuses", naive), ("of separate multiplier and adder", plain)):
        yield Cause(exhibit, quantity, f"baseline: MAC {text}", single.area / other.area)
    gates = {row.design: row.area - FLIP_FLOP * row.flops for row in (mac, single, group)}
    yield Cause(exhibit, quantity, "flip-flops without area", gates["opt4c"] / gates["mac"])
    quantity = "OPT4E group area over four OPT4C"
    yield Cause(exhibit, quantity, "flip-flops without area", gates["opt4e"] / gates["opt4c"] / 4)
    quantity = "OPT4E group power over four OPT4C"
    settled = group.settled_energy_pj / single.settled_energy_pj
    yield Cause(exhibit, quantity, "no glitches", settled)
    for library, text in LIBRARIES.items():
        mac, opt1, single, group = (
            _others()[library, name] for name in ("mac", "opt1", "opt4c", "opt4e")
        )
        for quantity, value in (
            ("OPT1 period over MAC period", opt1.min_period_ns / mac.min_period_ns),
            ("OPT4C area over MAC area", single.area / mac.area),
            ("OPT4E group area over four OPT4C", group.area / (4 * single.area)),
            ("OPT4E group power over four OPT4C", group.energy_per_op_pj / single.energy_per_op_pj),
        ):
            yield Cause(exhibit, quantity, f"library {text}", value)
    seg, least = find("opt4c_seg"), find("opt4e")
    quantity = "opt4c_seg: energy over the least of five"
    yield Cause(
        "variants", quantity, "no glitches", seg.settled_energy_pj / least.settled_energy_pj
    )
    single = find("opt4c").energy_per_op_pj
    yield Cause("variants", quantity, "against OPT4C, one lane too", seg.energy_per_op_pj / single)


def _throughput() -> Iterator[Cause]:
    """Replace one factor of lanes x area ratio x clock ratio / steps by the paper's, each alone."""
    mac, group = find("mac"), find("opt4e")
    steps = group_steps_mean(normal_pmf(STD, 8), "ent", 8)
    area, clock = mac.area / group.area, mac.min_period_ns / group.min_period_ns
    quantity = "throughput per area, OPT4E over MAC"
    digits = mean_digits(normal_pmf(24.4, 8), "ent", 8)
    for changed, value in (
        ("the paper's steps: digits alone, no empty groups", 4 * area * clock / digits),
        ("the paper's clock ratio of 2", 4 * area * 2 / steps),
        ("the paper's area: a group as large as a MAC", 4 * clock / steps),
        ("baseline: MAC that yosys fuses", _over(find("mac_naive"), group, steps)),
        ("baseline: MAC of separate multiplier and adder", _over(find("mac_plain"), group, steps)),
    ):
        yield Cause("elements", quantity, changed, value)


def _over(mac: Row, group: Row, steps: float) -> float:
    return 4 / steps * (mac.area / group.area) * (mac.min_period_ns / group.min_period_ns)


def _laconic() -> Iterator[Cause]:
    """Change clock, waiting and area of the Laconic-like element, each alone and together."""
    rival, group = find("laconic"), find("opt4e")
    steps = group_steps_mean(normal_pmf(STD, 8), "ent", 8)
    rate = 4 / (steps * group.min_period_ns * group.area)
    theirs = rival.ops_per_cycle / (rival.min_period_ns * rival.area)
    pmf = normal_pmf(STD, 8)
    mean = mean_digits(pmf, "booth", 8) ** 2
    waiting = baselines.laconic_cycles(pmf, pmf, 8) / mean
    clock = group.min_period_ns / rival.min_period_ns
    quantity = "area efficiency over Laconic"
    for changed, value in (
        ("Laconic at the clock of OPT4E", rate / theirs * clock),
        ("Laconic without waiting for the slowest of 16 pairs", rate / theirs / waiting),
        ("both", rate / theirs * clock / waiting),
        ("OPT3 instead of OPT4E (about 1 in the paper)", _opt3(steps) / theirs),
    ):
        yield Cause("laconic", quantity, changed, value)
    quantity = "energy efficiency over Laconic"
    energy = rival.energy_per_op_pj / group.energy_per_op_pj
    yield Cause("laconic", quantity, "Laconic without waiting", energy / waiting)
    settled = rival.settled_energy_pj / group.settled_energy_pj
    yield Cause("laconic", quantity, "no glitches", settled)


def _opt3(steps: float) -> float:
    row = find("opt3")
    return 1 / (steps * row.min_period_ns * row.area)


def _speedups() -> Iterator[Cause]:
    work = {
        "MobileViT": mobilevit(),
        "ViT": _products(networks.find("vit-b16", batch=1).inference()),
        "GPT-2": _products(networks.find("gpt2", batch=1).inference()),
    }
    for name, products in work.items():
        quantity = f"{name}, OPT4E over a systolic array of equal area"
        for changed, value in _changes(products):
            yield Cause("speedup", quantity, changed, value)


def _products(work: Workload) -> Workload:
    return replace(work, operations=work.matmuls)


def _changes(work: Workload) -> Iterator[tuple[str, float]]:
    mac = bitweight.Config(engine="mac", rows=32, cols=32, dram_bytes_per_s=NO_LIMIT)
    ours = _fitted(replace(mac, engine="opt4e", rows=16, cols=1), mac.area_um2)
    base = _seconds(mac, work) / _seconds(ours, work)
    yield "nothing", base
    free = replace(ours, simd_lanes=ours.cols, clock_hz=1e9 / ours.period_ns)
    yield "read-out in one turn, its area not counted", _seconds(mac, work) / _seconds(free, work)
    twice = replace(ours, clock_hz=2e9 / mac.period_ns)
    yield "the paper's clock ratio of 2", _seconds(mac, work) / _seconds(twice, work)
    law = replace(ours, cols=64)
    yield "the paper's area: a group as large as a MAC", _seconds(mac, work) / _seconds(law, work)
    for std in (10.0, 50.0):
        other = replace(ours, operand_std=std)
        digits = mean_digits(normal_pmf(std, 8), "ent", 8)
        yield f"operands of {digits:.2f} digits", _seconds(mac, work) / _seconds(other, work)
    naive = _fitted(ours, mac.area_um2 + mac.elements * (_naive_area() - mac.element.area))
    yield "area of the MAC that yosys fuses", _seconds(mac, work) / _seconds(naive, work)
    lanes = (replace(ours, simd_lanes=count) for count in (2, 4, 8, 16, 32, 64))
    best = min(_seconds(_fitted(config, mac.area_um2), work) for config in lanes)
    yield "read-out adders chosen for the workload, in the area", _seconds(mac, work) / best
    weights = [op for op in work.matmuls if op.kind != "attention" and op.batch == 1]
    if len(weights) < len(work):
        deep = replace(work, operations=tuple(weights))
        yield "products of weights alone, no attention", _seconds(mac, deep) / _seconds(ours, deep)


def _naive_area() -> float:
    return find("mac_naive").area


def _fitted(config: bitweight.Config, area: float) -> bitweight.Config:
    """Return the config with as many columns as fit the area."""
    config = replace(config, cols=1)
    while replace(config, cols=config.cols + 1).area_um2 <= area:
        config = replace(config, cols=config.cols + 1)
    return config


def _seconds(config: bitweight.Config, work: Workload) -> float:
    return bitweight.simulate(config, bitweight.schedule(config, work)).seconds


def table() -> list[dict[str, str]]:
    """Return all experiments with the published number beside them, rounded to four digits."""
    published = {
        exhibit: {row.quantity: row.published for row in read(f"bitweight/{exhibit}")}
        for exhibit in (
            "area-efficiency", "energy-efficiency", "elements", "laconic", "speedup", "variants",
        )
    }  # fmt: skip
    return [
        {
            "exhibit": cause.exhibit,
            "quantity": cause.quantity,
            "published": f"{published[cause.exhibit][cause.quantity]:g}",
            "changed": cause.changed,
            "ours": f"{np.round(cause.value, 4):g}",
        }
        for cause in all_causes()
    ]


def reasons() -> None:
    """Bring the numbers that the reasons of expected misses quote up to date.

    A reason starts with "ours is X" and quotes an experiment as "what was changed: X".
    """
    for exhibit in ("area-efficiency", "energy-efficiency", "elements", "laconic", "speedup",
                    "variants", "release"):  # fmt: skip
        where = published_path(f"bitweight/{exhibit}")
        with where.open(newline="") as file:
            rows = list(csv.DictReader(file))
        ours = experiment(f"bitweight/{exhibit}")()
        for row in rows:
            row["expected_miss"] = updated(
                row["expected_miss"], ours[row["quantity"]], measured(exhibit, row["quantity"])
            )
        write_whole({where: csv_content(rows, list(rows[0]))})


def measured(exhibit: str, quantity: str) -> dict[str, float]:
    """Return the experiments about a quantity: what was changed, and its value then."""
    found = all_causes()
    return {c.changed: c.value for c in found if (c.exhibit, c.quantity) == (exhibit, quantity)}


@cache
def all_causes() -> tuple[Cause, ...]:
    """Return all experiments, made once."""
    return tuple(causes())


def updated(reason: str, ours: float, experiments: dict[str, float]) -> str:
    """Return a reason with its numbers replaced.

    >>> updated("ours is 1.00; flip-flops without area: 9.99", 2.0, {"flip-flops without area": 3})
    'ours is 2.00; flip-flops without area: 3.00'
    """
    text = re.sub(r"^ours is \d+\.\d\d", f"ours is {ours:.2f}", reason)
    for changed, value in experiments.items():
        text = re.sub(rf"{re.escape(changed)}: \d+\.\d\d", f"{changed}: {value:.2f}", text)
    return text


def main(path: Path = FOLDER / "causes.csv") -> None:
    """Write the table, and beside it what made it."""
    rows = table()
    meta = {
        "command": "python examples/bitweight_causes.py",
        "tables": ["simulator/published/bitweight/synthesis.csv", "other-libraries.csv"],
    }
    write_whole(
        {
            path: csv_content(rows, list(rows[0])),
            path.with_suffix(".meta.json"): json_content(meta),
        }
    )
    for row in rows:
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    if sys.argv[1:] == ["--reasons"]:
        reasons()
    else:
        main(*map(Path, sys.argv[1:]))
