"""Numbered lines of a text file, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workloads.errors import InputError
from workloads.files import read_text


class Place(NamedTuple):
    """A line of a file, as errors name it."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


def numbered_lines(path: Path, what: str) -> list[tuple[Place, str]]:
    """Return the lines that are not blank, stripped; `what` the file is goes into errors."""
    # Only line ends count as such, not the form feeds and separators of str.splitlines.
    lines = read_text(path, what).split("\n")
    return [
        (Place(path, number), line.strip())
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def whole_number(text: str, what: str, place: Place, *, least: int) -> int:
    """Read a decimal number of at least `least`; `InputError` names `what` and where."""
    digits = text.removeprefix("-")
    value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None
    if value is None or value < least:
        raise InputError(
            f"{place}: {what} must be a whole number of at least {least}, not {text!r}"
        )
    return value
