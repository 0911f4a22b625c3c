"""The designs of one accelerator: parameters, what follows from them, and what they must satisfy.

A design is a row of positions, one a dimension: the number of a level, or a position from 0 to 1 in
a continuous range. `decode` turns blocks of rows into arrays of config fields. The sparsity method
is the first dimension of every space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from simulator.accelerators import find
from simulator.sweep.expressions import Expression, check_names, parse
from simulator.sweep.parameters import Parameter, read
from workloads.errors import InputError, nearest
from workloads.methods import Rule, parse_method
from workloads.patterns import NM

METHOD = "method"
METHOD_NAMES = (METHOD, "method_n", "method_m")
"""Texts and numbers of the method that expressions may read; 1:1 for a dense one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Designs:
    """A block of designs: `numbers` of the study, the method of each, and the swept fields.

    `quantities` are the study's own columns that follow from the fields alone.
    """

    numbers: NDArray[np.int64]
    methods: NDArray[Any]
    fields: dict[str, NDArray[Any]]
    quantities: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The design space of `accelerator`; `dimensions` are the parameters that are free.

    `following` are derived and conditional parameters in the order in which they are computed.
    `quantities` and `constraints` read fields only; what reads results is left to the study.
    """

    accelerator: str
    dimensions: tuple[Parameter, ...]
    following: tuple[Parameter, ...]
    quantities: Mapping[str, Expression]
    constraints: tuple[Expression, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Levels of every dimension; 0 for a continuous one."""
        return tuple(0 if d.levels is None else len(d.levels) for d in self.dimensions)

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the continuous dimensions."""
        return tuple(d.name for d in self.dimensions if d.continuous)

    @property
    def size(self) -> int:
        """Designs of the full grid, before conditions and constraints; 0 if one is continuous."""
        return math.prod(self.shape)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the swept fields, in the order of the result table."""
        free = [d.name for d in self.dimensions if d.name != METHOD]
        return tuple(dict.fromkeys([*free, *(p.name for p in self.following)]))

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The default of every config field; None where there is none."""
        return _defaults(self.accelerator)

    def grid(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (designs, dimensions) positions of the full grid by number, the last fastest.

        A number below `size` becomes one row.
        """
        places = np.unravel_index(numbers, self.shape)
        return np.stack(places, axis=1).astype(np.float64)

    def scale(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn (designs, dimensions) numbers from 0 to below 1 into positions."""
        levels = np.array(self.shape)
        return np.where(levels > 0, np.floor(units * levels), units)

    def decode(self, positions: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return every name that expressions may read: swept fields, method, quantities.

        `positions` are (designs, dimensions), what is swept is (designs,); fields that are not
        swept hold their default, as scalars.
        """
        columns: dict[str, Any] = dict(self.defaults)
        active = {}
        for place, dimension in enumerate(self.dimensions):
            columns[dimension.name] = dimension.values(positions[:, place])
            active[dimension.name] = columns[dimension.name]
        columns |= method_sizes(columns[METHOD])
        for parameter in self.following:
            columns[parameter.name] = self._follow(parameter, columns, active, len(positions))
        for name, quantity in self.quantities.items():
            columns[name] = quantity.numbers(columns, len(positions))
        return columns

    def _follow(
        self,
        parameter: Parameter,
        columns: Mapping[str, Any],
        active: Mapping[str, NDArray[Any]],
        count: int,
    ) -> NDArray[Any]:
        kind = field_kind(self.accelerator, parameter.name)
        if parameter.derive is not None:
            if kind in (str, object):
                return np.broadcast_to(parameter.derive(columns), count)
            values = parameter.derive.numbers(columns, count)
            if kind is int and values.dtype.kind == "f" and np.isfinite(values).all():
                whole = values.astype(np.int64)
                return np.asarray(whole if (whole == values).all() else values)
            return np.asarray(values.astype(float) if kind is float else values)
        assert parameter.when is not None
        holds = parameter.when.numbers(columns, count)
        return np.where(holds, active[parameter.name], parameter.otherwise)

    def allowed(
        self, positions: NDArray[np.float64], columns: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.bool_]:
        """Return which (designs,) the conditions and all constraints allow.

        Where a condition does not hold, only the first level of its parameter is a design.
        """
        count = len(positions)
        kept = np.ones(count, bool)
        for parameter in self.following:
            if parameter.when is not None:
                place = [d.name for d in self.dimensions].index(parameter.name)
                holds = parameter.when.numbers(columns, count).astype(bool)
                first = np.ones(count, bool) if parameter.continuous else positions[:, place] == 0
                kept &= holds | first
        for constraint in self.constraints:
            kept &= constraint.numbers(columns, count).astype(bool)
        return kept

    def designs(
        self,
        numbers: NDArray[np.int64],
        columns: Mapping[str, NDArray[Any]],
        keep: NDArray[np.bool_] | slice = slice(None),
    ) -> Designs:
        """Return the designs of decoded columns that are kept."""
        return Designs(
            numbers=numbers[keep],
            methods=columns[METHOD][keep],
            fields={name: columns[name][keep] for name in self.fields},
            quantities={name: columns[name][keep] for name in self.quantities},
        )


def read_space(
    accelerator: str,
    forms: Mapping[str, tuple[Any, str]],
    methods: Sequence[str],
    quantities: Mapping[str, Expression],
    constraints: Sequence[Expression],
) -> Space:
    """Read a space from the forms of its fields, each with its place in the study.

    Raises `InputError` for an unknown field, a wrong value or a name that cannot be read yet.
    """
    known = list(_defaults(accelerator))
    parameters = [_parameter(accelerator, name, *form) for name, form in forms.items()]
    levels = np.array(list(methods))
    free = [Parameter(name=METHOD, levels=levels)]
    free += [p for p in parameters if p.derive is None]
    following = [p for p in parameters if p.derive is not None or p.when is not None]
    late = {p.name for p in following}
    for parameter in following:
        expression = parameter.derive or parameter.when
        assert expression is not None
        where = f"{forms[parameter.name][1]}.{'derive' if parameter.derive else 'when'}"
        readable = [name for name in (*known, *METHOD_NAMES) if name not in late]
        check_names(expression, readable, where)
        late.discard(parameter.name)
    return Space(
        accelerator=accelerator,
        dimensions=tuple(free),
        following=tuple(following),
        quantities=dict(quantities),
        constraints=tuple(constraints),
    )


def field_kind(accelerator: str, name: str) -> type:
    """Return int, float, bool or str for a config field, or object if it is something else."""
    annotation = get_type_hints(find(accelerator).Config)[name]
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    return annotation if annotation in (int, float, bool, str) else object


def field_names(accelerator: str) -> list[str]:
    """Return the names of the config fields of an accelerator."""
    return list(_defaults(accelerator))


def read_quantities(forms: Mapping[str, Any], where: str) -> dict[str, Expression]:
    """Read the study's own columns; raise `InputError` for a name that cannot be one."""
    found = {}
    for name, text in forms.items():
        if not name.isidentifier():
            raise InputError(f"{where}.{name} must be named like a field, such as area_mm2")
        found[name] = parse(text, f"{where}.{name}")
    return found


def _defaults(accelerator: str) -> dict[str, Any]:
    fields = dataclasses.fields(find(accelerator).Config)
    return {f.name: None if f.default is dataclasses.MISSING else f.default for f in fields}


def _parameter(accelerator: str, name: str, form: Any, where: str) -> Parameter:
    defaults = _defaults(accelerator)
    if name not in defaults:
        hint = nearest(name, defaults, f"it has {', '.join(defaults)}")
        raise InputError(f"{where}: {accelerator} has no field {name!r}; {hint}")
    return read(name, form, field_kind(accelerator, name), defaults[name], where)


def method_sizes(methods: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """Return N and M of every method; 1:1 for a dense one."""
    names, places = np.unique(methods, return_inverse=True)
    sizes = np.array([_nm(name) for name in names.tolist()], np.int64).reshape(-1, 2)
    return {"method_n": sizes[places, 0], "method_m": sizes[places, 1]}


def _nm(method: str) -> tuple[int, int]:
    steps = [step for _, rules in parse_method(method).schedule for step in rules]
    patterns = (step.pattern for step in steps if isinstance(step, Rule))
    return next(((p.n, p.m) for p in patterns if isinstance(p, NM)), (1, 1))


def checked_values(space: Space) -> Iterator[tuple[str, list[Any]]]:
    """Yield every free field with its levels, or with the ends of its range."""
    for dimension in space.dimensions:
        if dimension.name != METHOD:
            levels = dimension.levels
            ends = [dimension.low, dimension.high]
            yield dimension.name, ends if levels is None else levels.tolist()
