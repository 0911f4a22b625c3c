"""Watch every ATen operation of a running step and write down what it must compute.

The phase is told by the autograd engine: while it runs a graph, the pass is backward; with gradient
mode on within it, activation checkpointing computes a forward pass again. A backward operation
belongs to the module in which its autograd node was made, found by the node's sequence number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from workloads.capture.call import Call, Origin
from workloads.capture.identity import Weights, plain_name
from workloads.capture.products import is_product, products_of
from workloads.capture.values import has_values
from workloads.capture.vectors import bias_of, is_free, is_uncounted, vectors_of
from workloads.errors import InputError
from workloads.operations import MatMul, Pass, VectorOp


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations seen so far, where the step is, and what could not be described.

    `layers` are the modules that are being called, `running` is that of the latest operation.
    `uncounted` and `unknown` count the operations that the workload leaves out, by name and layer.
    """

    def __init__(self, module: torch.nn.Module, *, statistics: bool, keep: tuple[str, ...]) -> None:
        """Record a step of `module`; keep the tensors whose names match a pattern of `keep`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[MatMul | VectorOp] = []
        self.tensors: dict[str, torch.Tensor] = {}
        self.uncounted: Counter[str] = Counter()
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.layers = ["model"]
        self.running = "model"
        self._weights = Weights(module)
        self._statistics = statistics
        self._keep_patterns = keep
        self._origins: dict[int, Origin] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operation, then record it."""
        kwargs = kwargs or {}
        tensors = tuple(x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor))
        name = func.overloadpacket.__name__
        origin, pass_, recompute = self._place()
        self.running = origin.layer
        result = func(*args, **kwargs)
        outs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        results = [out for out in outs if isinstance(out, torch.Tensor)]
        if func._schema.is_mutable:
            self._weights.overwritten(tensors)
        self._refuse(name, (*tensors, *results))
        call = Call(
            name=name,
            tags=frozenset(tag.name for tag in func.tags),
            layer=origin.layer,
            pass_=pass_,
            recompute=recompute,
            origin=origin,
            args=args,
            outs=outs,
            tensors=tensors,
            weights=self._weights,
            statistics=self._statistics,
            keep=self._keep,
        )
        self._record(call, view=_is_view(func) or "inplace_view" in call.tags)
        self._weights.propagate(tensors, results)
        return result

    def _record(self, call: Call, *, view: bool) -> None:
        if is_free(call.name, view):
            return
        if is_uncounted(call.name):
            self.uncounted[call.name] += 1
            return
        if any(tensor.numel() == 0 for tensor in call.tensors[:3]):
            return  # an expert that no token chose: its operations run on no rows
        products = products_of(call)
        if products is not None:
            self.operations += [*products, *bias_of(call)]
            return
        vectors = vectors_of(call)
        if vectors is None:
            self.unknown[call.name, call.layer] += 1
        else:
            self.operations += vectors

    def _place(self) -> tuple[Origin, Pass, bool]:
        """Say which module and pass the running operation belongs to."""
        in_backward = torch._C._current_graph_task_id() != -1
        if in_backward and not torch.is_grad_enabled():
            node = torch._C._current_autograd_node()
            number = -1 if node is None else node._sequence_nr()
            return self._origins.get(number, Origin("backward")), Pass.BP, False
        # The node of an operation exists before the operation runs; later ones share its number.
        number = torch._C._autograd._get_sequence_nr() - 1
        origin = self._origins.setdefault(number, Origin(self.layers[-1]))
        if origin.layer != self.layers[-1]:
            origin = Origin(self.layers[-1])
        return origin, Pass.FF, in_backward

    def _refuse(self, name: str, tensors: tuple[torch.Tensor, ...]) -> None:
        """Raise `InputError` for tensors that no operation of this project describes.

        Complex numbers may be turned (rotary positions) but not multiplied as matrices.
        """
        for tensor in tensors:
            if tensor.layout != torch.strided:
                what = f"a tensor of layout {tensor.layout}"
            elif tensor.is_quantized:
                what = f"a quantised tensor of type {tensor.dtype}"
            elif tensor.is_complex() and is_product(name):
                what = f"complex numbers of type {tensor.dtype}"
            else:
                continue
            raise InputError(
                f"cannot capture {name} on {what} in layer {self.running!r}; "
                "use dense real floating-point tensors"
            )

    def _keep(self, name: str, tensor: torch.Tensor) -> None:
        wanted = any(fnmatchcase(name, pattern) for pattern in self._keep_patterns)
        if wanted and name not in self.tensors and has_values(tensor):
            self.tensors[name] = tensor.detach().clone().contiguous()

    def follow(self, module: torch.nn.Module) -> AbstractContextManager[Any]:
        """Know, as long as the context lasts, which submodule runs."""
        hooks = ExitStack()
        for name, child in module.named_modules():
            if name and not isinstance(child, torch.jit.ScriptModule):
                before = child.register_forward_pre_hook(
                    self._enter(plain_name(name)), prepend=True
                )
                after = child.register_forward_hook(self._leave(plain_name(name)), always_call=True)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
        return hooks

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            self.layers.append(name)
            self.running = name

        return enter

    def _leave(self, name: str) -> Callable[..., None]:
        """Forget the module and whatever it called that an exception left unfinished."""

        def leave(*_: Any) -> None:
            while name in self.layers and self.layers.pop() != name:
                pass

        return leave


def _is_view(func: Any) -> bool:
    """Say whether the result is the argument's storage, unchanged."""
    returns = func._schema.returns
    alias = returns[0].alias_info if returns else None
    return alias is not None and not alias.is_write
