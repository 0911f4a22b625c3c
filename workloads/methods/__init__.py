"""Sparse training methods: `bdwp(2, 8)` is a `Method`, which turns a workload into a sparse one.

============  =============  =====================  ============================================
method        sparse in      FLOP ratio, d = N/M    masks
============  =============  =====================  ============================================
dense                        1
sr-ste        FF: W          (2 + d) / 3            along input channels, every step
sdgp          BP: dY         (2 + d) / 3            of each output gradient as it comes
sdwp          BP: W          (2 + d) / 3            along output channels, every step
bdwp          FF: W, BP: W   (1 + 2 d) / 3          two independent masks, every step
transposable  FF: W, BP: W   (1 + 2 d) / 3          one mask for both, kept for 40 steps
============  =============  =====================  ============================================

The ratio counts the multiply-accumulates of a training step over those of the dense step, for a
layer whose FF, BP and WU are equally large. WU is dense in all of them.

>>> from workloads import networks
>>> step = networks.resnet50(batch=256).training_step()
>>> round(1 / bdwp(2, 8)(step).flop_ratio, 3)
1.961
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from workloads.errors import InputError
from workloads.methods.method import Method, Rule, Rules, Stage
from workloads.operations import Pass
from workloads.patterns import NM, TransposableNM

__all__ = [
    "Method",
    "Rule",
    "Rules",
    "Stage",
    "bdwp",
    "dense",
    "names",
    "parse_method",
    "sdgp",
    "sdwp",
    "sr_ste",
    "transposable",
]


def dense() -> Method:
    """Nothing is sparse."""
    return Method(name="dense", source="", schedule=((0.0, ()),))


def sr_ste(n: int, m: int) -> Method:
    """Weights are N:M in FF; BP multiplies by the same weights, whose groups lie across its K.

    The published code prunes every convolution, the first one too, and no linear classifier.
    """
    return Method(
        name=f"sr-ste:{n}:{m}",
        source="Zhou et al., Learning N:M fine-grained structured sparse networks, ICLR 2021, "
        "arXiv 2102.04010",
        schedule=((0.0, (Rule(Pass.FF, "W", NM(n, m)),)),),
        first_dense=False,
    )


def sdgp(n: int, m: int) -> Method:
    """The output gradient is N:M in BP only; WU uses it unpruned."""
    return Method(
        name=f"sdgp:{n}:{m}",
        source="McDanel, Dinh and Magallanes, Structured data gradient pruning, ICPR 2022, "
        "arXiv 2202.00774",
        schedule=((0.0, (Rule(Pass.BP, "dY", NM(n, m)),)),),
    )


def sdwp(n: int, m: int) -> Method:
    """Weights are N:M in BP only, along its reduction axis."""
    return Method(
        name=f"sdwp:{n}:{m}",
        source="the backward half of BDWP, SAT, IEEE TCAD 2023, arXiv 2309.13015",
        schedule=((0.0, (Rule(Pass.BP, "W", NM(n, m)),)),),
    )


def bdwp(n: int, m: int) -> Method:
    """Bidirectional weight pruning: W is N:M in FF and, by a second mask, in BP.

    >>> bdwp(2, 8).name
    'bdwp:2:8'
    """
    pattern = NM(n, m)
    return Method(
        name=f"bdwp:{n}:{m}",
        source="SAT, IEEE TCAD 2023, arXiv 2309.13015",
        schedule=((0.0, (Rule(Pass.FF, "W", pattern), Rule(Pass.BP, "W", pattern))),),
    )


def transposable(n: int, m: int) -> Method:
    """One mask of W that is N:M along both reduction axes, found anew every 40 steps."""
    pattern = TransposableNM(n, m)
    return Method(
        name=f"transposable:{n}:{m}",
        source="Hubara et al., Accelerated sparse neural training: a provable and efficient method "
        "to find N:M transposable masks, NeurIPS 2021, arXiv 2102.08124",
        schedule=((0.0, (Rule(Pass.FF, "W", pattern), Rule(Pass.BP, "W", pattern))),),
        refresh_steps=40,
    )


_SPARSE: dict[str, Callable[[int, int], Method]] = {
    "sr-ste": sr_ste,
    "sdgp": sdgp,
    "sdwp": sdwp,
    "bdwp": bdwp,
    "transposable": transposable,
}


def names() -> list[str]:
    """Return the names of all methods; all but dense need N and M."""
    return ["dense", *_SPARSE]


def parse_method(text: str) -> Method:
    """Read a method from `dense` or `name:N:M`, the inverse of its name.

    Raises `InputError` saying what would be right.

    >>> parse_method("bdwp:2:8") == bdwp(2, 8)
    True
    """
    name, *sizes = text.strip().lower().split(":")
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names())}"
        raise InputError(f"no method is called {name!r}; {hint}")
    if name == "dense":
        if sizes:
            raise InputError(f"method dense takes no N:M; write dense, not {text!r}")
        return dense()
    if len(sizes) != 2 or not all(size.isascii() and size.isdigit() for size in sizes):
        raise InputError(f"method {name} must say its N:M, as in {name}:2:8, not {text!r}")
    n, m = map(int, sizes)
    return _SPARSE[name](n, m)
