"""Read a transcript of shell commands, run it, and say where it no longer holds.

A transcript is Markdown. In its blocks fenced by ```console, a line `$ command` is run by bash,
with the lines `> ` that follow it appended; the other lines are what it prints. They must occur in
this order, whatever is printed between them; blanks count as one, and a line `...` is for the
reader. A command must succeed, unless a line `[exit 2]` ends its output.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\[exit (\d+)\]")


@dataclass
class Step:
    """A command, the lines that it must print, and its exit code."""

    command: str
    expected: list[str] = field(default_factory=list)
    code: int = 0


def steps(text: str) -> Iterator[Step]:
    """Yield the steps of a transcript."""
    for block in BLOCK.findall(text):
        step: Step | None = None
        for line in block.splitlines():
            if line.startswith("$ "):
                if step is not None:
                    yield step
                step = Step(line.removeprefix("$ "))
            elif step is None:
                raise ValueError(f"a block must begin with a command, not {line!r}")
            elif line.startswith("> ") or line == ">":
                step.command += "\n" + line[2:]
            elif code := EXIT.fullmatch(line.strip()):
                step.code = int(code[1])
            elif line.strip() not in ("", "..."):
                step.expected.append(line)
        if step is not None:
            yield step


def replay(step: Step, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a step in a folder; return what is wrong with it, or nothing."""
    done = subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    missing = first_missing(step.expected, done.stdout)
    if done.returncode == step.code and missing is None:
        return ""
    wrong = (
        f"exit {done.returncode}, not {step.code}" if missing is None else f"no line {missing!r}"
    )
    return f"$ {step.command}\n{wrong} in\n{done.stdout}"


def first_missing(expected: list[str], output: str) -> str | None:
    """Return the first expected line that does not occur in its turn.

    >>> first_missing(["a  b", "c"], "x\\n a b y\\nc\\n")
    >>> first_missing(["c", "a b"], "x\\n a b y\\nc\\n")
    'a b'
    """
    printed = iter(" ".join(line.split()) for line in output.splitlines())
    for line in expected:
        wanted = " ".join(line.split())
        if not any(wanted in each for each in printed):
            return line
    return None
