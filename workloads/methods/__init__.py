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

`parse_method` reads these, the words of `workloads.methods.vocabulary`, the presets of
`workloads.methods.presets`, and sums of all three:

>>> from workloads import networks
>>> step = networks.resnet50(batch=256).training_step()
>>> round(1 / bdwp(2, 8)(step).flop_ratio, 3)
1.961
>>> lora = parse_method("side:16+freeze")
>>> round(lora.flop_ratio(networks.llama_7b_block().training_step()), 2)
0.7
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from workloads.errors import InputError, nearest
from workloads.methods.masking import Rule
from workloads.methods.method import Change, Method, Stage, Step, Steps, change
from workloads.operations import Pass
from workloads.patterns import NM, TransposableNM

__all__ = [
    "Change",
    "Method",
    "Rule",
    "Stage",
    "Step",
    "Steps",
    "bdwp",
    "change",
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
        source="Zhou et al., Learning N:M fine-grained structured sparse neural networks from "
        "scratch, ICLR 2021, arXiv 2102.04010",
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

_SIZE = re.compile("[0-9]{1,9}")
_WINDOW = re.compile(r"(?P<word>.*)\[(?P<start>[0-9.]+)-(?P<end>[0-9.]+)\]")


def names() -> list[str]:
    """Return the names of the N:M methods; all but dense need N and M."""
    return ["dense", *_SPARSE]


def parse_method(text: str) -> Method:
    """Read a method: `dense`, `name:N:M`, a word of the vocabulary, a preset, or a sum of these.

    The inverse of its name. Raises `InputError` saying what would be right.

    >>> parse_method("bdwp:2:8") == bdwp(2, 8)
    True
    >>> parse_method("mask:2:4@FF+precision:int8:int8").name
    'mask:2:4@ff+precision:int8:int8'
    """
    first, *others = (_part(part) for part in text.strip().lower().split("+"))
    for other in others:
        first = first + other
    return first


def _part(text: str) -> Method:
    """Read one summand, with its window if it has one."""
    windowed = _WINDOW.fullmatch(text)
    if windowed is None:
        return _word(text)
    try:
        start, end = float(windowed["start"]), float(windowed["end"])
    except ValueError:
        raise InputError(f"a window must be two fractions, as in [0.25-1], not {text!r}") from None
    return _word(windowed["word"]).within(start, end)


def _word(text: str) -> Method:
    from workloads.methods import presets
    from workloads.methods.vocabulary import WORDS

    name, *arguments = text.strip().split(":")
    if name in _SPARSE or name == "dense":
        return _classic(text, name, arguments)
    if name in WORDS:
        try:
            return WORDS[name].build(text.strip(), arguments)
        except (ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{name} must be written {WORDS[name].usage}, as in {WORDS[name].example}, "
                f"not {text!r}"
            ) from None
    known = [*names(), *WORDS, *presets.names()]
    if name in presets.names() and not arguments:
        return _preset(name)
    if re.fullmatch("[0-9]+:[0-9]+", text.strip()):
        raise InputError(f"N:M needs the name of a method before it, as in bdwp:2:8, not {text!r}")
    listed = f"known are {', '.join(names())}, and what 'sparsight methods' lists"
    hint = nearest(name, known, listed)
    raise InputError(f"no method is called {name!r}; {hint}")


def _preset(name: str) -> Method:
    from workloads.methods import presets

    found = presets.find(name)
    if not found.text:
        raise InputError(f"preset {name} has no estimate of its own: {found.unchecked}")
    method = parse_method(found.text)
    return replace(method, name=name, source=found.title)


def _classic(text: str, name: str, sizes: list[str]) -> Method:
    if name == "dense":
        if sizes:
            raise InputError(f"method dense takes no N:M; write dense, not {text!r}")
        return dense()
    if len(sizes) != 2 or not all(_SIZE.fullmatch(size) for size in sizes):
        raise InputError(f"method {name} must say its N:M, as in {name}:2:8, not {text!r}")
    n, m = map(int, sizes)
    return _SPARSE[name](n, m)
