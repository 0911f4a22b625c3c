"""What was found out about a tensor, kept while its reader lives, for the products that share it.

FF and BP read the same weight, and methods that leave values alone share all of it. Results are
kept by the identity of the reader (which must return the same tensor each time) and a key that
names all that they depend on. Memory is bounded: integers by `MOST_BYTES` in all, the least
recently used dropped first, and other results by `MOST_RESULTS` a reader, the oldest first.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from numpy.typing import NDArray

from workloads.operand_values import Reader

MOST_BYTES = 256 << 20
MOST_RESULTS = 64

T = TypeVar("T")
_integers: OrderedDict[tuple[int, Hashable], NDArray[Any]] = OrderedDict()
_results: dict[int, OrderedDict[Hashable, Any]] = {}


def integers(reader: Reader, key: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return the integers of a tensor, made once; not to be changed."""
    if not _watched(reader):
        return make()
    place = id(reader), key
    if place not in _integers:
        made = make()
        made.setflags(write=False)
        _integers[place] = made
        while sum(each.nbytes for each in _integers.values()) > MOST_BYTES:
            _integers.popitem(last=False)
        return made
    _integers.move_to_end(place)
    return _integers[place]


def result(reader: Reader, key: Hashable, make: Callable[[], T]) -> T:
    """Return a result about a tensor, made once."""
    if not _watched(reader):
        return make()
    own = _results[id(reader)]
    if key not in own:
        own[key] = make()
        if len(own) > MOST_RESULTS:
            own.popitem(last=False)
    found: T = own[key]
    return found


def forget() -> None:
    """Drop all that is kept."""
    _integers.clear()
    for own in _results.values():
        own.clear()


def _watched(reader: Reader) -> bool:
    """Say whether results can be dropped with the reader: a reader without weak references none."""
    if id(reader) not in _results:
        try:
            weakref.finalize(reader, _drop, id(reader)).atexit = False
        except TypeError:
            return False
        _results[id(reader)] = OrderedDict()
    return True


def _drop(number: int) -> None:
    _results.pop(number, None)
    for place in [place for place in _integers if place[0] == number]:
        del _integers[place]
