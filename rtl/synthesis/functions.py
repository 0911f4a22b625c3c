"""Pins, trees and truth tables of the function texts in a Liberty file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from workloads.errors import InputError

Tree: TypeAlias = str | tuple["Tree", ...]
"""A pin, "0" or "1"; or an operator (not, and, or, xor) and its operands."""


PIN = r"[A-Za-z]\w*"


def pins_of(function: str) -> list[str]:
    """Return the pins that a function names, in alphabetical order.

    >>> pins_of("(!((B A)+C))")
    ['A', 'B', 'C']
    """
    return sorted(set(re.findall(PIN, function)))


def truth_table(function: str, order: list[str]) -> int:
    """Return the truth table of a Liberty function as bits, bit i for the inputs of value i.

    >>> bin(truth_table("(!((A B)+C))", ["A", "B", "C"]))
    '0b111'
    """
    tree = parse(function)
    table = 0
    for index in range(1 << len(order)):
        values = {name: index >> i & 1 for i, name in enumerate(order)}
        table |= _value(tree, values) << index
    return table


def parse(function: str) -> Tree:
    """Return the tree of a Liberty function; operators of equal rank group from the left.

    Raises `InputError` for what is no function of pins and constants.

    >>> parse("(!((A B)+C))")
    ('not', ('or', ('and', 'A', 'B'), 'C'))
    """
    tokens = re.findall(rf"{PIN}|[()!'*&+|^01]|\S", function)
    try:
        tree, end = _or(tokens, 0)
    except (IndexError, ValueError):  # it ends too early, or has an operator without a pin
        tree, end = "", -1
    if end != len(tokens):
        raise InputError(f"function {function!r} of a cell is not understood")
    return tree


def _value(tree: Tree, values: Mapping[str, int]) -> int:
    if isinstance(tree, str):
        return int(tree) if tree in "01" else values[tree]
    kind, *operands = tree
    found = [_value(operand, values) for operand in operands]
    match kind:
        case "not":
            return 1 - found[0]
        case "and":
            return found[0] & found[1]
        case "or":
            return found[0] | found[1]
    return found[0] ^ found[1]


def _or(tokens: list[str], at: int) -> tuple[Tree, int]:
    left, at = _xor(tokens, at)
    while at < len(tokens) and tokens[at] in "+|":
        right, at = _xor(tokens, at + 1)
        left = ("or", left, right)
    return left, at


def _xor(tokens: list[str], at: int) -> tuple[Tree, int]:
    left, at = _and(tokens, at)
    while at < len(tokens) and tokens[at] == "^":
        right, at = _and(tokens, at + 1)
        left = ("xor", left, right)
    return left, at


def _and(tokens: list[str], at: int) -> tuple[Tree, int]:
    left, at = _factor(tokens, at)
    while at < len(tokens) and tokens[at] not in ")+|^":
        right, at = _factor(tokens, at + (tokens[at] in "*&"))
        left = ("and", left, right)
    return left, at


def _factor(tokens: list[str], at: int) -> tuple[Tree, int]:
    token = tokens[at]
    if token == "!":
        inner, at = _factor(tokens, at + 1)
        return ("not", inner), at
    if token == "(":
        inner, at = _or(tokens, at + 1)
        at += 1
    elif re.fullmatch(rf"{PIN}|[01]", token):
        inner, at = token, at + 1
    else:
        raise ValueError(token)
    while at < len(tokens) and tokens[at] == "'":
        inner, at = ("not", inner), at + 1
    return inner, at
