"""Arithmetic and conditions over named columns, read from text: constraints, derived fields, areas.

A study file is text that somebody else may have written, so that expressions are parsed, checked
node by node against what is listed here, and evaluated on arrays; nothing is ever executed.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError, nearest

CONSTANTS = {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "True": True, "False": False}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": lambda *parts: reduce(np.minimum, parts),
    "max": lambda *parts: reduce(np.maximum, parts),
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "sqrt": np.sqrt,
    "log2": np.log2,
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: np.float_power,  # never a huge whole number
    ast.USub: operator.neg,
    ast.Not: np.logical_not,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its text, the names it reads, and its syntax tree."""

    text: str
    names: frozenset[str]
    tree: ast.expr

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """Return the value for columns that hold every name; arrays give an array.

        Raises `InputError` where the values have no such operation.
        """
        with np.errstate(all="ignore"):
            try:
                return _value(self.tree, columns)
            except ZeroDivisionError:  # of plain numbers; arrays give infinity
                raise InputError(f"{self.text!r} divides by zero") from None
            except OverflowError:
                raise InputError(f"{self.text!r} has a number of more than 64 bits") from None
            except TypeError:
                raise InputError(
                    f"{self.text!r} must compute with numbers, and compare texts with texts"
                ) from None

    def numbers(self, columns: Mapping[str, Any], count: int) -> NDArray[Any]:
        """Return the `count` numbers or truths; raise `InputError` if it gives anything else."""
        values = np.broadcast_to(self(columns), count)
        if values.dtype.kind not in "biuf":
            raise InputError(f"{self.text!r} must give a number for every design")
        return values

    @property
    def bounded(self) -> tuple[Expression, str] | None:
        """What a limit bounds, and whether its `smallest` or `largest` value is nearest to it.

        None if this is no comparison by order with a side that reads no names.

        >>> side, end = parse("rows * cols <= 64", "").bounded
        >>> side.text, end
        ('rows * cols', 'smallest')
        """
        match self.tree:
            case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE()], comparators=[right]):
                ends = "smallest", "largest"
            case ast.Compare(left=left, ops=[ast.Gt() | ast.GtE()], comparators=[right]):
                ends = "largest", "smallest"
            case _:
                return None
        for side, other, end in ((left, right, ends[0]), (right, left, ends[1])):
            names = frozenset(_names(side)) - CONSTANTS.keys()
            if names and not set(_names(other)) - CONSTANTS.keys():
                return Expression(ast.unparse(side), names, side), end
        return None


def parse(text: str, where: str) -> Expression:
    """Read an expression; raise `InputError` naming `where` if it is none.

    >>> parse("rows * cols <= 4 * KIB", "constraints")({"rows": np.array([32, 128]), "cols": 64})
    array([ True, False])
    """
    if not isinstance(text, str):
        raise InputError(f"{where} must be an expression such as 'rows * cols', not {text!r}")
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # of "2if rows"
            tree = ast.parse(text.strip(), mode="eval").body
        names = set(_names(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(
            f"{where} must be an expression of names, numbers, texts, + - * / // % **, "
            f"comparisons, and, or, not, if-else and {', '.join(FUNCTIONS)}, not {text!r}"
        ) from None
    return Expression(text, frozenset(names - CONSTANTS.keys()), tree)


def check_names(expression: Expression, known: Iterable[str], where: str) -> None:
    """Raise `InputError` if the expression reads a name that is not known."""
    names = list(known)
    for name in sorted(expression.names - set(names)):
        hint = nearest(name, names)
        raise InputError(f"{where} reads {name!r}, which is not known here; {hint}")


def _names(tree: ast.expr) -> Iterable[str]:
    """Yield the names of a tree; raise `ValueError` for a node that is not allowed."""
    match tree:
        case ast.Constant(value=bool() | int() | float() | str()):
            pass
        case ast.Name(id=name):
            yield name
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield from _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            yield from _names(left)
            yield from _names(right)
        case ast.BoolOp(values=parts):
            for part in parts:
                yield from _names(part)
        case ast.Compare(left=left, ops=ops, comparators=others) if set(map(type, ops)) <= (
            _OPERATORS.keys()
        ):
            for part in (left, *others):
                yield from _names(part)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            for part in (test, body, orelse):
                yield from _names(part)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if (
            name in FUNCTIONS and (len(args) == 1 or name in ("min", "max"))
        ):
            for part in args:
                yield from _names(part)
        case _:
            raise ValueError(ast.dump(tree))


def _value(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return columns[name] if name in columns else CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand, columns))
        case ast.BinOp(left=left, op=op, right=right):
            sides = _value(left, columns), _value(right, columns)
            if str in map(type, sides):  # which Python would repeat, or take for a format
                raise TypeError
            return _OPERATORS[type(op)](*sides)
        case ast.BoolOp(op=op, values=parts):
            return reduce(_OPERATORS[type(op)], (_value(part, columns) for part in parts))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, columns) for part in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return reduce(np.logical_and, (_OPERATORS[type(op)](a, b) for op, a, b in pairs))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            branches = (_value(part, columns) for part in (test, body, orelse))
            return np.where(*branches)
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_value(part, columns) for part in args))
    raise AssertionError(ast.dump(tree))
