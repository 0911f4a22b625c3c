"""The table of synthesis results: measured once, kept as CSV with provenance, read as data.

A row is found again by the hash of Verilog text and library, so that a change of either shows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rtl.export import verilog_text
from rtl.synthesis.designs import DESIGNS, Mappable
from rtl.synthesis.flow import find_library, netlist_key, synthesise, tool_versions
from rtl.synthesis.liberty import read_library
from workloads.errors import InputError
from workloads.files import csv_content, write_whole

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "simulator" / "published" / "bitweight" / "synthesis.csv"
RECORDED = ROOT / "sim_results" / "synthesis" / "osu018.csv"
ELEMENTS = (
    "mac_naive",
    "mac_plain",
    "mac",
    "mac_pipelined",
    "opt1",
    "opt1_offset",
    "opt2",
    "opt3",
    "opt4c",
    "opt4e",
    "opt4c_seg",
    "opt4e_seg",
    "column_front",
    "simd_lane",
)
"""Designs that are measured in other libraries too: whether ratios are those of one library."""
CYCLES = 2000
"""Cycles in which the energy of a design is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One synthesised design: area in the library's unit (um2), period in ns, energy in pJ.

    `energy_per_op_pj` is per multiply-accumulate (read-outs for the SIMD lane), glitches included;
    `settled_energy_pj` counts only the transitions that a circuit without glitches would make.
    """

    design: str
    parameters: str
    library: str
    area: float
    flops: int
    min_period_ns: float
    energy_per_op_pj: float
    settled_energy_pj: float
    ops_per_cycle: float
    cycles: int
    tools: str
    netlist: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row; `energy_per_op_j` is the stable key of the command line."""
        return asdict(self) | {"energy_per_op_j": self.energy_per_op_pj * 1e-12}


COLUMNS = tuple(column.name for column in fields(Result))


def check_mappable(design: Mappable) -> None:
    """Raise `InputError` for a design with memories."""
    if design.memories:
        raise InputError(
            f"design {design.name} has memories, which no library of standard cells has: "
            "synthesise its parts, such as opt4c, column_front and simd_lane"
        )


def measure(
    design: Mappable, *, library: Path | None = None, cycles: int = CYCLES, **changes: int
) -> Result:
    """Synthesise a design with some parameters changed and measure its energy.

    Raises `InputError` for a design with memories and as `rtl.synthesis.flow.synthesise` does.
    """
    from rtl.synthesis import gates

    check_mappable(design)
    path = find_library(library)
    component = design.component(**changes)
    verilog = verilog_text(component, name=design.name)
    mapped = synthesise(verilog, top=design.name, library=path, fuse=design.fuse)
    assert design.stimulus is not None, "only designs with memories have none"
    stimulus, operations = design.stimulus(component, cycles)
    activity = gates.simulate(gates.build(mapped, read_library(path)), stimulus)
    assert activity.settle_ps <= 1000 * mapped.min_period_ns + 1000, "slower than its timing"
    share = activity.settled_toggles / max(activity.toggles, 1)
    dynamic = activity.switching_pj + activity.internal_pj
    settled = (dynamic * share + activity.clock_pj) / operations
    return Result(
        design=design.name,
        parameters=design.parameter_text(**changes),
        library=path.stem,
        area=mapped.area,
        flops=mapped.flops,
        min_period_ns=mapped.min_period_ns,
        energy_per_op_pj=round(float(activity.energy_pj / operations), 4),
        settled_energy_pj=round(float(settled), 4),
        ops_per_cycle=round(float(operations / cycles), 6),
        cycles=cycles,
        tools=tool_versions(),
        netlist=netlist_key(verilog, path, fuse=design.fuse),
    )


def shipped_jobs() -> list[tuple[Mappable, dict[str, int]]]:
    """Return what the shipped table holds: every design, and sweeps of width and sum width."""
    mapped = [design for design in DESIGNS.values() if not design.memories]
    jobs: list[tuple[Mappable, dict[str, int]]] = [(design, {}) for design in mapped]
    for name in ("mac", "opt1", "opt1_offset"):
        jobs += [(DESIGNS[name], {"acc_width": bits}) for bits in (16, 24, 40, 48)]
    for width in (4, 16):
        for name in ("mac", "opt1"):
            jobs.append((DESIGNS[name], {"width": width, "acc_width": 4 * width}))
        for name in ("opt4c", "opt4e", "opt4c_seg", "opt4e_seg"):
            jobs.append((DESIGNS[name], {"width": width, "acc_width": width + 18}))
    return jobs


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({path: csv_content((result.as_dict() for result in results), COLUMNS)})


def other_jobs() -> list[tuple[Mappable, dict[str, int]]]:
    """Return what the table of another library holds: elements, and sweeps of the sum's width."""
    jobs: list[tuple[Mappable, dict[str, int]]] = [(DESIGNS[name], {}) for name in ELEMENTS]
    for name in ("mac", "opt1"):
        jobs += [(DESIGNS[name], {"acc_width": bits}) for bits in (16, 48)]
    return jobs


def recorded(library: Path) -> Path:
    """Return where the table of another library than the default is kept."""
    return RECORDED.with_name(f"{library.stem.removesuffix('_stdcells')}.csv")


def main() -> None:
    """Measure every shipped design and write the table: `python -m rtl.synthesis.table [LIBERTY]`.

    With a Liberty file: the elements in that library, into a table of its own.
    """
    library = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    results = []
    for design, changes in other_jobs() if library else shipped_jobs():
        results.append(measure(design, library=library, **changes))
        print(
            f"{design.name:16s} {results[-1].parameters:34s} area {results[-1].area:9.0f} "
            f"{results[-1].min_period_ns:6.3f} ns {results[-1].energy_per_op_pj:8.2f} pJ",
            flush=True,
        )
    if library:
        write(recorded(library), results)
        return
    write(SHIPPED, results)
    write(RECORDED, results)


if __name__ == "__main__":
    main()
