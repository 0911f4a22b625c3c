"""`sparsight rtl synth`: measure one design."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtl.synthesis.designs import find
from workloads.errors import InputError


def synth(design: str, settings: Sequence[str], liberty: Path | None) -> dict[str, Any]:
    """Return area, flops, min_period_ns and energy_per_op_j of a design, and how they were made.

    `settings` are texts `parameter=number`. Raises `InputError` for an unknown design or parameter,
    missing tools, or a library that lacks needed cells.
    """
    from rtl.synthesis import flow, table

    known = find(design)
    changes = dict(_setting(text) for text in settings)
    known.check(changes)
    sentence = flow.missing_tools()
    if sentence:
        raise InputError(sentence)
    return table.measure(known, library=liberty, **changes).as_dict()


def _setting(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    try:
        number = int(value)
    except ValueError:
        number = None
    if not equals or not name.strip() or number is None:
        raise InputError(f"--set must be parameter=whole number, not {text!r}")
    return name.strip(), number
