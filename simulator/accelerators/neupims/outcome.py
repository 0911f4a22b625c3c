"""What either preset of the model finds out about a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Clocks of each stage and operator (named stage.operator), and what the device counted."""

    stages: dict[str, int]
    operators: dict[str, int]
    moved_bytes: dict[str, int]
    """Bytes of each operator over the interface: accesses, and answers of the PIM, as a whole."""
    commands: dict[str, int]
    matrix_busy: int
    pim_busy: float
    """PIM clocks, mean over the channels."""
    active_clocks: tuple[float, float]
    """Clocks in which a rank had a row open, in the normal and the PIM buffers, all ranks added."""
