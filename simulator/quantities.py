"""Numbers as people read them: three significant digits with an SI prefix and the unit."""

from __future__ import annotations

import re

from simulator.glossary import GLOSSARY

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def seconds(value: float) -> str:
    """Return a time in s, ms, µs or ns.

    >>> seconds(0.00123456)
    '1.23 ms'
    """
    return _scaled(value, "s", _SMALL_PREFIXES)


def joules(value: float | None) -> str:
    """Return an energy in J, mJ, µJ, nJ or pJ; a dash if the model has none.

    >>> joules(3.5e-5), joules(None)
    ('35.0 µJ', '-')
    """
    return "-" if value is None else _scaled(value, "J", _SMALL_PREFIXES)


def size(value: float) -> str:
    """Return a number of bytes in B, kB, MB, GB or TB (powers of ten).

    >>> size(1_500_000)
    '1.50 MB'
    """
    return _scaled(value, "B", _PREFIXES)


def rate(value: float, unit: str) -> str:
    """Return a rate or a large count with its prefix.

    >>> rate(4.096e11, "FLOP/s")
    '410 GFLOP/s'
    """
    return _scaled(value, unit, _PREFIXES)


def plain(value: float) -> str:
    """Return a tick label: as few digits as it needs, with a prefix.

    >>> plain(0.5), plain(200), plain(2e11)
    ('0.5', '200', '200 G')
    """
    for factor, prefix in _PREFIXES[:-1]:
        if value >= factor:
            return f"{value / factor:g} {prefix}"
    return f"{value:g}"


def count(value: int) -> str:
    """Return an exact count with separators.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def percent(part: float, whole: float) -> str:
    """Return a share in percent; a dash if there is nothing to share.

    >>> percent(1, 8), percent(0, 0)
    ('12.5 %', '-')
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def short(text: str) -> str:
    """Return a text whose fractions have three significant digits, for people only.

    >>> short("unstructured:0.0002730901120626302:32")
    'unstructured:0.000273:32'
    """
    return re.sub(r"\d+\.\d{4,}(e-?\d+)?", lambda found: f"{float(found[0]):.3g}", text)


def text(value: object) -> str:
    """Write a value for people: whole numbers with separators, others with four digits.

    >>> text(51501448), text(0.123456), text(None)
    ('51,501,448', '0.1235', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def of_key(name: str, value: object) -> tuple[str, str]:
    """Write the value of a key for people, with the unit that the glossary states.

    >>> of_key("npu_utilisation", 0.97671), of_key("tokens_per_s", 2766.0), of_key("queue_s", 0.1)
    (('97.7 %', ''), ('2,766', 'tokens/s'), ('100 ms', ''))
    """
    term = GLOSSARY.get(name)
    unit = term.unit if term else "-"
    if unit in _SCALED and isinstance(value, int | float):
        return _SCALED[unit](value), ""
    if unit == "fraction" and isinstance(value, float):
        return percent(value, 1), ""
    if isinstance(value, float) and value >= 1000:
        value = round(value)
    return text(value), "" if unit == "-" or value is None else unit


def label(name: str) -> str:
    """Return a key as words, without the unit that stands behind its value; commands as they are.

    >>> label("area_um2"), label("energy_per_token_j"), label("G_ACT")
    ('area', 'energy per token', 'G_ACT')
    """
    term = GLOSSARY.get(name)
    plain = name.removesuffix(f"_{term.unit.lower()}") if term else name
    return plain if plain.isupper() else plain.replace("_", " ")


def _scaled(value: float, unit: str, prefixes: tuple[tuple[float, str], ...]) -> str:
    for factor, prefix in prefixes:
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}{unit}"
    factor, prefix = prefixes[-1]
    return f"0 {unit}" if value == 0 else f"{_three_digits(value / factor)} {prefix}{unit}"


def _three_digits(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"


_SCALED = {"s": seconds, "J": joules, "bytes": size}
"""How numbers of a unit are written with its prefixes."""
