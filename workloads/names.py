"""Names that must be unique: the second and further uses of one get a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

T = TypeVar("T")


def numbered_names(names: Iterable[str]) -> list[str]:
    """Return the names in order, each once: what repeats has the number of its use behind it.

    >>> numbered_names(["fc", "fc", "fc#2", "fc"])
    ['fc', 'fc#2', 'fc#2#2', 'fc#3']
    """
    repeats: Counter[str] = Counter()
    taken: set[str] = set()
    found = []
    for name in names:
        free = name
        while free in taken:
            repeats[name] += 1
            free = f"{name}#{repeats[name] + 1}"
        taken.add(free)
        found.append(free)
    return found


def numbered(items: Sequence[T]) -> list[T]:
    """Return dataclass values (operations, layers) with names of their own."""
    given: list[Any] = list(items)
    names = numbered_names(item.name for item in given)
    return [
        item if name == item.name else replace(item, name=name)
        for item, name in zip(given, names, strict=True)
    ]
