"""What a capture measures on the values of one tensor: zeros, and the energy that N:M keeps."""

from __future__ import annotations

import torch

from workloads.errors import InputError
from workloads.statistics import MEASURED_PATTERNS, Statistics

_DTYPES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8",
    torch.float8_e5m2: "fp8",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.bool: "bool",
}


def dtype_name(dtype: torch.dtype) -> str:
    """Return the project's name of a data type; raise `InputError` if it has none."""
    try:
        return _DTYPES[dtype]
    except KeyError:
        names = ", ".join(sorted(set(_DTYPES.values())))
        raise InputError(
            f"data type of a captured product must be one of {names}, not {dtype}"
        ) from None


def has_values(tensor: torch.Tensor) -> bool:
    """Say whether a tensor holds numbers (one on the meta device, or a fake one, has none)."""
    return tensor.device.type != "meta" and type(tensor) in (torch.Tensor, torch.nn.Parameter)


def measure(tensor: torch.Tensor, axis: int | None) -> Statistics | None:
    """Measure the zeros of `tensor`, and along `axis` the energy kept by `MEASURED_PATTERNS`.

    `axis` is the reduction axis of the product; None measures zeros only. Returns None for a tensor
    without values. Raises `InputError` for values that are not finite.
    """
    if not has_values(tensor):
        return None
    largest = tensor.detach().abs().amax().float()
    if not bool(torch.isfinite(largest)):
        raise InputError("values must be finite, but some are NaN or infinite")
    zero_fraction = (tensor.numel() - int(torch.count_nonzero(tensor))) / tensor.numel()
    if axis is None:
        return Statistics(zero_fraction=zero_fraction)
    squares = _scaled_squares(tensor, largest).movedim(axis, 0)
    energy = tuple((f"{n}:{m}", energy_kept(squares, n, m)) for n, m in MEASURED_PATTERNS)
    return Statistics(zero_fraction=zero_fraction, nm_energy=energy)


def _scaled_squares(tensor: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Square the elements over the largest magnitude, so that small gradients do not underflow."""
    scale = largest.clamp(min=torch.finfo(torch.float32).tiny)
    return (tensor.detach().to(torch.float32) / scale).square()


def energy_kept(squares: torch.Tensor, n: int, m: int) -> float:
    """Return the share of the sum over `squares` that the N largest of every M along axis 0 hold.

    A last, incomplete group is filled up with zeros. An insertion of one value after the other into
    the N largest so far, for all groups at once; a tensor of zeros keeps everything.

    >>> energy_kept(torch.tensor([9.0, 0.0, 4.0, 1.0, 2.0]), 1, 4)   # (9 + 2) / 16
    0.6875
    """
    whole = len(squares) // m * m
    groups = squares[:whole].reshape(-1, m, *squares.shape[1:])
    kept = _largest(groups.unbind(1), n) if whole else 0.0
    if rest := squares[whole:].unbind(0):
        kept += _largest(rest, n)
    total = _sum(squares)
    return min(1.0, kept / total) if total else 1.0


def _largest(values: tuple[torch.Tensor, ...], n: int) -> float:
    """Return the sum of the N largest of `values`, taken element by element."""
    largest = [torch.zeros_like(values[0]) for _ in range(n)]
    for value in values:
        smaller = value
        for rank, kept in enumerate(largest):
            largest[rank], smaller = torch.maximum(kept, smaller), torch.minimum(kept, smaller)
    return sum(_sum(kept) for kept in largest)


def _sum(values: torch.Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
