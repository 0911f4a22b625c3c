"""Change fields of a frozen config from text, with errors that name what would be right."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from workloads import numerals
from workloads.errors import InputError, nearest

C = TypeVar("C")

SENSIBLE = (1e-3, 1e18)
"""Least and largest number that `check_positive` takes."""


_field_types: Callable[[Any], Mapping[str, Any]] = cache(get_type_hints)
"""Types of a class' fields; reading annotations takes longer than checking values."""


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Split `field=value` texts into a dictionary.

    >>> parse_settings(["rows=64", "stationarity=os"])
    {'rows': '64', 'stationarity': 'os'}
    """
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set must be field=value, not {setting!r}")
        if name.strip() in values:
            raise InputError(f"--set {name.strip()} is given twice; give it once")
        values[name.strip()] = value.strip()
    return values


def override(config: C, values: Mapping[str, str]) -> C:
    """Return `config` with the named fields replaced by values read from text.

    The type comes from the field's annotation: int, float, bool, str or a Literal of texts.
    Raises `InputError` for an unknown field or a value that is not of the field's type; errors of
    the config's own validation pass through.
    """
    types = _field_types(type(config))
    known = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, text in values.items():
        if name not in known:
            hint = nearest(name, known, f"it has {', '.join(known)}")
            raise InputError(f"{_owner(config)} has no field {name!r}; {hint}")
        changes[name] = _read(name, text, types[name])
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _owner(config: Any) -> str:
    """Return the name of the accelerator that a config belongs to, or else its module."""
    module = type(config).__module__
    _, inside, name = module.partition("accelerators.")
    return name.partition(".")[0] if inside else module


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A config field: its type as text, its default, and the sentence under it in the source."""

    name: str
    kind: str
    default: Any
    meaning: str


def describe(config_class: type[Any]) -> list[Field]:
    """Return the fields of a config dataclass with the documentation that follows each of them."""
    types, meanings = _field_types(config_class), _field_documentation(config_class)
    return [
        Field(
            name=field.name,
            kind=_kind(types[field.name]),
            default=field.default,
            meaning=meanings.get(field.name, ""),
        )
        for field in dataclasses.fields(config_class)
    ]


def _field_documentation(config_class: type[Any]) -> dict[str, str]:
    """Read the text under each field, or its entry (`name`: text) in the class's docstring."""
    found = _listed(inspect.getdoc(config_class) or "")
    classes = [each for each in reversed(config_class.__mro__) if dataclasses.is_dataclass(each)]
    lines = [line for each in classes for line in _class_body(each)]
    for field, text in pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            name, value = field.target, text.value
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                found[name.id] = " ".join(str(value.value).split())
    return found


def _class_body(config_class: type[Any]) -> list[ast.stmt]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body
    assert isinstance(body, ast.ClassDef)
    return body.body


def _listed(documentation: str) -> dict[str, str]:
    r"""Read entries that begin a line with one or several `name`, and end at the next entry.

    >>> _listed("Sizes.\n\n`rows`, `cols`: PEs;\n  32 is usual.\n`lanes`: one.")
    {'rows': 'PEs; 32 is usual.', 'cols': 'PEs; 32 is usual.', 'lanes': 'one.'}
    """
    entry = re.compile(r"^((?:`\w+`(?:, )?)+): (.*?)(?=^`|\n\n|\Z)", re.MULTILINE | re.DOTALL)
    return {
        name: " ".join(text.split())
        for names, text in entry.findall(documentation)
        for name in re.findall(r"\w+", names)
    }


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    return str(getattr(annotation, "__name__", annotation))


def check_positive(config: Any, *names: str) -> None:
    """Raise `InputError` unless the named fields are positive, and whole if annotated int.

    For a config's `__post_init__`, so that a wrong value is refused wherever it comes from. Numbers
    outside `SENSIBLE` are refused too: no hardware is so small or large, and sums would overflow.
    """
    types = _field_types(type(config))
    least, most = SENSIBLE
    for name in names:
        value = getattr(config, name)
        whole = types[name] is int
        number = not isinstance(value, bool) and isinstance(value, int if whole else (int, float))
        if not number or not 0 < value < float("inf"):
            wanted = "a positive whole number" if whole else "a positive number"
            raise InputError(f"{name} must be {wanted}, not {value!r}")
        if not least <= value <= most:
            raise InputError(f"{name} must be between {least:g} and {most:g}, not {value!r}")


def check_choices(config: Any) -> None:
    """Raise `InputError` unless every Literal field has one of its texts and every bool is one.

    A text such as "off" would count as true.
    """
    for name, kind in _field_types(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal:
            _check_choice(name, value, kind)
        elif kind is bool and not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, not {value!r}")


def _check_choice(name: str, value: Any, kind: Any) -> None:
    if value not in get_args(kind):
        raise InputError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")


def _read(name: str, text: str, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        _check_choice(name, text, kind)
        return text
    if kind is bool:
        if text.lower() in ("true", "on", "yes", "1"):
            return True
        if text.lower() in ("false", "off", "no", "0"):
            return False
        raise InputError(f"{name} must be true or false, not {text!r}")
    try:
        return {int: numerals.whole, float: numerals.number}.get(kind, kind)(text)
    except ValueError:
        wanted = {"int": "a whole number", "float": "a number"}[kind.__name__]
        raise InputError(f"{name} must be {wanted}, not {text!r}") from None
