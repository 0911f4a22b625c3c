"""Run one training step under the recorder and make a workload of what it saw."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from workloads.capture.identity import layer_of, tensors_of
from workloads.capture.recorder import Recorder
from workloads.capture.step import TrainingStep, arguments, brief
from workloads.errors import InputError
from workloads.names import numbered
from workloads.operations import MatMul, Pass, Position, VectorOp, Workload
from workloads.vector_work import weight_update

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def record(
    step: TrainingStep, *, statistics: bool, keep: tuple[str, ...]
) -> tuple[Workload, dict[str, torch.Tensor]]:
    """Run `step` once; return its workload and the kept tensors.

    Parameters, their gradients and buffers are afterwards what they were before.
    """
    module = _checked_module(step)
    name = step.name or type(module).__name__
    recorder = Recorder(module, statistics=statistics, keep=keep)
    with _unchanged(module):
        _run(module, step, recorder, name)
        trained = _trained(module, name)
        notes = tuple(_notes(recorder, module, step))
    if not any(isinstance(op, MatMul) for op in recorder.operations):
        unknown = ", ".join(sorted({operation for operation, _ in recorder.unknown})) or "none"
        raise InputError(
            f"cannot capture {name}: its step must have a matrix product or convolution that is "
            f"known here (operations that are not known: {unknown})"
        )
    operations = [*recorder.operations, *_updates(trained)]
    workload = Workload(
        name=name,
        operations=tuple(numbered(_positioned(operations, trained))),
        source=f"captured from {type(module).__name__} with PyTorch {torch.__version__}",
        notes=notes,
    )
    return workload, recorder.tensors


def _checked_module(step: TrainingStep) -> torch.nn.Module:
    module = step.module
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"the module to capture must be a torch.nn.Module, not {module!r:.80}")
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError(
            f"cannot capture {type(module).__name__}: it must have a parameter that requires a "
            "gradient, or there is nothing to train"
        )
    _check_tensors(module)
    if step.autocast and step.autocast not in _AUTOCAST:
        raise InputError(f"autocast must be bf16, fp16 or empty, not {step.autocast!r}")
    return module


def _check_tensors(module: torch.nn.Module) -> None:
    for name, tensor in tensors_of(module):
        wrong = ""
        if is_lazy(tensor):
            wrong = "has no shape yet; run the module once before it is captured"
        elif tensor.layout != torch.strided:
            wrong = f"must be a dense tensor, not one of layout {tensor.layout}"
        if wrong:
            raise InputError(f"cannot capture {type(module).__name__}: its tensor {name!r} {wrong}")


def _run(module: torch.nn.Module, step: TrainingStep, recorder: Recorder, name: str) -> None:
    """Run forward pass, loss and backward pass; every failure becomes an `InputError`."""
    args, named = arguments(step.inputs)
    device = next(module.parameters()).device.type
    stage = "forward pass"
    try:
        with torch.enable_grad(), _plain_kernels(module), recorder.follow(module), recorder:
            with _precision(step, device):
                output = module(*args, **named)
                stage = "loss"
                recorder.layers[:] = ["loss"]
                recorder.running = "loss"
                loss = _loss(step, output)
            _check_loss(loss, name)
            stage = "backward pass"
            loss.backward()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"cannot capture {name}: its {stage} must run on these inputs, but raised "
            f"{brief(error)} (in layer {recorder.running!r})"
        ) from error


@contextlib.contextmanager
def _plain_kernels(module: torch.nn.Module) -> Iterator[None]:
    """Run recurrent layers as the products they consist of, not as one opaque kernel."""
    if not any(isinstance(child, torch.nn.RNNBase) for child in module.modules()):
        yield
        return
    onednn, cudnn = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch._C._set_cudnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(onednn)
        torch._C._set_cudnn_enabled(cudnn)


def _precision(step: TrainingStep, device: str) -> contextlib.AbstractContextManager[Any]:
    if not step.autocast:
        return contextlib.nullcontext()
    device = "cpu" if device == "meta" else device
    return torch.autocast(device, _AUTOCAST[step.autocast])


def _loss(step: TrainingStep, output: Any) -> Any:
    if step.loss is None:
        return getattr(output, "loss", output)
    if not isinstance(step.loss, torch.Tensor):
        return step.loss(output)
    if step.loss.is_floating_point():
        return torch.nn.functional.mse_loss(output, step.loss)
    return torch.nn.functional.cross_entropy(output, step.loss)


def _check_loss(loss: Any, name: str) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        what = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise InputError(
            f"the loss of {name} must be one number, not {what}; give a loss function or a target"
        )
    if not loss.requires_grad:
        raise InputError(
            f"cannot capture {name}: its loss must depend on a parameter that requires a gradient, "
            "but nothing would be trained"
        )


@contextlib.contextmanager
def _unchanged(module: torch.nn.Module) -> Iterator[None]:
    """Start without gradients; put gradients and buffers back whatever happens."""
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _trained(module: torch.nn.Module, name: str) -> dict[str, int]:
    """Return the layers that got a gradient, in order, with the parameters of each."""
    layers: Counter[str] = Counter()
    for parameter_name, parameter in module.named_parameters():
        if parameter.grad is not None and parameter.numel():
            layers[layer_of(parameter_name)] += parameter.numel()
    if not layers:
        raise InputError(f"cannot capture {name}: no parameter got a gradient from the loss")
    return dict(layers)


def _updates(trained: dict[str, int]) -> list[VectorOp]:
    return [weight_update(layer, parameters) for layer, parameters in trained.items()]


def _positioned(
    operations: list[MatMul | VectorOp], trained: dict[str, int]
) -> list[MatMul | VectorOp]:
    """Mark the first trained layer, if no gradient goes through it, and the last one."""
    products = [op for op in operations if isinstance(op, MatMul)]
    learning = {*trained, *(op.layer for op in products if op.pass_ is Pass.WU)}
    forward = [op.layer for op in products if op.pass_ is Pass.FF and op.layer in learning]
    through = {op.layer for op in products if op.pass_ is Pass.BP}
    positions: dict[str, Position] = {}
    if forward:
        positions[forward[-1]] = "last"
        if forward[0] not in through:
            positions[forward[0]] = "first"
    return [
        replace(op, position=positions[op.layer])
        if isinstance(op, MatMul) and op.layer in positions and op.kind != "attention"
        else op
        for op in operations
    ]


def _notes(recorder: Recorder, module: torch.nn.Module, step: TrainingStep) -> Iterator[str]:
    yield from step.notes
    if step.autocast:
        yield f"The forward pass ran under autocast to {step.autocast}."
    yield from _types(recorder)
    if not module.training:
        yield "The module was in evaluation mode: batch norm used its running statistics."
    again = sum(isinstance(op, MatMul) and "recompute" in op.name for op in recorder.operations)
    if again:
        yield f"{again} forward products are computed again in the backward pass (.recompute)."
    if recorder.uncounted:
        moves = ", ".join(f"{name} {n} times" for name, n in recorder.uncounted.most_common())
        yield f"Moves, casts and random numbers are not counted: {moves}."
    for (name, layer), count in recorder.unknown.items():
        times = "once" if count == 1 else f"{count} times"
        yield f"NOT in this workload: the operation {name} ran {times} in layer {layer!r}."
    unused = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        yield f"Parameters without a gradient in this step: {', '.join(unused)}."


def _types(recorder: Recorder) -> Iterator[str]:
    """Say which types the factors ran in, if they are not those of mixed precision."""
    products = [op for op in recorder.operations if isinstance(op, MatMul)]
    factors = {side.dtype: side for op in products for side in (op.left, op.right)}
    if any(side.value_bits > 16 for side in factors.values()):
        sizes = [f"{name} ({side.value_bits // 8} bytes)" for name, side in sorted(factors.items())]
        yield (
            f"Operands count as they ran: {' and '.join(sizes)}; a TrainingStep with autocast runs "
            "in mixed precision, and models that are read from files count as fp16 (2 bytes)."
        )
