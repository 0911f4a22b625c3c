"""What is measured on the values of a tensor, by a capture or by an importer of real weights."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import InputError
from workloads.patterns import NM, parse_pattern

MEASURED_PATTERNS = ((1, 4), (2, 4), (2, 8))
"""The N:M whose energy is measured, by (M, N)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a capture measured on the values of one tensor; fractions of its elements or energy.

    `nm_energy` maps "N:M" to the share of the sum of squares kept by magnitude selection along K,
    and is sorted by (M, N). Every number lies in 0 to 1.
    """

    zero_fraction: float
    nm_energy: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        _fraction(self.zero_fraction, "zero fraction")
        energy = dict(self.nm_energy)
        for pattern, share in energy.items():
            _fraction(share, f"energy kept by {pattern}")
        if len(energy) < len(self.nm_energy):
            raise InputError(f"energy kept must name each N:M once, not {self.nm_energy}")
        ordered = sorted(energy.items(), key=lambda item: _nm_sizes(item[0])[::-1])
        object.__setattr__(self, "nm_energy", tuple(ordered))


def _fraction(value: float, what: str) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{what} must lie between 0 and 1, not {value!r}")


def _nm_sizes(text: str) -> tuple[int, int]:
    pattern = parse_pattern(text)
    if type(pattern) is not NM or str(pattern) != text:
        raise InputError(f"energy kept must be of a pattern N:M, not {text!r}")
    return pattern.n, pattern.m
