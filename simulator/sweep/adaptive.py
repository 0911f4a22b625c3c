"""Searches whose next designs depend on results: Optuna's NSGA-II and TPE by ask and tell.

A generation of designs is asked for, run like any block, and told in the order in which it was
asked. What is asked therefore depends on the seed and on earlier results alone, not on who finished
first: any number of processes gives the same table, and a search that was stopped asks the same
questions again and reads the answers that the store already has.

An objective is summed over the networks and batches that every design runs. A design that breaks a
constraint or fails is told as failed; one that was asked before is told its result again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.sweep.definition import Definition
from simulator.sweep.evaluate import block_size
from simulator.sweep.sampling import CHUNK, Drawn, check_not_empty, check_size
from simulator.sweep.space import Designs, Space
from simulator.sweep.store import Store
from workloads.errors import InputError

FRUITLESS_ASKS = 50
"""Designs asked for in vain, for each one wanted, after which a search ends early."""


@dataclass(frozen=True)
class Generation:
    """New designs of one generation; a block is all of them, or each by itself."""

    accelerator: str
    designs: Designs
    numbers: tuple[int, ...]

    def block(self, number: int) -> tuple[str, Designs]:
        """Return the accelerator and the designs of a block."""
        if len(self.numbers) < len(self.designs):
            return self.accelerator, self.designs
        place = slice(self.numbers.index(number), self.numbers.index(number) + 1)
        part = Designs(
            numbers=self.designs.numbers[place],
            methods=self.designs.methods[place],
            fields={name: values[place] for name, values in self.designs.fields.items()},
            quantities={name: values[place] for name, values in self.designs.quantities.items()},
        )
        return self.accelerator, part


def check_search(definition: Definition) -> None:
    """Raise `InputError` without Optuna or for a space without designs."""
    _optuna()
    check_size(definition)
    for space in definition.spaces:
        check_not_empty(space, Drawn(space, 1, CHUNK, definition.search.seed))


def generations(definition: Definition, store: Store) -> Iterator[Generation]:
    """Yield the generations of every accelerator's search, one after the other."""
    for place, space in enumerate(definition.spaces):
        first = place * definition.search.points
        yield from _Search(definition, store, space, first).generations()


class _Search:
    """The search of one space; its designs are numbered from `first`."""

    def __init__(self, definition: Definition, store: Store, space: Space, first: int) -> None:
        optuna = _optuna()
        self.definition, self.store, self.space = definition, store, space
        self.next, self.end = first, first + definition.search.points
        search = definition.search
        if search.kind == "nsga2":
            sampler: Any = optuna.samplers.NSGAIISampler(
                population_size=search.population, seed=search.seed
            )
        else:
            sampler = optuna.samplers.TPESampler(seed=search.seed, multivariate=True)
        self.study = optuna.create_study(
            directions=["minimize"] * len(definition.objectives), sampler=sampler
        )
        self.distributions = _distributions(space)
        self.known: dict[tuple[Any, ...], int] = {}

    def generations(self) -> Iterator[Generation]:
        """Ask, yield what is new, tell."""
        chances = FRUITLESS_ASKS
        while self.next < self.end and chances:
            trials = [
                self.study.ask(self.distributions) for _ in range(self.definition.search.population)
            ]
            positions = np.array([_position(self.space, trial) for trial in trials])
            columns = self.space.decode(positions)
            keep = self.space.allowed(positions, columns)
            numbers = self._numbers(columns, keep)
            fresh = numbers >= self.next
            # A design asked for twice in one generation is new once.
            fresh &= np.isin(np.arange(len(numbers)), np.unique(numbers, return_index=True)[1])
            if fresh.any():
                yield self._generation(self.space.designs(numbers, columns, fresh))
                self.next += int(fresh.sum())
            chances = FRUITLESS_ASKS if fresh.any() else chances - 1
            self._tell(trials, numbers)

    def _numbers(self, columns: dict[str, Any], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of every design, -1 for those that are not allowed or too many."""
        free = [columns[dimension.name].tolist() for dimension in self.space.dimensions]
        numbers = np.full(len(keep), -1, np.int64)
        following = self.next
        for place, key in enumerate(zip(*free, strict=True)):
            if not keep[place]:
                continue
            if key not in self.known and following < self.end:
                self.known[key] = following
                following += 1
            numbers[place] = self.known.get(key, -1)
        return numbers

    def _generation(self, designs: Designs) -> Generation:
        whole = block_size(self.space.accelerator) > 1
        numbers = designs.numbers[:1] if whole else designs.numbers
        return Generation(self.space.accelerator, designs, tuple(numbers.tolist()))

    def _tell(self, trials: list[Any], numbers: NDArray[np.int64]) -> None:
        optuna = _optuna()
        values = self._values(numbers)
        for trial, number in zip(trials, numbers.tolist(), strict=True):
            if number in values:
                self.study.tell(trial, values[number])
            else:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _values(self, numbers: NDArray[np.int64]) -> dict[int, list[float]]:
        """Return the objectives to minimise of every design that has them and is feasible."""
        signs = self.definition.signs
        columns = ["point", *signs]
        feasible = bool(self.definition.result_constraints)
        columns += ["feasible"] if feasible else []
        wanted = sorted({number for number in numbers.tolist() if number >= 0})
        if not wanted:
            return {}
        where = "WHERE point BETWEEN ? AND ?"
        sums: dict[int, list[float]] = {}
        wrong: set[int] = set()
        for point, *row in self.store.rows(columns, where, (wanted[0], wanted[-1])):
            allowed = not feasible or row.pop() == 1
            if not allowed or any(value is None for value in row):
                wrong.add(point)
                continue
            signed = [sign * value for sign, value in zip(signs.values(), row, strict=True)]
            before = sums.get(point, [0.0] * len(signed))
            sums[point] = [a + b for a, b in zip(before, signed, strict=True)]
        return {number: value for number, value in sums.items() if number not in wrong}


def _distributions(space: Space) -> dict[str, Any]:
    """Return what Optuna draws: places in a list of numbers in order, texts by category."""
    optuna = _optuna()
    found: dict[str, Any] = {}
    for dimension, levels in zip(space.dimensions, space.shape, strict=True):
        if dimension.levels is None:
            found[dimension.name] = optuna.distributions.FloatDistribution(0.0, 1.0)
        elif dimension.levels.dtype.kind in "if":
            found[dimension.name] = optuna.distributions.IntDistribution(0, levels - 1)
        else:
            choices = list(range(levels))
            found[dimension.name] = optuna.distributions.CategoricalDistribution(choices)
    return found


def _position(space: Space, trial: Any) -> list[float]:
    return [float(trial.params[dimension.name]) for dimension in space.dimensions]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "nsga2 and tpe need Optuna: pip install 'sparsight[search]'; "
            "grid, random and sobol do not"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
