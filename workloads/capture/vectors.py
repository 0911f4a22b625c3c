"""Turn the ATen operations between the products into vector work, with the costs of the networks.

Kinds that `workloads.vector_work` counts are taken from there, in the data type that ran. Every
other element-by-element operation takes one lane operation for each element, reads its tensors and
writes its result.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch

from workloads.capture.call import Call
from workloads.operations import Pass, VectorOp
from workloads.vector_work import FP16_BYTES, vector_work

_KINDS = {
    "relu": "relu",
    "threshold_backward": "relu",
    "tanh": "tanh",
    "tanh_backward": "tanh",
    "sigmoid": "tanh",
    "sigmoid_backward": "tanh",
    "gelu": "gelu",
    "gelu_backward": "gelu",
    "_softmax": "softmax",
    "_safe_softmax": "softmax",
    "_softmax_backward_data": "softmax",
    "_log_softmax": "loss",
    "_log_softmax_backward_data": "loss",
    "native_layer_norm": "layernorm",
    "native_layer_norm_backward": "layernorm",
    "native_group_norm": "layernorm",
    "native_group_norm_backward": "layernorm",
    "_fused_rms_norm": "rmsnorm",
    "_fused_rms_norm_backward": "rmsnorm",
    "native_batch_norm": "batchnorm",
    "native_batch_norm_backward": "batchnorm",
    "cudnn_batch_norm": "batchnorm",
    "cudnn_batch_norm_backward": "batchnorm",
    "miopen_batch_norm": "batchnorm",
    "miopen_batch_norm_backward": "batchnorm",
}
"""The kind of work of an operation; group norm costs as much as layer norm, sigmoid as tanh."""

_POOLS = {
    "max_pool2d_with_indices": "maxpool",
    "avg_pool2d": "averagepool",
    "_adaptive_avg_pool2d": "averagepool",
    "adaptive_max_pool2d": "maxpool",
}

# fmt: off
_UNCOUNTED = frozenset({
    "_reshape_copy", "_to_copy", "bernoulli_", "cat", "clone", "constant_pad_nd", "copy_", "fill_",
    "flip", "gather", "im2col", "index", "index_copy", "index_copy_", "index_fill", "index_fill_",
    "index_put", "index_put_", "index_select", "native_dropout", "nonzero", "normal_",
    "pixel_shuffle", "random_", "reflection_pad1d", "reflection_pad2d", "repeat",
    "replication_pad2d", "roll", "scatter", "select_backward", "select_scatter", "slice_backward",
    "slice_scatter", "split_with_sizes_copy", "stack", "tril", "triu", "unfold_backward",
    "uniform_", "zero_",
})
# fmt: on
"""Moves, casts and random numbers: the report names them, no network table counts them."""

# fmt: off
_FREE = frozenset({
    "_local_scalar_dense", "_nested_tensor_size", "arange", "detach", "empty",
    "equal", "eye", "full", "is_nonzero", "item", "lift_fresh", "nll_loss2d_backward",
    "nll_loss2d_forward", "nll_loss_backward", "nll_loss_forward", "ones", "rand", "randint",
    "randn", "randperm", "scalar_tensor", "zeros"
})
# fmt: on
"""Nothing to compute, or (the picking of the label's entry) counted with the loss."""


def is_free(name: str, view: bool) -> bool:
    """Say whether an operation computes nothing: a view, or a tensor made from nothing."""
    made = name.endswith("_like") or name.startswith(("new_", "empty"))
    return view or made or name in _FREE or name.lstrip("_").startswith("unsafe_")


def is_uncounted(name: str) -> bool:
    """Say whether an operation moves, casts or draws elements without computing on them."""
    return name in _UNCOUNTED


def vectors_of(call: Call) -> list[VectorOp] | None:
    """Return the vector work of a call; None if it is not known here."""
    name = call.name.rstrip("_") if call.name.endswith("_") else call.name
    if name in _KINDS:
        return _known(call, _KINDS[name])
    if name in _POOLS or name.removesuffix("_backward") in _POOLS:
        return [_pool(call, _POOLS[name.removesuffix("_backward")])]
    if name in ("embedding", "embedding_dense_backward"):
        return [_embedding(call)]
    if name in ("_embedding_bag", "_embedding_bag_backward"):
        return [_embedding_bag(call)]
    if name == "sum" and call.pass_ is Pass.BP:
        return _kind(call, "bias", Pass.WU, call.tensors[0])
    if name == "add" and (kind := _addition(call)):
        return _kind(call, kind, call.pass_, call.outs[0])
    if name in ("index_add", "scatter_add"):
        return _generic(call, name)
    if call.tags & {"pointwise", "reduction"} or _is_pointwise(name.removesuffix("_backward")):
        return _generic(call, name)
    return None


def _is_pointwise(name: str) -> bool:
    """Say whether an operation, or the one whose gradient this is, goes element by element."""
    packet = getattr(torch.ops.aten, name.removeprefix("_").removesuffix("_kernel"), None)
    overloads = () if packet is None else packet.overloads()
    return any(torch.Tag.pointwise in getattr(packet, each).tags for each in overloads)


def bias_of(call: Call) -> list[VectorOp]:
    """Return the work on the bias that a product's operation does along with it."""
    if call.name in ("addmm", "baddbmm") or (call.name == "convolution" and _bias(call)):
        return _kind(call, "bias", Pass.FF, call.outs[0])
    if call.name == "convolution_backward" and call.args[10][2]:
        return _kind(call, "bias", Pass.WU, call.args[0])
    return []


def _bias(call: Call) -> bool:
    return call.args[2] is not None


def _known(call: Call, kind: str) -> list[VectorOp]:
    """Use the table of costs; the gradient has as many elements as the first argument."""
    if kind == "batchnorm" and not _in_training(call):
        return _kind(call, "affine", call.pass_, call.tensors[0]) or _generic(call, "affine")
    return _kind(call, kind, call.pass_, call.tensors[0])


def _in_training(call: Call) -> bool:
    """Say whether batch norm uses the statistics of the batch: its first flag."""
    return next((arg for arg in call.args if isinstance(arg, bool)), True)


def _kind(call: Call, kind: str, pass_: Pass, tensor: torch.Tensor) -> list[VectorOp]:
    return known_work(call, kind, pass_, tensor.numel(), tensor.element_size())


def known_work(call: Call, kind: str, pass_: Pass, elements: int, size: int) -> list[VectorOp]:
    """Return the lines of the cost table for elements of `size` bytes instead of fp16."""
    ops = vector_work(call.layer, kind, pass_, elements)
    return [
        replace(
            op,
            name=op.name + (".recompute" if call.recompute else ""),
            read_bytes=op.read_bytes // FP16_BYTES * size,
            write_bytes=op.write_bytes // FP16_BYTES * size,
        )
        for op in ops
    ]


def _addition(call: Call) -> str | None:
    """Tell a bias, the join of two branches (FF) and their fork (BP) from other additions."""
    if len(call.tensors) != 2:
        return None
    one, other = call.tensors
    if call.pass_ is Pass.FF and any(call.weight_of(tensor) for tensor in call.tensors):
        return "bias"
    if one.shape != other.shape or one.numel() == 1:
        return None
    return "add" if call.pass_ is Pass.FF else "split"


def _pool(call: Call, kind: str) -> VectorOp:
    """Count each element of each window: once forwards, twice backwards, as the networks do."""
    forward = call.pass_ is Pass.FF
    small, large = (call.outs[0], call.tensors[0]) if forward else call.tensors[:2]
    if "adaptive" in call.name:
        elements = large.numel()
    else:
        elements = small.numel() * prod(call.args[1 if forward else 2])
    searched = _bytes(large) if kind == "maxpool" else 0
    return _vector(
        call,
        kind,
        kind,
        elements=elements,
        lane_operations=1 if forward else 2,
        read_bytes=_bytes(large) if forward else _bytes(small) + searched,
        write_bytes=_bytes(small) if forward else _bytes(large),
    )


def _embedding(call: Call) -> VectorOp:
    """Gather rows (FF), or add the gradient of each token to its row (WU)."""
    forward = call.pass_ is Pass.FF
    rows = call.outs[0] if forward else call.tensors[0]
    indices = _bytes(call.tensors[1])
    scattered = 0 if forward else _bytes(rows)
    return _vector(
        call,
        "embedding",
        "embedding",
        elements=rows.numel(),
        lane_operations=1,
        read_bytes=_bytes(rows) + scattered + indices,
        write_bytes=_bytes(rows),
        pass_=call.pass_ if forward else Pass.WU,
    )


def _embedding_bag(call: Call) -> VectorOp:
    """Gather the rows of each bag and add them up, or add each bag's gradient to its rows."""
    forward = call.pass_ is Pass.FF
    first, indices = call.tensors[:2]
    elements = indices.numel() * first.shape[-1]
    rows, bags = elements * first.element_size(), _bytes(call.outs[0] if forward else first)
    return _vector(
        call,
        "embedding",
        "embedding",
        elements=elements,
        lane_operations=1,
        read_bytes=rows + _bytes(indices) + (0 if forward else bags),
        write_bytes=bags if forward else rows,
        pass_=call.pass_ if forward else Pass.WU,
    )


def _generic(call: Call, name: str) -> list[VectorOp]:
    """Count one lane operation an element; work on single numbers is bookkeeping."""
    results = [out for out in call.outs if isinstance(out, torch.Tensor)]
    elements = max((tensor.numel() for tensor in (*call.tensors, *results)), default=0)
    if elements <= 1 or not results:
        return []
    pooled = name == "mean" and call.tensors[0].dim() == 4
    return [
        _vector(
            call,
            name,
            "averagepool" if pooled else name,
            elements=elements,
            lane_operations=1,
            read_bytes=sum(_bytes(tensor) for tensor in call.tensors),
            write_bytes=sum(_bytes(tensor) for tensor in results),
        )
    ]


def _vector(
    call: Call,
    step: str,
    kind: str,
    *,
    elements: int,
    lane_operations: int,
    read_bytes: int,
    write_bytes: int,
    pass_: Pass | None = None,
) -> VectorOp:
    pass_ = pass_ or call.pass_
    return VectorOp(
        name=f"{call.layer}.{step}.{pass_}" + (".recompute" if call.recompute else ""),
        layer=call.layer,
        pass_=pass_,
        kind=kind,
        elements=elements,
        lane_operations=lane_operations,
        read_bytes=read_bytes,
        write_bytes=write_bytes,
    )


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
