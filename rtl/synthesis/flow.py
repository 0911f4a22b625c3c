"""Maps a design to a cell library with yosys and times it with OpenSTA.

Recipe: `synth -noalumacc` (without it yosys fuses `acc + a * b` into one cell with the product sign
extended, see `fuse`), flip-flops by `dfflibmap`, logic by `abc` with a driving cell and an output
load, no wires. The minimum period is the longest path between two registers plus the setup time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtl.cache import kept
from rtl.synthesis.liberty import Library, inverters, read_library
from workloads.errors import InputError

DEBIAN_LIBRARY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""OSU 0.18 um standard cells, of the Debian package qflow-tech-osu018."""

OUTPUT_LOAD_PF = 0.02
ABC_LOAD_FF = 0.02
"""Load of the outputs for mapping, in abc's own unit: next to nothing."""
CLOCK_PERIOD_NS = 1000.0
FLOW = "1"
"""Changes when the recipe does: part of the key of cached results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A mapped netlist: area in the library's unit, flip-flops, cells by type, and its files."""

    top: str
    area: float
    flops: int
    cells: dict[str, int]
    min_period_ns: float
    directory: Path

    @property
    def netlist(self) -> dict[str, Any]:
        """The netlist as yosys writes it in JSON, the top module only."""
        read: dict[str, Any] = json.loads((self.directory / "netlist.json").read_text())
        module: dict[str, Any] = read["modules"][self.top]
        return module


def missing_tools() -> str:
    """Return one sentence that names what to install, empty if nothing is missing."""
    wanted = []
    if shutil.which("yosys") is None:
        wanted.append("yosys")
    if shutil.which("sta") is None:
        wanted.append("opensta")
    if not wanted:
        return ""
    return (
        f"synthesis needs {' and '.join(wanted)}: `apt-get install {' '.join(wanted)}` "
        "(the table of shipped results needs neither)"
    )


def find_library(path: Path | None = None) -> Path:
    """Return the Liberty file to use: the given one, or Debian's OSU 0.18 um library."""
    if path is not None:
        if not path.is_file():
            raise InputError(f"there is no library file {path}")
        return path
    if not DEBIAN_LIBRARY.is_file():
        raise InputError(
            "no cell library: `apt-get install qflow-tech-osu018` brings the default one, or give "
            "--liberty FILE"
        )
    return DEBIAN_LIBRARY


@functools.cache
def tool_versions() -> str:
    """Return the versions of yosys and OpenSTA, for provenance."""
    sentence = missing_tools()
    if sentence:
        raise InputError(sentence)
    yosys = _output(["yosys", "-V"]).split("(")[0].strip()
    sta = _output(["sta", "-version"]).strip().splitlines()[0]
    return f"{yosys}, OpenSTA {sta}"


def netlist_key(verilog: str, library: Path, *, fuse: bool) -> str:
    """Return the hash of all that a mapped netlist depends on, the tools apart."""
    digest = hashlib.sha256(library.read_bytes())
    digest.update("\0".join([verilog, str(fuse), FLOW]).encode())
    return digest.hexdigest()[:20]


def synthesise(verilog: str, *, top: str, library: Path, fuse: bool = False) -> Mapped:
    """Map Verilog text to the cells of a library and time it; kept by its content and the tools.

    `fuse` lets yosys merge additions and multiplications (alumacc). Raises `InputError` if a tool
    is missing, the library lacks cells, or a tool fails.
    """
    tools = hashlib.sha256(tool_versions().encode()).hexdigest()[:8]
    cells = read_library(library)

    def make(directory: Path) -> None:
        _map(verilog, top, library, directory, fuse)
        _time(top, library, directory)

    key = netlist_key(verilog, library, fuse=fuse)
    return _read(top, cells, kept(f"synth-{top}-{key}-{tools}", make))


def _map(verilog: str, top: str, library: Path, directory: Path, fuse: bool) -> None:
    (directory / "design.v").write_text(verilog)
    driver = _driver(read_library(library))
    (directory / "abc.constr").write_text(
        f"set_driving_cell {driver}\nset_load {ABC_LOAD_FF} [all_outputs]\n"
    )
    script = f"""
read_verilog design.v
hierarchy -top {top}
proc
flatten
synth -top {top} {"" if fuse else "-noalumacc"}
dfflibmap -liberty {library}
abc -liberty {library} -constr abc.constr -D 1
splitnets -ports
opt_clean -purge
tee -o stat.txt stat -liberty {library}
write_verilog -noattr -noexpr -simple-lhs mapped.v
write_json netlist.json
"""
    (directory / "map.ys").write_text(script)
    _tool(["yosys", "-q", "-s", "map.ys"], directory)


def _driver(library: Library) -> str:
    """Return the second smallest inverter, as a driver of average strength."""
    strong = sorted(inverters(library), key=lambda cell: (cell.area, cell.name))
    return strong[min(1, len(strong) - 1)].name


def _time(top: str, library: Path, directory: Path) -> None:
    script = f"""
read_liberty {library}
set_cmd_units -time ns -capacitance pF
read_verilog mapped.v
link_design {top}
create_clock -name clk -period {CLOCK_PERIOD_NS} [get_ports clk]
set_load {OUTPUT_LOAD_PF} [all_outputs]
report_checks -path_delay max -digits 6
"""
    (directory / "time.tcl").write_text(script)
    report = _tool(["sta", "-no_splash", "-exit", "time.tcl"], directory)
    (directory / "timing.txt").write_text(report)
    if not re.search(r"[-\d.]+\s+slack", report):
        raise InputError(f"{top} has no path between registers to time")


def _read(top: str, library: Library, directory: Path) -> Mapped:
    slack = re.search(r"([-\d.]+)\s+slack", (directory / "timing.txt").read_text())
    assert slack is not None
    module = json.loads((directory / "netlist.json").read_text())["modules"][top]
    counts: dict[str, int] = {}
    for cell in module["cells"].values():
        counts[cell["type"]] = counts.get(cell["type"], 0) + 1
    unmapped = sorted(kind for kind in counts if kind not in library.cells)
    if unmapped:
        raise InputError(f"library {library.name} has no cell for {', '.join(unmapped)} of {top}")
    return Mapped(
        top=top,
        area=sum(n * library.cells[kind].area for kind, n in counts.items()),
        flops=sum(n for kind, n in counts.items() if library.cells[kind].clock),
        cells=dict(sorted(counts.items())),
        min_period_ns=round(CLOCK_PERIOD_NS - float(slack.group(1)), 4),
        directory=directory,
    )


def _tool(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode or re.search(r"^(ERROR|Error)[: ]", said, re.M):
        last = next((x for x in said.splitlines() if "rror" in x), said[-300:])
        raise InputError(f"{command[0]} failed: {last}")
    return done.stdout


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
