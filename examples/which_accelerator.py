"""Which system trains the shipped networks fastest, dense and with each method, and on what energy?

    python examples/which_accelerator.py [PAGE.md]

At one clock and one off-chip bandwidth: as many multipliers; as much area, every system in the
shape that suits it best on all workloads together; and, in an area of its own because its library
is another, an engine over digits beside an array of multipliers. Then SAT's card and a GPU as they
are. With a file name, the tables are written between that page's markers. Takes ten seconds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.accelerators import bitweight, find, gpu, sat, systolic, tensorcore
from simulator.area import area_mm2
from simulator.report import Report
from workloads.methods import parse_method
from workloads.operations import Pass, Workload
from workloads.trace import read_shipped

TRACES = ("digits-resnet", "digits-vit")
METHODS = ("dense", "sr-ste:2:4", "bdwp:2:4", "bdwp:2:8", "bdwp:2:16")
CLOCK_HZ, DRAM_BYTES_PER_S = 200e6, 76.8e9
"""Those of SAT's card, for all systems."""

SHARED: dict[str, Any] = {"clock_hz": CLOCK_HZ, "dram_bytes_per_s": DRAM_BYTES_PER_S}
SIDES = (16, 24, 32, 48, 64, 96, 128)
BUFFERS = (1 << 18, 1 << 20, 1 << 22)
BUFFER_FIELDS = ("left_buffer_bytes", "right_buffer_bytes", "out_buffer_bytes")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"

Systems = Mapping[str, Any]
"""A config for each system, by the name that the table shows."""


def model_of(config: Any) -> Any:
    """Return the accelerator's module that a config belongs to."""
    return find(type(config).__module__.split(".")[2])


def simulate(config: Any, work: Workload) -> Report:
    """Run a workload on a config."""
    model = model_of(config)
    return model.simulate(config, model.schedule(config, work))


def area(config: Any) -> float:
    """Return the area by the 45 nm table of arithmetic and SRAM, in mm2."""
    return area_mm2(config, model_of(config).QUANTITIES["area_mm2"])


def equal_multipliers() -> Systems:
    """Return the systems with 1024 multipliers."""
    return {
        "dense array": systolic.Config(nm_support=False, **SHARED),
        "array that skips": systolic.Config(**SHARED),
        "sat": sat.Config(**SHARED),
        "tensor cores": tensorcore.Config(**SHARED),
    }


def as_they_are() -> Systems:
    """Return SAT's card and a GPU at their own sizes, clocks and memories."""
    return {"sat": sat.Config(), "gpu": gpu.Config()}


def arrays(make: Any, **settings: Any) -> Iterable[Any]:
    """Yield arrays of many shapes with buffers of several sizes."""
    for rows in SIDES:
        for cols in SIDES:
            for size in BUFFERS:
                held = dict.fromkeys(BUFFER_FIELDS, size)
                yield make(rows=rows, cols=cols, vector_lanes=cols, **held, **settings, **SHARED)


def equal_area(budget_mm2: float, works: Mapping[tuple[str, str], Workload]) -> Systems:
    """Return each system in the shape of least mean time that fits the budget."""
    candidates: dict[str, Iterable[Any]] = {
        "dense array": arrays(systolic.Config, nm_support=False),
        "array that skips": arrays(systolic.Config),
        "sat": arrays(sat.Config),
        "tensor cores": (tensorcore.Config(sms=count, **SHARED) for count in range(1, 17)),
    }
    return {
        name: min(
            (config for config in shapes if 0.5 * budget_mm2 < area(config) <= budget_mm2),
            key=lambda config: mean_log_time(config, works.values()),
        )
        for name, shapes in candidates.items()
    }


def mean_log_time(config: Any, works: Iterable[Workload]) -> float:
    """Return the mean logarithm of the times: every workload weighs the same."""
    times = [simulate(config, work).seconds for work in works]
    return sum(map(math.log, times)) / len(times)


