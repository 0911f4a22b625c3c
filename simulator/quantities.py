"""Numbers as people read them: three significant digits with an SI prefix and the unit."""

from __future__ import annotations

import re

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


def _scaled(value: float, unit: str, prefixes: tuple[tuple[float, str], ...]) -> str:
    for factor, prefix in prefixes:
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}{unit}"
    factor, prefix = prefixes[-1]
    return f"0 {unit}" if value == 0 else f"{_three_digits(value / factor)} {prefix}{unit}"


def _three_digits(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"
