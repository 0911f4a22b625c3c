"""Numbers that users write: ASCII digits only, where Python also takes 1_0 and other scripts."""

from __future__ import annotations


def whole(text: str) -> int:
    """Return the whole number that `text` writes in decimal digits; else raise `ValueError`.

    >>> whole(" -12 ")
    -12
    >>> whole("1_0")
    Traceback (most recent call last):
    ValueError: not a number: '1_0'
    """
    return int(_plain(text))


def number(text: str) -> float:
    """Return the number that `text` writes in decimal digits, or `inf` or `nan`, as Python does.

    Raises `ValueError` for anything else; whoever needs a finite number checks that it is one.

    >>> number("1.5e9"), number("inf")
    (1500000000.0, inf)
    >>> number("1_0.5")
    Traceback (most recent call last):
    ValueError: not a number: '1_0.5'
    """
    return float(_plain(text))


def _plain(text: str) -> str:
    if "_" in text or not text.isascii():
        raise ValueError(f"not a number: {text!r}")
    return text
