"""Blocks of designs that do not depend on results: the grid, a list, random and Sobol samples.

Every block can be made again by its number alone, in any process and in any order, and no block is
kept: a study of a million designs takes the memory of a few blocks. Only random and Sobol samples
keep one whole number a design (which draw it came from).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.sweep.definition import Definition
from simulator.sweep.expressions import Expression
from simulator.sweep.space import Designs, Space
from workloads.errors import InputError
from workloads.rounding import ceil_div

CHUNK = 4096
MOST_POINTS = 100_000_000
"""Points of a study, at most: half an hour or more for the fastest model, and 10 GB of results."""

FRUITLESS_CHUNKS = 64
"""Chunks of draws without a new design after which a sample counts as exhausted."""


class Sample(Protocol):
    """Numbered designs of one space, in blocks."""

    @property
    def designs(self) -> int:
        """How many numbers designs may have."""

    @property
    def blocks(self) -> int:
        """How many blocks there are."""

    def block(self, number: int) -> Designs:
        """Return the designs of a block, those that the constraints exclude left out."""


@dataclass(frozen=True)
class Grid:
    """All designs of a space of levels, `size` numbers a block."""

    space: Space
    size: int

    @property
    def designs(self) -> int:
        """Designs of the full grid."""
        return self.space.size

    @property
    def blocks(self) -> int:
        """Blocks of the full grid."""
        return ceil_div(self.designs, self.size)

    def block(self, number: int) -> Designs:
        """Return the allowed designs of a block."""
        first = number * self.size
        numbers = np.arange(first, min(first + self.size, self.space.size))
        positions = self.space.grid(numbers)
        columns = self.space.decode(positions)
        return self.space.designs(numbers, columns, self.space.allowed(positions, columns))


@dataclass(frozen=True)
class Listed:
    """The designs of a table, `size` rows a block."""

    space: Space
    table: Mapping[str, Sequence[Any]]
    size: int

    @property
    def designs(self) -> int:
        """Rows of the table."""
        return len(self._positions)

    @property
    def blocks(self) -> int:
        """Blocks of the table."""
        return ceil_div(self.designs, self.size)

    def block(self, number: int) -> Designs:
        """Return the allowed designs of a block."""
        numbers = np.arange(number * self.size, min((number + 1) * self.size, len(self._positions)))
        positions = self._positions[numbers]
        columns = self.space.decode(positions)
        return self.space.designs(numbers, columns, self.space.allowed(positions, columns))

    @cached_property
    def _positions(self) -> NDArray[np.float64]:
        rows = len(next(iter(self.table.values())))
        positions = np.zeros((rows, len(self.space.dimensions)))
        for place, dimension in enumerate(self.space.dimensions):
            assert dimension.levels is not None
            if dimension.name in self.table:
                order = {value: i for i, value in enumerate(dimension.levels.tolist())}
                positions[:, place] = [order[value] for value in self.table[dimension.name]]
        return positions


@dataclass(frozen=True)
class Drawn:
    """`points` different designs drawn from a space at random or as a Sobol sequence.

    Random numbers of a chunk depend on the seed and on the chunk's number alone; a Sobol sequence
    is scrambled by the seed. Draws that the constraints exclude or that repeat a design are passed
    over. There are fewer designs if the space is exhausted.
    """

    space: Space
    points: int
    size: int
    seed: int
    sobol: bool = False

    @property
    def designs(self) -> int:
        """Designs found."""
        return len(self._accepted)

    @property
    def blocks(self) -> int:
        """Blocks of the sample."""
        return ceil_div(self.designs, self.size)

    def block(self, number: int) -> Designs:
        """Return the designs of a block."""
        numbers = np.arange(number * self.size, min((number + 1) * self.size, len(self._accepted)))
        draws = self._accepted[numbers]
        chunks = {int(chunk): self._positions(int(chunk)) for chunk in np.unique(draws // CHUNK)}
        positions = np.stack([chunks[int(draw) // CHUNK][draw % CHUNK] for draw in draws])
        return self.space.designs(numbers, self.space.decode(positions))

    def _positions(self, chunk: int) -> NDArray[np.float64]:
        dimensions = len(self.space.dimensions)
        if self.sobol:
            from scipy.stats import qmc

            sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(self.seed))
            if chunk:
                sequence.fast_forward(chunk * CHUNK)
            return self.space.scale(sequence.random(CHUNK))
        generator = np.random.default_rng([self.seed, chunk])
        return self.space.scale(generator.random((CHUNK, dimensions)))

    @cached_property
    def _accepted(self) -> NDArray[np.int64]:
        """Return the draws that give the designs, in order."""
        seen: set[bytes] = set()
        accepted: list[int] = []
        fruitless = chunk = 0
        while len(accepted) < self.points and fruitless < FRUITLESS_CHUNKS:
            positions = self._positions(chunk)
            columns = self.space.decode(positions)
            keep = self.space.allowed(positions, columns)
            keys = self._keys(columns)
            before = len(accepted)
            for place in np.flatnonzero(keep):
                if keys[place] not in seen and len(accepted) < self.points:
                    seen.add(keys[place])
                    accepted.append(chunk * CHUNK + int(place))
            fruitless = fruitless + 1 if len(accepted) == before else 0
            chunk += 1
        return np.array(accepted, np.int64)

    def _keys(self, columns: dict[str, NDArray[Any]]) -> list[bytes]:
        """Return what tells designs apart; derived fields follow from the others."""
        free = [np.ascontiguousarray(columns[d.name]) for d in self.space.dimensions]
        plain = [_hashes(column) if column.dtype == object else column for column in free]
        return [row.tobytes() for row in np.rec.fromarrays(plain)]


def _hashes(column: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([hash(repr(value)) for value in column.tolist()], np.int64)


def samples(definition: Definition, block_sizes: dict[str, int]) -> list[Sample]:
    """Return the sample of each accelerator; raise `InputError` for a space without designs."""
    made: list[Sample] = []
    search = definition.search
    check_size(definition)
    for space in definition.spaces:
        size = block_sizes[space.accelerator]
        if definition.designs:
            sample: Sample = Listed(space, definition.designs, size)
        elif search.kind == "grid":
            if space.continuous:
                raise InputError(
                    f"space.{space.continuous[0]} must have a step, factor or count for a grid; "
                    "without one use search.kind = 'random' or 'sobol'"
                )
            sample = Grid(space, size)
        else:
            sample = Drawn(space, search.points, size, search.seed, search.kind == "sobol")
        check_not_empty(space, sample)
        made.append(sample)
    return made


def check_size(definition: Definition) -> None:
    """Raise `InputError` for a study of more points than anybody waits for."""
    search, cases = definition.search, len(definition.cases)
    if definition.designs:
        points = len(next(iter(definition.designs.values()))) * cases
        advice = "list fewer designs"
    elif search.kind == "grid":
        points = sum(space.size for space in definition.spaces) * cases
        advice = "use fewer values, or search.kind = 'random', 'sobol', 'nsga2' or 'tpe'"
    else:
        points = search.points * len(definition.spaces) * cases
        advice = "lower search.points"
    if points > MOST_POINTS:
        raise InputError(
            f"this study has {points:,} points (designs times workloads); at most {MOST_POINTS:,} "
            f"are swept: {advice}"
        )


def check_not_empty(space: Space, sample: Sample) -> None:
    """Raise `InputError` naming the constraint at fault if a sample has no design."""
    if any(len(sample.block(number)) for number in range(sample.blocks)):
        return
    tried = [space.decode(Drawn(space, 0, CHUNK, 0)._positions(chunk)) for chunk in range(8)]
    for constraint in space.constraints:
        if not any(np.any(constraint(columns)) for columns in tried):
            raise InputError(_never_holds(space.accelerator, constraint, tried))
    raise InputError(
        f"the constraints of {space.accelerator} exclude every design together: "
        f"{' and '.join(text.text for text in space.constraints)}"
    )


def _never_holds(
    accelerator: str, constraint: Expression, tried: Sequence[Mapping[str, Any]]
) -> str:
    """Say why a constraint allows none of the designs tried, and how near the nearest comes."""
    said = f"the constraint {constraint.text!r} excludes every design of {accelerator}"
    advice = "widen the space or the constraint"
    if constraint.bounded is None:
        return f"{said}; {advice}"
    side, end = constraint.bounded
    values = np.concatenate([np.atleast_1d(side(columns)) for columns in tried]).astype(float)
    values = values[np.isfinite(values)]
    if not len(values):
        return f"{said}: {side.text!r} is no finite number for any, as after a division by zero"
    nearest = values.min() if end == "smallest" else values.max()
    return f"{said}: the {end} {side.text} of those tried is {nearest:.6g}; {advice}"
