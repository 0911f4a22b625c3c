"""A whole training run: a method's schedule integrated over its steps, and when it pays off.

Every stage of the schedule is simulated as one step; where masks are kept for several steps, as the
step that selects them anew and as one between two of these. A run is the sum of its steps: stages
run one after the other, nothing overlaps from step to step.

*Exact*: the sum. *Approximate*: steps of a stage are equal; a stage begins at a whole step.
*Ignored*: evaluation, checkpoints and the start of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from simulator.accelerators import find
from simulator.report import Report
from workloads.errors import InputError
from workloads.methods import Method, dense
from workloads.operations import Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Equal steps from `first` (inclusive) to `end` (exclusive), each `seconds` long.

    `energy_j` is that of one step, None if the accelerator has no energy model. Both are averages
    where some steps select their masks anew.
    """

    first: int
    end: int
    seconds: float
    energy_j: float | None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.end - self.first


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Segments of a run, in order; `setup_seconds` and `setup_joules` come before the first step.

    Setup is what a method needs once: a search for its masks, a calibration.
    """

    accelerator: str
    method: str
    segments: tuple[Segment, ...]
    setup_seconds: float = 0.0
    setup_joules: float = 0.0

    @property
    def steps(self) -> int:
        """Number of steps of the run."""
        return self.segments[-1].end

    @cached_property
    def seconds(self) -> float:
        """Time of the whole run."""
        return self.setup_seconds + sum(s.steps * s.seconds for s in self.segments)

    @cached_property
    def energy_j(self) -> float | None:
        """Energy of the whole run; None if the accelerator has no energy model."""
        parts = [s.energy_j for s in self.segments]
        if any(part is None for part in parts):
            return None
        return self.setup_joules + sum(s.steps * (s.energy_j or 0.0) for s in self.segments)

    def seconds_until(self, step: int) -> float:
        """Return the time from the start of the run to the end of `step` steps."""
        return self.setup_seconds + sum(
            max(0, min(step, s.end) - s.first) * s.seconds for s in self.segments
        )

    def frame(self) -> pd.DataFrame:
        """Return one row per segment."""
        import pandas as pd

        rows = [
            {
                "first_step": s.first,
                "steps": s.steps,
                "seconds_per_step": s.seconds,
                "seconds": s.steps * s.seconds,
                "energy_j": None if s.energy_j is None else s.steps * s.energy_j,
            }
            for s in self.segments
        ]
        return pd.DataFrame(rows)


def train(
    accelerator: str,
    config: Any,
    workload: Workload,
    method: Method,
    *,
    steps: int,
    setup_steps: float = 0.0,
) -> TrainingRun:
    """Simulate a run of `steps` training steps of the dense `workload` under `method`.

    `setup_steps` is what the method needs before it starts, in dense steps. Raises `InputError` for
    a run without steps, or if `workload` is not dense.

    >>> from workloads import networks
    >>> from workloads.methods import bdwp
    >>> from simulator.accelerators import sat
    >>> step = networks.resnet9(batch=32).training_step()
    >>> run = train("sat", sat.Config(), step, bdwp(2, 8).after_dense(0.5), steps=100)
    >>> [segment.steps for segment in run.segments]
    [50, 50]
    """
    if steps < 1 or setup_steps < 0:
        raise InputError(
            f"a run must have at least one step and no negative setup, not {steps} and "
            f"{setup_steps}"
        )
    model = find(accelerator)

    def simulate(variant: Workload) -> Report:
        return model.simulate(config, model.schedule(config, variant))

    setup = simulate(workload) if setup_steps else None
    segments = [
        _segment(method, stage.start, workload, simulate, first, end)
        for stage in method.stages
        if (first := round(stage.start * steps)) < (end := round(stage.end * steps))
    ]
    return TrainingRun(
        accelerator=accelerator,
        method=method.name,
        segments=tuple(segments),
        setup_seconds=setup_steps * setup.seconds if setup else 0.0,
        setup_joules=setup_steps * (setup.energy_j or 0.0) if setup else 0.0,
    )


def _segment(
    method: Method, at: float, workload: Workload, simulate: Any, first: int, end: int
) -> Segment:
    """Simulate one step of a stage; of `refresh_steps` steps one selects the masks anew."""
    reports: Sequence[Report] = [simulate(method(workload, at))]
    weights = [1.0]
    if method.refresh_steps > 1 and method.at(at):
        reports = [*reports, simulate(method(workload, at, refresh=False))]
        weights = [1 / method.refresh_steps, 1 - 1 / method.refresh_steps]
    energies = [report.energy_j for report in reports]
    energy = (
        None
        if any(each is None for each in energies)
        else sum(w * (e or 0.0) for w, e in zip(weights, energies, strict=True))
    )
    seconds = sum(w * r.seconds for w, r in zip(weights, reports, strict=True))
    return Segment(first=first, end=end, seconds=seconds, energy_j=energy)


def break_even(run: TrainingRun, baseline: TrainingRun) -> int | None:
    """Return the first step after which `run` has taken less time than `baseline`; None if never.

    Both have the same number of steps. A method that only gets slower after it was ahead has still
    paid for itself: the first such step counts.
    """
    if run.steps != baseline.steps:
        raise InputError(
            f"runs must have equally many steps to compare, not {run.steps} and {baseline.steps}"
        )
    edges = sorted({s.end for s in run.segments} | {s.end for s in baseline.segments})
    before, lead = 0, baseline.seconds_until(0) - run.seconds_until(0)
    for edge in edges:
        after = baseline.seconds_until(edge) - run.seconds_until(edge)
        slope = (after - lead) / (edge - before)
        if lead + slope > 0:
            return before + 1
        if after > 0:
            return before + int(-lead / slope) + 1
        before, lead = edge, after
    return None


def baseline(accelerator: str, config: Any, workload: Workload, *, steps: int) -> TrainingRun:
    """Simulate the dense run that others are compared with."""
    return train(accelerator, config, workload, dense(), steps=steps)
