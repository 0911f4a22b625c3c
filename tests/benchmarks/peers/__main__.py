"""Time other tools and ours on the same questions, in one run, and write down what was run.

    python -m tests.benchmarks.peers [--peers FOLDER] [--out FOLDER]

FOLDER of the peers holds an environment for each tool, as `make peers` makes them; what is not
there is left out, with a sentence. The products are answered by each tool's own model of a 32 x 32
array (their cycles differ, see the exhibit peers/systolic), the sparse squares by libraries that
are installed beside this package, on one thread. Seconds are those of the answer without imports.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from simulator.accelerators import systolic
from simulator.sweep.version import code_version
from tests.benchmarks.test_sparse_products import MATRICES, best_times, libraries
from workloads import gemm

TOOLS = ("scalesim", "zigzag", "accelforge")
PRODUCTS = ((256, 256, 256), (512, 512, 512), (3136, 576, 64))
SQUARES = ("rmat s12 e16", "email-Enron", "banded 17", "uniform 8")
MOST_SECONDS = 300
LIBRARIES = {"scipy": "scipy", "mkl": "sparse-dot-mkl", "graphblas": "python-graphblas"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; write them, and how they were made, with `--out`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    products, squares = list(product_rows(given.peers)), list(square_rows())
    page = f"{_table(products)}\n{_table(squares)}\n{_provenance()}"
    print(page)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "peers.md").write_text(f"# Other tools beside ours\n\n{page}", "utf-8")
    return 0


def product_rows(peers: Path) -> Iterator[dict[str, Any]]:
    """Yield seconds and cycles of each tool and ours for each product."""
    tools = {tool: peers / tool / "bin" / "python" for tool in TOOLS}
    for m, k, n in PRODUCTS:
        seconds, cycles = _ours(m, k, n)
        shape = f"{m} x {k} x {n}"
        version = metadata.version("sparsight")
        yield _row(shape, "sparsight", version, seconds, seconds, f"{cycles:,}")
        for tool, python in tools.items():
            if not python.exists():
                print(f"{tool} is not installed in {peers}; make peers", file=sys.stderr)
                continue
            script = Path(__file__).parent / f"{tool}_product.py"
            with tempfile.TemporaryDirectory() as folder:  # some write where they are started
                done = subprocess.run(
                    [str(python.absolute()), str(script), str(m), str(k), str(n)],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=MOST_SECONDS,
                    cwd=folder,
                )
            answer = json.loads(done.stdout.splitlines()[-1])
            found = f"{answer['cycles']:,.0f}"
            yield _row(shape, tool, answer["version"], answer["seconds"], seconds, found)


def _ours(m: int, k: int, n: int) -> tuple[float, int]:
    """Return the median seconds of an answer with its energy and traffic, and its cycles."""
    config, times, cycles = systolic.Config(tile_overlap="none"), [], 0
    for _ in range(20):
        began = time.perf_counter()
        work = gemm(m, k, n)
        cycles = systolic.simulate(config, systolic.schedule(config, work)).compute_cycles
        times.append(time.perf_counter() - began)
    return statistics.median(times), cycles


def square_rows() -> Iterator[dict[str, Any]]:
    """Yield seconds of our sparse square and each library's, the best of several in turns."""
    from dataflow.spgemm import multiply

    for name in SQUARES:
        matrix = MATRICES[name](np.random.default_rng(1))
        others = libraries(matrix)
        functions = {"sparsight": lambda matrix=matrix: multiply(matrix, matrix), **others}
        times = best_times(functions)
        for tool, seconds in times.items():
            package = LIBRARIES.get(tool, tool)
            version = metadata.version(package)
            yield _row(f"{name}, squared", package, version, seconds, times["sparsight"], "")


def _row(
    question: str, tool: str, version: str, seconds: float, ours: float, cycles: str
) -> dict[str, Any]:
    return {
        "question": question,
        "tool": tool,
        "version": version,
        "seconds": f"{seconds:.3g}",
        "times ours": f"{seconds / ours:,.3g}",
        "cycles": cycles,
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _provenance() -> str:
    """Say what ran where; absolute seconds are those of this machine in this hour."""
    return (
        f"`python -m tests.benchmarks.peers`, sparsight {code_version()}, "
        f"Python {platform.python_version()}, numpy {metadata.version('numpy')}, "
        f"{platform.system()} {platform.machine()}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
