"""Changes a line of a component's source, everywhere it is used, for the length of a test."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` occurs once in `module` and is replaced by `new`."""

    name: str
    module: str
    old: str
    new: str


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Put the mutated module's classes and functions where the real ones are imported."""
    original = importlib.import_module(mutant.module)
    source = inspect.getsource(original)
    assert source.count(mutant.old) == 1, f"{mutant.old!r} must occur once in {mutant.module}"
    changed = types.ModuleType(mutant.module)
    changed.__file__ = original.__file__
    sys.modules[mutant.module] = changed
    exec(compile(source.replace(mutant.old, mutant.new), mutant.module, "exec"), vars(changed))
    replaced = []
    for name, module in list(sys.modules.items()):
        if not name.startswith(("rtl.", "tests.cosim")) or module is changed:
            continue
        for attribute, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != mutant.module:
                continue
            if vars(original).get(attribute) is value and attribute in vars(changed):
                replaced.append((module, attribute, value))
                setattr(module, attribute, vars(changed)[attribute])
    try:
        yield
    finally:
        sys.modules[mutant.module] = original
        for module, attribute, value in replaced:
            setattr(module, attribute, value)
