"""Find a model by what a user calls it: one rule for every command and study.

=====================  ==========================================================================
text                   model
=====================  ==========================================================================
a file                 ONNX, safetensors, GGUF, TFLite, Chakra, SCALE-Sim, trace
a name                 one that an installed package carries, a network, or a shipped trace
MODULE:FUNCTION        the training step that a function returns, captured with PyTorch
=====================  ==========================================================================

A file comes before a name, and names are looked up in the order of the table.
"""

from __future__ import annotations

from pathlib import Path

from workloads import networks
from workloads.errors import InputError, nearest
from workloads.importers import packages, read_model
from workloads.operations import Pass, Workload


def find_model(
    text: str,
    *,
    batch: int | None = None,
    tokens: int | None = None,
    inference: bool = False,
    weights_only: bool = False,
) -> Workload:
    """Return the training step, or the inference, of the model that `text` names.

    `batch` and `tokens` apply to models that do not fix them; `weights_only` reads the tensors of a
    PyTorch checkpoint. Raises `InputError` if there is no such model, or an option has no use.

    >>> find_model("resnet50", batch=2, inference=True).macs
    8178368512
    """
    if not is_name(text):
        if ":" in text and not Path(text).exists():
            return _captured(text, batch, tokens, inference, weights_only)
        return read_model(
            text, batch=batch, tokens=tokens, inference=inference, weights_only=weights_only
        )
    _refuse_use(text, {"weights-only": weights_only or None}, "is no PyTorch checkpoint")
    if text in packages.names():
        return read_model(text, batch=batch, tokens=tokens, inference=inference)
    if text in networks.names():
        network = networks.find(text, batch=batch, tokens=tokens)
        return network.inference() if inference else network.training_step()
    return read_model(_shipped(text), batch=batch, tokens=tokens, inference=inference)


def names() -> list[str]:
    """Return the names of all models: of packages, networks and shipped traces."""
    from workloads.trace import shipped

    return sorted({*packages.names(), *networks.names(), *shipped()})


def is_name(text: str) -> bool:
    """Say whether a text is a name, not a file and not a function."""
    path = Path(text)
    return not (path.suffix or path.exists() or ":" in text or len(path.parts) != 1)


def _captured(
    target: str, batch: int | None, tokens: int | None, inference: bool, weights_only: bool
) -> Workload:
    from workloads.capture import capture_target

    given = {"batch": batch, "tokens": tokens, "weights-only": weights_only or None}
    _refuse_use(target, given, "chooses its own inputs")
    step = capture_target(target).workload
    return step.only(Pass.FF) if inference else step


def _refuse_use(text: str, options: dict[str, int | None], reason: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{text} {reason}; leave --{name} out")


def _shipped(name: str) -> Path:
    from workloads.trace import shipped

    traces = shipped()
    if name in traces:
        return traces[name]
    accepted = "give a file, MODULE:FUNCTION, or a name of sparsight models, networks or trace list"
    hint = nearest(name, names(), accepted)
    raise InputError(f"no model file, package model, network or trace is called {name!r}; {hint}")
