"""Truth tables of the function texts in a Liberty file."""

from __future__ import annotations

import re


def truth_table(function: str, order: list[str]) -> int:
    """Return the truth table of a Liberty function as bits, bit i for the inputs of value i.

    >>> bin(truth_table("(!((A B)+C))", ["A", "B", "C"]))
    '0b111'
    """
    tokens = re.findall(r"[A-Za-z]\w*|[()!'*&+|^01]", function)
    table = 0
    for index in range(1 << len(order)):
        values = {name: index >> i & 1 for i, name in enumerate(order)}
        result, end = _or(tokens, 0, values)
        assert end == len(tokens), f"function {function!r} is not understood"
        table |= result << index
    return table


def _or(tokens: list[str], at: int, values: dict[str, int]) -> tuple[int, int]:
    left, at = _xor(tokens, at, values)
    while at < len(tokens) and tokens[at] in "+|":
        right, at = _xor(tokens, at + 1, values)
        left |= right
    return left, at


def _xor(tokens: list[str], at: int, values: dict[str, int]) -> tuple[int, int]:
    left, at = _and(tokens, at, values)
    while at < len(tokens) and tokens[at] == "^":
        right, at = _and(tokens, at + 1, values)
        left ^= right
    return left, at


def _and(tokens: list[str], at: int, values: dict[str, int]) -> tuple[int, int]:
    left, at = _factor(tokens, at, values)
    while at < len(tokens) and tokens[at] not in ")+|^":
        right, at = _factor(tokens, at + (tokens[at] in "*&"), values)
        left &= right
    return left, at


def _factor(tokens: list[str], at: int, values: dict[str, int]) -> tuple[int, int]:
    token = tokens[at]
    if token == "!":
        value, at = _factor(tokens, at + 1, values)
        return 1 - value, at
    if token == "(":
        value, at = _or(tokens, at + 1, values)
        at += 1
    else:
        value, at = (int(token) if token in "01" else values[token]), at + 1
    while at < len(tokens) and tokens[at] == "'":
        value, at = 1 - value, at + 1
    return value, at
