"""The result of a simulation: one row per operation, totals, energy, and checks of itself.

Every accelerator returns this type; extra columns are welcome if `simulator.glossary` defines them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.counting import check_countable
from simulator.glossary import GLOSSARY
from workloads.rounding import ceil_div

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = (
    "name",
    "layer",
    "pass",
    "kind",
    "m",
    "k",
    "n",
    "cycles",
    "compute_cycles",
    "memory_cycles",
    "useful_macs",
    "issued_macs",
    "dram_bytes",
    "compulsory_bytes",
    "bottleneck",
)
"""Columns that every report has; `m`, `k` and `n` are zero for work that is no matrix product."""

Column = NDArray[Any] | Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Cycles, bytes and energy of a workload on one configured accelerator.

    `columns` holds one array per column of the operation table, all of the same length.
    `peak_macs_per_cycle` bounds `issued_macs`. `energy_pj` maps a component to picojoules of the
    whole workload; empty if the model has no energy. `cycles_total` is the end-to-end time where
    operations overlap; without it the operations run one after the other and their cycles add up.
    `headline` names the keys of `extra` that stand before the totals, where the totals of two
    reports need not cover the same work.
    Raises `AssertionError` when the numbers contradict each other: that is a bug of a model. Raises
    `InputError` when a column or its total does not fit 64 bits.
    """

    accelerator: str
    config: Any
    workload: str
    method: str
    clock_hz: float
    peak_macs_per_cycle: int
    columns: Mapping[str, Column]
    energy_pj: Mapping[str, float] = field(default_factory=dict)
    cycles_total: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    headline: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.columns]
        assert not missing, f"report lacks the columns {missing}"
        undefined = [name for name in self.columns if name not in GLOSSARY]
        assert not undefined, f"simulator.glossary does not define {undefined}"
        lengths = {name: len(column) for name, column in self.columns.items()}
        assert len(set(lengths.values())) == 1, f"columns differ in length: {lengths}"
        for name in self.columns:
            if name.endswith(("cycles", "bytes", "macs")):
                total = float(self._array(name).sum(dtype=float))
                check_countable(f"{self.workload} on {self.accelerator}", total)
        check_countable(f"one cycle of {self.accelerator}", self.peak_macs_per_cycle)
        cycles = self._array("cycles")
        compute = self._array("compute_cycles")
        useful, issued = self._array("useful_macs"), self._array("issued_macs")
        assert (cycles >= 0).all()
        assert (compute <= cycles).all(), "an operation is busy for longer than it takes"
        assert (useful <= issued).all(), "more MACs are useful than were issued"
        assert (ceil_div(issued, self.peak_macs_per_cycle) <= compute).all(), (
            "more MACs than the peak"
        )
        assert (self._array("dram_bytes") >= self._array("compulsory_bytes")).all(), (
            "less traffic than compulsory"
        )

    def _array(self, name: str) -> NDArray[Any]:
        return np.asarray(self.columns[name])

    @cached_property
    def cycles(self) -> int:
        """Clock cycles of the whole workload."""
        if self.cycles_total is not None:
            return self.cycles_total
        return int(self._array("cycles").sum())

    @property
    def compute_cycles(self) -> int:
        """Cycles in which the compute array works, memory assumed infinitely fast."""
        return int(self._array("compute_cycles").sum())

    @property
    def seconds(self) -> float:
        """Cycles over the clock."""
        return self.cycles / self.clock_hz

    @property
    def energy_j(self) -> float | None:
        """Energy of all components in joules; None if the model has no energy."""
        return sum(self.energy_pj.values()) * 1e-12 if self.energy_pj else None

    @property
    def dram_bytes(self) -> int:
        """Bytes over the off-chip interface, reads and writes."""
        return int(self._array("dram_bytes").sum())

    @property
    def useful_macs(self) -> int:
        """Multiply-accumulates that the sparsity patterns leave."""
        return int(self._array("useful_macs").sum())

    @property
    def utilisation(self) -> float:
        """Useful MACs over (cycles x peak MACs per cycle): never above one."""
        return self.useful_macs / (self.cycles * self.peak_macs_per_cycle) if self.cycles else 0.0

    def frame(self) -> pd.DataFrame:
        """Return the operation table as a pandas DataFrame, one row per operation."""
        import pandas as pd

        return pd.DataFrame({name: np.asarray(column) for name, column in self.columns.items()})

    def summary(self) -> dict[str, Any]:
        """Return the totals under the stable keys of the command line."""
        return {
            "accelerator": self.accelerator,
            "workload": self.workload,
            "method": self.method,
            **{name: self.extra[name] for name in self.headline},
            "config": config_values(self.config),
            "cycles": self.cycles,
            "compute_cycles": self.compute_cycles,
            "seconds": self.seconds,
            "energy_j": self.energy_j,
            "dram_bytes": self.dram_bytes,
            "utilisation": self.utilisation,
            **self.extra,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, the energy breakdown, the notes and the operations, JSON-ready."""
        names = list(self.columns)
        rows = zip(*(np.asarray(self.columns[name]).tolist() for name in names), strict=True)
        return {
            **self.summary(),
            "energy_pj": dict(self.energy_pj),
            "notes": list(self.notes),
            "operations": [dict(zip(names, row, strict=True)) for row in rows],
        }


def config_values(config: Any) -> dict[str, Any]:
    """Return the fields of a config dataclass as plain values."""
    return dataclasses.asdict(config)
