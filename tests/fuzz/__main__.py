"""Fuzz the readers for a while: `python -m tests.fuzz --seconds 600 [TARGET...]`.

The time is shared evenly: each target is run by Hypothesis in this process and, where Atheris is
installed, by Atheris (guided by coverage) in a process of its own. A line per run says how many
inputs there were, how many were read, the slowest one and the growth of memory. The exit code is
1 if a reader raised anything but `InputError`, was slower than `watch.SLOW_S`, or grew by
`watch.MOST_GROWTH`; its input is written to the folder of `--findings`, with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.mutations import contents
from tests.fuzz.targets import targets
from tests.fuzz.watch import MOST_GROWTH, Watch

BATCH = 500
"""Inputs between two looks at the clock."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(targets()))
    parser.add_argument("--seconds", type=float, default=60.0, help="in total (default 60)")
    parser.add_argument("--findings", type=Path, default=Path("fuzz/findings"))
    given = parser.parse_args(arguments)
    names = given.names or list(targets())
    guided = importlib.util.find_spec("atheris") is not None
    each = given.seconds / len(names) / (2 if guided else 1)
    clean = True
    for name in names:
        clean &= with_hypothesis(Watch(name, targets()[name], given.findings), each)
        if guided:
            clean &= with_atheris(name, each, given.findings)
    if not guided:
        print("Atheris is not installed (pip install atheris): Hypothesis only")
    return int(not clean)


def with_hypothesis(watch: Watch, seconds: float) -> bool:
    """Draw inputs until the time is over; return whether nothing was found."""
    began = time.perf_counter()
    unattended = settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @unattended
    @given(content=contents(watch.target))
    def check(content: bytes) -> None:
        watch(content)

    while time.perf_counter() - began < seconds:
        check()
    print(watch.line("hypothesis", time.perf_counter() - began), flush=True)
    return not watch.wrong and watch.grown < MOST_GROWTH


def with_atheris(name: str, seconds: float, findings: Path) -> bool:
    """Run Atheris on one target in a process of its own; return whether it found nothing new."""
    before = set(findings.glob("*.why"))
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(seconds), str(findings)]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False, text=True, errors="replace")
    print(_line(name, seconds, done.stderr, set(findings.glob("*.why")) - before), flush=True)
    if done.returncode:
        print(done.stderr[-2000:])
    return done.returncode == 0 and set(findings.glob("*.why")) == before


def _line(name: str, seconds: float, log: str, findings: set[Path]) -> str:
    """Say what Atheris tried, from the statistics at the end of its log."""
    found = dict(re.findall(r"^stat::(\w+): +(\d+)$", log, re.MULTILINE))
    inputs, slowest, peak = (
        found.get(key, "-")
        for key in ("number_of_executed_units", "slowest_unit_time_sec", "peak_rss_mb")
    )
    return (
        f"{name:<12} atheris     {seconds:6.0f} s {inputs:>9} inputs  slowest {slowest} s  "
        f"peak {peak} MiB  {len(findings)} findings"
    )


if __name__ == "__main__":
    sys.exit(main())
