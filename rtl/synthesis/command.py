"""`sparsight rtl synth`: measure one design."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtl.settings import whole_number
from rtl.synthesis.designs import DESIGNS, find
from workloads.errors import InputError


def synth(design: str, settings: Mapping[str, str], liberty: Path | None) -> dict[str, Any]:
    """Return area, flops, min_period_ns and energy_per_op_j of a design, and how they were made.

    `settings` are parameters as text. Raises `InputError` for an unknown design or parameter, a
    value that is no whole number, missing tools, or a library that lacks needed cells.
    """
    from rtl.synthesis import flow, table

    _check_known(design)
    known = find(design)
    known.check(settings)
    changes = {name: whole_number(name, text) for name, text in settings.items()}
    table.check_mappable(known)
    sentence = flow.missing_tools()
    if sentence:
        raise InputError(sentence)
    return table.measure(known, library=liberty, **changes).as_dict()


def _check_known(name: str) -> None:
    """Raise `InputError` for a design that can be generated but has no recipe to be mapped."""
    from rtl import designs
    from rtl.synthesis.units import UNITS

    mapped = [known.name for known in (DESIGNS | UNITS).values() if not known.memories]
    every = {known.name for known in designs.DESIGNS} - DESIGNS.keys()
    if name in every and name not in mapped:
        raise InputError(f"rtl synth does not map design {name}, but {', '.join(mapped)}")
