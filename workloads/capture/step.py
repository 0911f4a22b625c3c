"""What a user hands over to be captured: a module, its inputs and its loss."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from workloads.errors import InputError, first_line

if TYPE_CHECKING:
    import torch

Loss = Callable[[Any], "torch.Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One training step of `module`; what a function for `sparsight capture` returns.

    `inputs` are the arguments of `module(...)`: one value, a tuple of them, or a mapping of names.
    `loss` turns the output into one number; a tensor instead is the target of a cross-entropy
    (class numbers) or of a mean squared error (anything else); None means that the module itself
    returns the loss, or something with an attribute `loss`. `autocast` runs the forward pass in
    mixed precision. `name` is that of the workload, by default the class of the module; `notes` are
    sentences for its report.
    """

    module: torch.nn.Module
    inputs: Any
    loss: Loss | torch.Tensor | None = None
    name: str = ""
    autocast: Literal["", "bf16", "fp16"] = ""
    notes: tuple[str, ...] = ()


def load_step(target: str) -> TrainingStep:
    """Call the function `package.module:function`, or `path/file.py:function`; check its result.

    The function takes no arguments and returns a `TrainingStep`, or a tuple (module, inputs) or
    (module, inputs, loss). Raises `InputError` that says what is missing or wrong.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise InputError(
            f"what to capture must be package.module:function or file.py:function, not {target!r}"
        )
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        offered = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        others = ", ".join(offered) or "none"
        raise InputError(f"{place} must have a function {name!r} to capture; it has {others}")
    try:
        returned = function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{target} must return a step, but raised {brief(error)}") from error
    return _as_step(returned, target)


def _as_step(returned: Any, target: str) -> TrainingStep:
    if isinstance(returned, TrainingStep):
        return returned
    if isinstance(returned, tuple) and len(returned) in (2, 3):
        return TrainingStep(**dict(zip(("module", "inputs", "loss"), returned, strict=False)))
    raise InputError(
        f"{target} must return a TrainingStep, (module, inputs) or (module, inputs, loss), "
        f"not {type(returned).__name__}"
    )


def _load_module(name: str) -> ModuleType:
    """Import a module by name, the current directory included, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"cannot import {name} to capture: {error}{_hint(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot import {name} to capture: it raised {brief(error)}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path} to capture from; give file.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[path.stem], before = module, sys.modules.get(path.stem)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"cannot run {path} to capture: {error}{_hint(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot run {path} to capture: it raised {brief(error)}") from error
    finally:
        sys.path.remove(folder)
        if before is not None:
            sys.modules[path.stem] = before
    return module


def _hint(error: ModuleNotFoundError) -> str:
    return "; pip install 'sparsight[torch]'" if error.name == "torch" else ""


def brief(error: BaseException) -> str:
    """Return the type and the first line of an exception.

    >>> brief(ValueError("no\\nbecause")), brief(KeyError())
    ('ValueError: no', 'KeyError')
    """
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the named arguments that `inputs` stands for.

    >>> arguments(3), arguments((1, 2)), arguments({"x": 1})
    (((3,), {}), ((1, 2), {}), ((), {'x': 1}))
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), {}
