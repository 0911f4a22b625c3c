"""A sparsity method: what it does to a workload, and when in a training run.

A method turns a dense workload into a sparse one in steps: a `Rule` gives an operand a pattern in a
pass, a `Change` rewrites the workload (other shapes, other products, other data types). Steps are
taken in order; rules that follow each other are assigned together (`workloads.methods.masking`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from workloads.errors import InputError
from workloads.methods.masking import Policy, Rule, assign
from workloads.operations import Pass, Workload

__all__ = ["Change", "Method", "Rule", "Stage", "Step", "Steps"]


class Change(NamedTuple):
    """A function `(workload, hyper-parameters) -> workload` with its hyper-parameters bound."""

    rewrite: Callable[..., Workload]
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, workload: Workload) -> Workload:
        """Rewrite the workload."""
        return self.rewrite(workload, **dict(self.options))


Step = Rule | Change
Steps = tuple[Step, ...]


def change(rewrite: Callable[..., Workload], **options: Any) -> Change:
    """Bind hyper-parameters to a function of the vocabulary."""
    return Change(rewrite, tuple(options.items()))


class Stage(NamedTuple):
    """The steps that hold from `start` to `end`, both fractions of the training run."""

    start: float
    end: float
    steps: Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Steps over a training run.

    `name` is the text that `parse_method` reads. `schedule` holds (start, steps): the steps that
    hold from that fraction of the run on; the first start is 0. `refresh_steps` is the number of
    training steps that a mask is kept for (1: selected anew in every step); a `static` mask is
    never selected in training. In a step that selects anew, the rules named in `dense_on_refresh`
    do not hold.
    """

    name: str
    source: str
    schedule: tuple[tuple[float, Steps], ...]
    first_dense: bool = True
    classifier_dense: bool = True
    attention_dense: bool = True
    refresh_steps: int = 1
    dense_on_refresh: tuple[tuple[Pass, str], ...] = ()
    static: bool = False

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.schedule]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or not starts[-1] < 1:
            raise InputError(
                f"schedule of {self.name} must start at 0 and rise to below 1, not at {starts}"
            )
        for _, steps in self.schedule:
            rules = [step for step in steps if isinstance(step, Rule)]
            if len({(rule.pass_, rule.tensor) for rule in rules}) < len(rules):
                raise InputError(f"{self.name} must give a tensor one pattern in a pass, not two")
        if self.refresh_steps < 1:
            raise InputError(
                f"refresh_steps of {self.name} must be at least 1, not {self.refresh_steps}"
            )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule with the end of each stage."""
        ends = [start for start, _ in self.schedule[1:]] + [1.0]
        return tuple(
            Stage(start, end, steps)
            for (start, steps), end in zip(self.schedule, ends, strict=True)
        )

    def at(self, progress: float) -> Steps:
        """Return the steps in force after the fraction `progress` of the run."""
        if not 0 <= progress <= 1:
            raise InputError(f"progress of {self.name} must lie in 0 to 1, not {progress!r}")
        return self.schedule[bisect_right([start for start, _ in self.schedule], progress) - 1][1]

    def after_dense(self, fraction: float) -> Method:
        """Return the method with its whole schedule squeezed behind a dense warm-up."""
        if not 0 < fraction < 1:
            raise InputError(f"dense warm-up must be a fraction between 0 and 1, not {fraction!r}")
        later = tuple((fraction + start * (1 - fraction), steps) for start, steps in self.schedule)
        return replace(self, schedule=((0.0, ()), *later))

    def within(self, start: float, end: float) -> Method:
        """Return the method in a window of the run, dense before and after it.

        The schedule is not squeezed: what it says outside of the window is left out.
        """
        if not 0 <= start < end <= 1:
            raise InputError(
                f"the window of {self.name} must be two fractions of the run, the smaller first, "
                f"not {start:g}-{end:g}"
            )
        starts = sorted({0.0, start, end, *(s for s, _ in self.schedule)} - {1.0})
        schedule = tuple((s, self.at(s) if start <= s < end else ()) for s in starts)
        named = f"{self.name}[{start:g}-{end:g}]"
        return replace(self, name=named, schedule=_merged(schedule))

    def __add__(self, other: Method) -> Method:
        """Return both methods, the steps of `other` after those of this one at every time.

        A layer stays dense if either of them leaves it dense.
        """
        starts = sorted({start for method in (self, other) for start, _ in method.schedule})
        return Method(
            name=f"{self.name}+{other.name}",
            source="; ".join(dict.fromkeys(s for s in (self.source, other.source) if s)),
            schedule=_merged(tuple((s, self.at(s) + other.at(s)) for s in starts)),
            first_dense=self.first_dense or other.first_dense,
            classifier_dense=self.classifier_dense or other.classifier_dense,
            attention_dense=self.attention_dense or other.attention_dense,
            refresh_steps=max(self.refresh_steps, other.refresh_steps),
            dense_on_refresh=self.dense_on_refresh + other.dense_on_refresh,
            static=self.static and other.static,
        )

    def __call__(
        self, workload: Workload, progress: float = 1.0, *, refresh: bool = True
    ) -> Workload:
        """Return `workload` as the method makes it after the fraction `progress` of the run.

        With `refresh` false it is one of the steps between two selections of the mask. Raises
        `InputError` if a method was applied to the workload before.
        """
        if workload.method != "dense":
            raise InputError(
                f"{self.name} must be applied to a dense workload, not to {workload.name!r}, "
                f"which is {workload.method}"
            )
        steps, after, notes = self.at(progress), workload, list[str]()
        for masks, group in groupby(steps, key=lambda step: isinstance(step, Rule)):
            if masks:
                after, said = assign(after, self._rules(group, refresh), self._policy(refresh))
                notes += said
                continue
            for rewrite in group:
                after = rewrite(after)  # type: ignore[operator]
        notes += self._notes(steps, progress, refresh)
        return replace(after, method=self.name, notes=(*after.notes, *notes))

    def flop_ratio(self, workload: Workload, progress: float = 1.0) -> float:
        """Return kept multiply-accumulates over those of the dense `workload`, refreshes included.

        Of `refresh_steps` steps one selects the mask anew; it may multiply what the others skip. A
        workload without products has the ratio 1.
        """
        if not workload.macs:
            return 1.0
        kept = self(workload, progress).kept_macs
        if self.dense_on_refresh and self.refresh_steps > 1:
            between = self(workload, progress, refresh=False).kept_macs
            return (kept + (self.refresh_steps - 1) * between) / self.refresh_steps / workload.macs
        return kept / workload.macs

    def average_flop_ratio(self, workload: Workload) -> float:
        """Return the training-FLOP ratio of a whole run: the stages' ratios, weighted by length.

        >>> from workloads import networks
        >>> step = networks.resnet9().training_step()
        >>> from workloads.methods import bdwp
        >>> half = bdwp(2, 8).after_dense(0.5).average_flop_ratio(step)
        >>> half == (1 + bdwp(2, 8)(step).flop_ratio) / 2
        True
        """
        return sum(
            (stage.end - stage.start) * self.flop_ratio(workload, stage.start)
            for stage in self.stages
        )

    def _rules(self, group: Iterator[Step], refresh: bool) -> tuple[Rule, ...]:
        """Return the rules of a group that hold in this step."""
        rules = tuple(step for step in group if isinstance(step, Rule))
        if not refresh or self.refresh_steps <= 1:
            return rules
        return tuple(r for r in rules if (r.pass_, r.tensor) not in self.dense_on_refresh)

    def _policy(self, refresh: bool) -> Policy:
        selects = not self.static and (refresh or self.refresh_steps == 1)
        return Policy(
            self.name, self.first_dense, self.classifier_dense, self.attention_dense, selects
        )

    def _notes(self, steps: Steps, progress: float, refresh: bool) -> Iterator[str]:
        if not steps and len(self.schedule) > 1:
            yield f"{self.name} is still dense after {progress:.0%} of the run"
        if steps and self.refresh_steps > 1 and refresh:
            yield (
                f"{self.name} keeps a mask for {self.refresh_steps} steps; this is a step that "
                "selects it anew"
            )


def _merged(schedule: tuple[tuple[float, Steps], ...]) -> tuple[tuple[float, Steps], ...]:
    """Leave out starts at which nothing changes."""
    kept = schedule[:1]
    for start, steps in schedule[1:]:
        if steps != kept[-1][1]:
            kept += ((start, steps),)
    return kept