def table(systems: Systems, works: Mapping[tuple[str, str], Workload]) -> list[str]:
    """Return Markdown: time and energy of each workload on each system, the best in bold."""
    names = list(systems)
    lines = [
        f"| trace | method | {' | '.join(names)} |",
        f"| --- | --- |{' ---: |' * len(names)}",
    ]
    for (trace, method), work in works.items():
        reports = [simulate(config, work) for config in systems.values()]
        seconds = [report.seconds for report in reports]
        joules = [report.energy_j or math.nan for report in reports]
        cells = [
            f"{best(s, seconds, 1e3)} ms, {best(j, joules, 1e3)} mJ"
            for s, j in zip(seconds, joules, strict=True)
        ]
        lines.append(f"| {trace} | {method} | {' | '.join(cells)} |")
    return lines


def best(value: float, values: list[float], scale: float) -> str:
    """Write a value with three digits, in bold where none is half a percent smaller."""
    text = f"{scale * value:,.0f}" if scale * value >= 1000 else f"{scale * value:.3g}"
    return f"**{text}**" if value <= 1.005 * min(values) else text


def shapes(systems: Systems) -> list[str]:
    """Return Markdown: the shape and the area of each system."""
    lines = [
        "| system | shape | multipliers | buffers | area |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, config in systems.items():
        if isinstance(config, tensorcore.Config):
            held = config.sms * (config.shared_bytes + config.l2_share_bytes)
            shape = f"{config.sms} multiprocessors"
        else:
            held = sum(getattr(config, field) for field in BUFFER_FIELDS)
            shape = f"{config.rows} x {config.cols}"
        macs = config.peak_macs_per_cycle
        lines.append(
            f"| {name} | {shape} | {macs} | {held / (1 << 20):.2f} MiB | {area(config):.1f} mm2 |"
        )
    return lines


def digits(works: Mapping[tuple[str, str], Workload]) -> list[str]:
    """Return Markdown: forward passes in INT8 over digits beside multipliers, in equal area."""
    plain = bitweight.Config(engine="mac", dram_bytes_per_s=DRAM_BYTES_PER_S)
    ours = replace(plain, engine="opt4e", rows=16, cols=1)
    while replace(ours, cols=ours.cols + 1).area_um2 <= plain.area_um2:
        ours = replace(ours, cols=ours.cols + 1)
    lines = ["| trace | multipliers | engine over digits | ratio |", "| --- | ---: | ---: | ---: |"]
    for (trace, method), work in works.items():
        if method == "dense":
            forward = work.only(Pass.FF)
            slow, fast = (simulate(config, forward).seconds for config in (plain, ours))
            times = f"{1e3 * slow:.3g} ms | {1e3 * fast:.3g} ms"
            lines.append(f"| {trace}, forward | {times} | {slow / fast:.2f}x |")
    return lines


def tables() -> str:
    """Return all tables as Markdown."""
    works = {(t, m): parse_method(m)(read_shipped(t)) for t in TRACES for m in METHODS}
    alike = equal_multipliers()
    budget = area(alike["sat"])
    sized = equal_area(budget, works)
    parts = [
        ["### As many multipliers: 1024", *table(alike, works)],
        [f"### As much area: {budget:.1f} mm2", *shapes(sized), "", *table(sized, works)],
        ["### Over digits, in an area of its own", *digits(works)],
        ["### As they are: SAT's card and an A100", *table(as_they_are(), works)],
    ]
    return "\n\n".join("\n".join([part[0], "", *part[1:]]) for part in parts) + "\n"


if __name__ == "__main__":
    made = tables()
    print(made)
    for page in map(Path, sys.argv[1:]):
        before, _, rest = page.read_text("utf-8").partition(f"{BEGIN}\n")
        after = rest.partition(f"{END}\n")[2]
        page.write_text(f"{before}{BEGIN}\n{made}{END}\n{after}", "utf-8")
