"""The one error that means "the user's input is wrong", and what its sentences are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_LINE = 200
"""Characters that are repeated of what a library says."""


class InputError(ValueError):
    """Say in one sentence what is wrong, where, and what would be right.

    The command line prints the message as it is and exits with code 2.
    """


def nearest(name: str, known: Iterable[str], otherwise: str = "", *, most: int = 1) -> str:
    """Return the question whether the user meant one of `known`, or `otherwise` if none is near.

    `otherwise` is the list of all that are known unless it is given; at most `most` are offered.

    >>> nearest("resnet5", ["resnet50", "vgg19"]), nearest("x", ["resnet50", "vgg19"])
    ('did you mean resnet50?', 'known are resnet50, vgg19')
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=most)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return otherwise or f"known are {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, or else the name of its error.

    >>> first_line(ValueError("no\\nbecause")), first_line(KeyError())
    ('no', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:LONGEST_LINE]
