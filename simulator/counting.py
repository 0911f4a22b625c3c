"""Counts are 64-bit integers: what may not fit is refused before it wraps to a wrong number."""

from __future__ import annotations

from workloads.errors import InputError

LARGEST_COUNT = 2**62
"""Half of what a signed 64-bit integer holds, so that two counts can be added."""


def check_countable(what: str, amount: float) -> None:
    """Raise `InputError` unless an upper bound of the cycles, bytes and MACs of `what` fits.

    >>> check_countable("fc.FF", 1e15)
    """
    if not amount <= LARGEST_COUNT:
        raise InputError(
            f"cycles, bytes or MACs of {what} may exceed {LARGEST_COUNT:.1e}, more than 64 bits "
            "hold; make the workload smaller or the hardware less extreme"
        )
