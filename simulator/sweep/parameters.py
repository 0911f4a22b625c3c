"""One parameter of a design space: a list, a range, or a value that follows from others.

In Python and in a study file the same forms are read:

===============================================  ==================================================
form                                             values
===============================================  ==================================================
`[16, 32, 64]`, `["os", "ws"]`                   these, in this order
`32`                                             this one only
`{from = 8, to = 64, step = 8}`                  8, 16, ... 64
`{from = 1024, to = 4194304, factor = 2}`        1024, 2048, ... 4194304
`{from = 1e8, to = 1e9, count = 5}`              5 evenly spaced values; with `log = true` by ratio
`{from = 1e8, to = 1e9}`, also with `log`        any value between: not for a grid
`{derive = "rows"}`                              computed from other fields
`{values = [1, 4], when = "...", otherwise = 4}` 1 or 4 where the condition holds, 4 elsewhere;
                                                 `when` goes with every form but `derive`
===============================================  ==================================================

A range of a whole-number field has whole ends and holds whole numbers only; without a step, factor
or count it holds them all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.counting import LARGEST_COUNT
from simulator.sweep.expressions import Expression, parse
from workloads.errors import InputError

MOST_LEVELS = 1_000_000
LARGEST: dict[type, float] = {int: LARGEST_COUNT, float: sys.float_info.max}
"""Largest size of a number that arrays of each kind hold."""

FORMS = (
    "a value, a list, {from, to, step}, {from, to, factor}, {from, to, count}, {from, to} or "
    "{derive}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A field with its levels, or with the ends of a continuous range, or derived from others.

    `levels` is an array of at least one value, or None; `low`, `high` and `log` describe a
    continuous range. Where `when` does not hold, the value is `otherwise`.
    """

    name: str
    levels: NDArray[Any] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    derive: Expression | None = None
    when: Expression | None = None
    otherwise: Any = None

    @property
    def continuous(self) -> bool:
        """Whether any value between two ends may be taken."""
        return self.levels is None and self.derive is None

    def values(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Return the values at level numbers, or at positions 0 to 1 of a continuous range."""
        if self.levels is not None:
            return np.asarray(self.levels[positions.astype(np.int64)])
        if self.log:
            return np.asarray(self.low * (self.high / self.low) ** positions)
        return np.asarray(self.low + (self.high - self.low) * positions)


def read(name: str, form: Any, kind: type, default: Any, where: str) -> Parameter:
    """Read a parameter of the config field `name`, whose values are of `kind`.

    `where` is the place in the study that errors name. Raises `InputError`.
    """
    if isinstance(form, Parameter):
        return form
    if not isinstance(form, Mapping):
        return Parameter(name=name, levels=_levels(form, kind, where))
    form = dict(form)
    if "derive" in form:
        expression = parse(form.pop("derive"), f"{where}.derive")
        _refuse_rest(form, where)
        return Parameter(name=name, derive=expression)
    condition = form.pop("when", None)
    when = None if condition is None else parse(condition, f"{where}.when")
    if when is None and "otherwise" in form:
        raise InputError(f"{where}.otherwise is only read beside 'when'; add the condition")
    otherwise = form.pop("otherwise", default)
    _check_kind(otherwise, kind, f"{where}.otherwise")
    shared = {"name": name, "when": when, "otherwise": otherwise}
    if "values" in form:
        levels = _levels(form.pop("values"), kind, f"{where}.values")
        _refuse_rest(form, where)
        return Parameter(levels=levels, **shared)
    return _range(form, kind, where, shared)


def _levels(form: Any, kind: type, where: str) -> NDArray[Any]:
    if isinstance(form, np.ndarray):
        form = form.tolist()
    listed = isinstance(form, Sequence) and not isinstance(form, str)
    values = list(form) if listed else [form]
    if not values:
        raise InputError(f"{where} must list at least one value, not an empty list")
    for value in values:
        _check_kind(value, kind, where)
    if len(set(values)) < len(values):
        raise InputError(f"{where} must list each value once, not {values}")
    if kind is object:
        return np.fromiter(values, object, len(values))
    return np.array([kind(value) for value in values])


def _check_kind(value: Any, kind: type, where: str) -> None:
    if kind is object:
        return
    wanted = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}[kind]
    accepted: type | tuple[type, ...] = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise InputError(f"{where} must hold {wanted}, not {value!r}; it may be {FORMS}")
    if not _fits(value, kind):
        raise InputError(f"{where} must hold {wanted} of at most {LARGEST[kind]}, not {value!r}")


def _fits(value: Any, kind: type) -> bool:
    """Return whether an array of a kind holds a value; it does not hold what is not a number."""
    return kind not in LARGEST or bool(abs(value) <= LARGEST[kind])


def _range(form: dict[str, Any], kind: type, where: str, shared: dict[str, Any]) -> Parameter:
    if kind not in (int, float):
        raise InputError(f"{where} must be a list of values, as the field is not a number")
    low, high = (_end(form, key, kind, where) for key in ("from", "to"))
    log = form.pop("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}.log must be true or false, not {log!r}")
    if not low < high:
        raise InputError(f"{where} must rise, not go from {low} to {high}")
    spacings = [key for key in ("step", "factor", "count") if key in form]
    if len(spacings) > 1:
        raise InputError(f"{where} must have one of step, factor and count, not {len(spacings)}")
    by_ratio = log or spacings == ["factor"]
    if by_ratio and low <= 0:
        raise InputError(f"{where}.from must be above 0 for a logarithmic range, not {low}")
    if not spacings and kind is float:
        _refuse_rest(form, where)
        return Parameter(low=low, high=high, log=log, **shared)
    if not spacings and log:
        raise InputError(f"{where} must have a count or a factor beside log for a whole number")
    spacing = spacings[0] if spacings else "step"
    size = _number(form, spacing, where) if spacings else 1
    _refuse_rest(form, where)
    values = _spaced(low, high, spacing, size, log, where)
    if kind is int:
        values = np.unique(np.round(values).astype(np.int64))
        values = values[(values >= low) & (values <= high)]
    return Parameter(levels=values, **shared)


def _spaced(
    low: float, high: float, spacing: str, size: float, log: bool, where: str
) -> NDArray[np.float64]:
    """Return the values of a range, its lower end first."""
    slack = 1e-9
    if spacing == "count":
        if not isinstance(size, int) or not 2 <= size <= MOST_LEVELS:
            raise InputError(
                f"{where}.count must be a whole number from 2 to {MOST_LEVELS}, not {size!r}"
            )
        return np.geomspace(low, high, size) if log else np.linspace(low, high, size)
    least = 1 if spacing == "factor" else 0
    if not size > least:
        raise InputError(f"{where}.{spacing} must be above {least}, not {size!r}")
    by_factor = spacing == "factor"
    span = math.log(high / low) / math.log(size) if by_factor else (high - low) / size
    if not span < MOST_LEVELS:
        raise InputError(f"{where} has {span + 1:.0f} values; use a larger step or factor")
    places = np.arange(math.floor(span + slack) + 1)
    return np.asarray(low * float(size) ** places if by_factor else low + size * places)


def _number(form: dict[str, Any], key: str, where: str, most: float = LARGEST_COUNT) -> Any:
    if key not in form:
        raise InputError(f"{where} must be {FORMS}; it lacks '{key}'")
    value = form.pop(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value != value:
        raise InputError(f"{where}.{key} must be a number, not {value!r}")
    if abs(value) > most:
        raise InputError(f"{where}.{key} must be from -{most:g} to {most:g}, not {value!r}")
    return value


def _end(form: dict[str, Any], key: str, kind: type, where: str) -> float:
    """Return an end of a range, a whole number for a field of such."""
    value = _number(form, key, where, LARGEST[kind])
    if kind is int and value != int(value):
        raise InputError(f"{where}.{key} must be a whole number, not {value!r}")
    return int(value) if kind is int else float(value)


def _refuse_rest(form: dict[str, Any], where: str) -> None:
    if form:
        raise InputError(f"{where} has an unknown key {next(iter(form))!r}; it may be {FORMS}")
