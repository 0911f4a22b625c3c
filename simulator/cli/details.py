"""What a model reports beyond time and traffic, in words and tables of a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.glossary import GLOSSARY
from simulator.quantities import label, of_key, text

SHOWN_PLACES = 10
"""Places of a histogram that have a row of their own; the rest shares the last row."""

PLACES = {"probe_histogram": "probes", "thread_busy_histogram": "tenths of the busiest"}
"""What the places of a histogram count."""

Shown = tuple[str, list[str], list[list[str]]]
"""Title, column names and rows of a table."""


def is_scalar(value: object) -> bool:
    """Return whether a value fits a line of totals."""
    return value is None or isinstance(value, str | bool | int | float)


def energy_covers(parts: Mapping[str, Any]) -> str:
    """Say what an energy made of these parts covers.

    >>> energy_covers({"dram RD": 1.0, "dram standby": 2.0}), energy_covers({})
    ('dynamic, and standby of the memory', 'not modelled')
    """
    if not parts:
        return "not modelled"
    return "dynamic, and standby of the memory" if "dram standby" in parts else "dynamic"


def title(name: str) -> str:
    """Return a key as words.

    >>> title("probes_per_product")
    'Probes per product'
    """
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def tables(extra: Mapping[str, Any]) -> list[Shown]:
    """Return tables of what is no scalar.

    A mapping has one row per name; mappings in a list one row each where they hold scalars alone,
    else one column each, headed by their first value, with a row per quantity; histograms have one
    row per place, from 1.
    """
    made: list[Shown] = []
    for name, value in extra.items():
        if isinstance(value, Mapping) and value:
            rows = [[key, text(item)] for key, item in flat(value).items()]
            made.append((_with_unit(title(name), name), ["", ">"], rows))
        elif isinstance(value, Sequence) and value and not isinstance(value, str):
            made += _records(name, value) if _is_records(value) else [_places(name, [value])]
    return made


def _with_unit(words: str, name: str) -> str:
    """Append the unit that the glossary states for a key.

    >>> _with_unit("Phases", "phases"), _with_unit("IPC", "unknown")
    ('Phases, cycles', 'IPC')
    """
    term = GLOSSARY.get(name)
    if term is None or term.unit in ("-", "fraction", words.lower()):
        return words
    return f"{words}, {term.unit}"


def _records(name: str, records: Sequence[Mapping[str, Any]]) -> list[Shown]:
    if not all(is_scalar(value) for record in records for value in record.values()):
        return _side_by_side(name, records)
    first, *others = records[0]
    heads = [f">{label(first)}", *(f">{key.replace('_', ' ')}" for key in others)]
    rows = [[of_key(key, value)[0] for key, value in record.items()] for record in records]
    return [(title(name), heads, rows)]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, names joined.

    >>> flat({"phases": {"hashing": 3}, "windows": 1})
    {'phases hashing': 3, 'windows': 1}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        words = f"{prefix}{label(name)}"
        found |= flat(value, f"{words} ") if isinstance(value, Mapping) else {words: value}
    return found


def _is_records(values: Sequence[Any]) -> bool:
    return all(isinstance(item, Mapping) for item in values)


def _side_by_side(name: str, records: Sequence[Mapping[str, Any]]) -> list[Shown]:
    heads = [text(next(iter(record.values()))) for record in records]
    keys = list(dict.fromkeys(key for record in records for key in list(record)[1:]))
    columns = [
        {key: value for key, value in record.items() if not _is_list(value)} for record in records
    ]
    shown = [_lines(column) for column in columns]
    words = dict.fromkeys(word for column in shown for word in list(column)[1:])
    rows = [[word, *(column.get(word, "-") for column in shown)] for word in words]
    made: list[Shown] = [(title(name), ["", *(f">{head}" for head in heads)], rows)]
    lists = [key for key in keys if any(_is_list(record.get(key)) for record in records)]
    return made + [
        _places(key, [record.get(key, []) for record in records], heads) for key in lists
    ]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _lines(record: Mapping[str, Any], prefix: str = "", of_all: str = "") -> dict[str, str]:
    """Return what a record says in words, with its unit where the words do not name it.

    `of_all` is the unit of values that state none of their own.

    >>> _lines({"seconds": 0.01, "phases": {"hashing": 3}, "bank_wait_cycles": 7})
    {'seconds': '10.0 ms', 'phases hashing, cycles': '3', 'bank wait, cycles': '7'}
    """
    found: dict[str, str] = {}
    for key, value in record.items():
        words = f"{prefix}{label(key)}"
        if isinstance(value, Mapping):
            found |= _lines(value, f"{words} ", GLOSSARY[key].unit if key in GLOSSARY else "")
            continue
        shown, unit = of_key(key, value)
        unit = unit if key in GLOSSARY else of_all
        found[words if unit in ("", "-", "ratio") or unit in words else f"{words}, {unit}"] = shown
    return found


def _places(name: str, columns: Sequence[Sequence[Any]], heads: Sequence[str] = ()) -> Shown:
    last = max(
        (at + 1 for column in columns for at, value in enumerate(column) if value), default=0
    )
    rows = [
        [str(at + 1), *(text(column[at]) if at < len(column) else "-" for column in columns)]
        for at in range(min(last, SHOWN_PLACES))
    ]
    if last > SHOWN_PLACES:
        rest = [text(sum(column[SHOWN_PLACES:])) for column in columns]
        rows.append([f"{SHOWN_PLACES + 1} and more", *rest])
    counted = GLOSSARY[name].unit if name in GLOSSARY else ""
    named = heads or [counted] * len(columns)
    return title(name), [PLACES.get(name, ""), *(f">{head}" for head in named)], rows
