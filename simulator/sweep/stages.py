"""Which designs come next: one stage for a fixed sample, a stage a generation for a search."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from simulator.sweep.definition import Definition
from simulator.sweep.evaluate import block_size
from simulator.sweep.runner import Stage
from simulator.sweep.sampling import Sample, samples
from simulator.sweep.space import Designs
from simulator.sweep.store import Store


@dataclass(frozen=True)
class FixedStage:
    """The samples of all accelerators one after the other, numbered through."""

    accelerators: Sequence[str]
    samples: Sequence[Sample]

    @property
    def numbers(self) -> range:
        """The numbers of all blocks."""
        return range(sum(sample.blocks for sample in self.samples))

    def block(self, number: int) -> tuple[str, Designs]:
        """Return the accelerator and the designs of a block."""
        ends = list(accumulate(sample.blocks for sample in self.samples))
        place = bisect_right(ends, number)
        before = sum(sample.designs for sample in self.samples[:place])
        local = number - (ends[place - 1] if place else 0)
        designs = self.samples[place].block(local)
        return self.accelerators[place], replace(designs, numbers=designs.numbers + before)


@dataclass(frozen=True)
class Plan:
    """A study that can start; `fixed` is its only stage unless it is a search."""

    definition: Definition
    fixed: FixedStage | None

    @property
    def most_tasks(self) -> int:
        """How many tasks there are to run at once."""
        if self.fixed is not None:
            return len(self.fixed.numbers)
        slow = any(block_size(name) == 1 for name in self.definition.accelerators)
        return self.definition.search.population if slow else 1

    def stages(self, store: Store) -> Iterator[Stage]:
        """Yield the stages; a search reads the results of one before it yields the next."""
        if self.fixed is not None:
            yield self.fixed
            return
        from simulator.sweep.adaptive import generations

        yield from generations(self.definition, store)


def plan(definition: Definition) -> Plan:
    """Return the plan of a study; raise `InputError` if it has no designs or lacks Optuna."""
    if definition.search.adaptive:
        from simulator.sweep.adaptive import check_search

        check_search(definition)
        return Plan(definition, None)
    sizes = {name: block_size(name) for name in definition.accelerators}
    return Plan(definition, FixedStage(definition.accelerators, samples(definition, sizes)))
