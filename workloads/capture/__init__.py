"""Capture one training step of a PyTorch module as a workload.

The step runs once, with every ATen operation watched; forward, backward-data and backward-weight
products are told apart, convolutions keep their geometry, and each operand gets the statistics of
its values, if it has any (on the meta device shapes alone are captured). The optimiser does not
run: each layer gets the update of stochastic gradient descent with momentum on fp32 weights.

PyTorch is imported when a capture starts, not before.

*Exact*: shapes, passes and data types of `mm`, `addmm`, `bmm`, `baddbmm`, convolutions and fused
attention (expanded into products and softmax). *Approximate*: the gradient of a weight has the type
of the weight; operand elements are those in memory, and a fused attention's probabilities count as
stored. *Ignored*: moves, casts and random numbers; what is not known is named in the workload's
notes.
"""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.capture.step import Loss, TrainingStep, load_step
from workloads.errors import InputError
from workloads.operations import Workload

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = [
    "Capture",
    "TrainingStep",
    "capture_step",
    "capture_target",
    "capture_to_file",
    "capture_training_step",
    "load_step",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A captured workload and the tensors that were asked for, by `layer.X`, `layer.W`, ..."""

    workload: Workload
    tensors: dict[str, NDArray[np.generic]]


def capture_training_step(
    module: torch.nn.Module,
    inputs: Any,
    loss: Loss | torch.Tensor | None = None,
    *,
    name: str = "",
    statistics: bool = True,
) -> Workload:
    """Run one training step of `module` and return its workload; arguments as in `TrainingStep`.

    Raises `InputError` if the step cannot be captured: what, where, and what would be right.
    """
    step = TrainingStep(module=module, inputs=inputs, loss=loss, name=name)
    return capture_step(step, statistics=statistics).workload


def capture_step(
    step: TrainingStep, *, statistics: bool = True, keep_tensors: tuple[str, ...] = ()
) -> Capture:
    """Run a training step once; return its workload and the tensors that match `keep_tensors`.

    Names are `layer.X`, `layer.W`, `layer.Y`, `layer.dY`, `layer.dX` and `layer.dW`, those of
    attention `operation.left`, `.right` and `.out`; patterns may hold `*`, and each must match. The
    layout is that of the first operation that uses the tensor: a convolution's W is PyTorch's, W of
    a linear layer is (in, out), as its product reads it. bf16 becomes fp32, which numpy can hold.
    Raises `InputError` if the step cannot be captured.
    """
    _require_torch()
    from workloads.capture.session import record

    workload, kept = record(step, statistics=statistics, keep=keep_tensors)
    for pattern in keep_tensors:
        if not any(fnmatchcase(name, pattern) for name in kept):
            raise InputError(
                f"no tensor to keep is called {pattern!r}; names are LAYER.X, LAYER.W, LAYER.Y, "
                "LAYER.dY, LAYER.dX and LAYER.dW, and may hold *"
            )
    return Capture(workload=workload, tensors={key: _array(kept[key]) for key in sorted(kept)})


def capture_target(
    target: str, *, statistics: bool = True, keep_tensors: tuple[str, ...] = ()
) -> Capture:
    """Capture the step that `package.module:function` or `file.py:function` returns.

    Raises `InputError` if there is no such function, or if its step cannot be captured.
    """
    _require_torch()
    return capture_step(load_step(target), statistics=statistics, keep_tensors=keep_tensors)


def capture_to_file(
    target: str,
    path: Path | str,
    *,
    statistics: bool = True,
    keep_tensors: tuple[str, ...] = (),
) -> Workload:
    """Capture `target` and write its trace to `path`: what `sparsight capture` does.

    The trace names that command. Raises `InputError` if the capture or the writing fails; then no
    file is written.
    """
    from workloads.trace import write_trace

    captured = capture_target(target, statistics=statistics, keep_tensors=keep_tensors)
    options = [f"--keep {shlex.quote(name)}" for name in keep_tensors]
    if not statistics:
        options.append("--no-statistics")
    words = ["sparsight capture", shlex.quote(target), *options, "-o", Path(path).name]
    write_trace(captured.workload, path, captured.tensors or None, command=" ".join(words))
    return captured.workload


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise InputError("capturing a model needs PyTorch; pip install 'sparsight[torch]'")


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    import torch

    narrow = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return narrow.cpu().numpy()
