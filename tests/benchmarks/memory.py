"""Peak memory of a piece of Python, in an interpreter of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

AT_END = """
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print("\\n" + peak.split()[1])
"""


def peak_of(code: str) -> int:
    """Return the most bytes that a fresh interpreter held resident while it ran `code`.

    `code` runs in the root of the project and has to come to its end: what it raises, `SystemExit`
    too, leaves no figure. The kernel keeps this peak (VmHWM) for an address space, so it starts
    anew with the interpreter; `ru_maxrss` would not: it passes from a process to its child, through
    fork and exec. Linux only.

    Raises:
        CalledProcessError: where `code` fails.
        ValueError: where `code` ends the interpreter before its last line.
    """
    command = [sys.executable, "-c", code + AT_END]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return int(done.stdout.rpartition("\n")[0].rpartition("\n")[2]) * 1024
