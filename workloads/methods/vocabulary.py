"""The words that a method can be written with, and how each is read.

A text is one or several words joined by `+`; steps are taken from left to right. A word may be
followed by a window of the run, `[START-END]`, outside of which it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workloads import numerals
from workloads.errors import InputError
from workloads.methods import (
    activations,
    allocation,
    experts,
    factors,
    precision,
    schedules,
    structure,
    updates,
)
from workloads.methods.masking import Rule
from workloads.methods.method import Change, Method, change
from workloads.operations import Pass
from workloads.patterns import parse_pattern

_TENSORS = {Pass.FF: "W", Pass.BP: "W", Pass.WU: "dW"}


@dataclass(frozen=True, slots=True)
class Word:
    """A word: how it is written, what it means, an example, and how its arguments are read."""

    usage: str
    meaning: str
    example: str
    build: Callable[[str, list[str]], Method]


def single(text: str, *steps: Change, source: str = "") -> Method:
    """Make a method whose steps hold for the whole run."""
    return Method(name=text, source=source, schedule=((0.0, steps),), static=True)


def _mask(text: str, arguments: list[str]) -> Method:
    pattern_text, at, passes = ":".join(arguments).partition("@")
    pattern = parse_pattern(pattern_text)
    rules = tuple(Rule(p, _TENSORS[p], pattern) for p in _passes(passes if at else "FF.BP.WU"))
    return Method(name=text, source="", schedule=((0.0, rules),), static=True)


def _unstructured(text: str, arguments: list[str]) -> Method:
    density, *rest = arguments
    how, at, passes = ":".join(rest).partition("@")
    density, at_first, first = density.partition("@")
    chosen = _passes((passes if at else first) if at or at_first else "FF.BP.WU")
    step = change(
        allocation.unstructured,
        density=numerals.number(density),
        allocation=how or "uniform",
        passes=chosen,
    )
    return single(text, step)


def _passes(text: str) -> tuple[Pass, ...]:
    names = text.upper().split(".")
    known = [p.value for p in _TENSORS]
    if not set(names) <= set(known) or len(set(names)) < len(names):
        raise InputError(f"passes must be some of {'.'.join(known)}, not {text!r}")
    return tuple(Pass(name) for name in names)


def _rewrite(
    rewrite: Callable[..., Any], *fields: tuple[str, Callable[[str], Any]], least: int | None = None
) -> Callable[[str, list[str]], Method]:
    """Read the arguments of a function of the vocabulary, the last ones optional."""

    def build(text: str, arguments: list[str]) -> Method:
        needed = len(fields) if least is None else least
        if not needed <= len(arguments) <= len(fields):
            raise ValueError
        options = {
            name: read(argument) for (name, read), argument in zip(fields, arguments, strict=False)
        }
        return single(text, change(rewrite, **options))

    return build


def _schedule(
    make: Callable[..., Method], *readers: Callable[[str], Any]
) -> Callable[[str, list[str]], Method]:
    def build(text: str, arguments: list[str]) -> Method:
        if len(arguments) != len(readers):
            raise ValueError
        return make(*(read(argument) for read, argument in zip(readers, arguments, strict=True)))

    return build


def _cubic(text: str, arguments: list[str]) -> Method:
    final, start, end, *how = arguments
    if len(how) > 1:
        raise ValueError
    return schedules.cubic(
        final=numerals.number(final),
        start=numerals.number(start),
        end=numerals.number(end),
        allocation=how[0] if how else "uniform",  # type: ignore[arg-type]
    )


def _attention(text: str, arguments: list[str]) -> Method:
    kind, *rest = arguments
    makers: dict[str, tuple[Callable[..., Any], tuple[tuple[str, Callable[[str], Any]], ...]]] = {
        "block": (activations.attention_block, (("block", _whole), ("density", numerals.number))),
        "window": (activations.attention_window, (("window", _whole),)),
        "strided": (activations.attention_strided, (("stride", _whole),)),
        "clusters": (activations.attention_clusters, ()),
    }
    rewrite, fields = makers[kind]
    return _rewrite(rewrite, *fields)(text, rest)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _set(density: float, every: int) -> Method:
    return schedules.prune_and_regrow("set", density, every, dense_gradient=False)


def _rigl(density: float, every: int) -> Method:
    return schedules.prune_and_regrow("rigl", density, every, dense_gradient=True)


WORDS: dict[str, Word] = {
    "mask": Word(
        "mask:PATTERN[@PASSES]",
        "W has a fixed pattern in the passes (FF.BP.WU; in WU the results at its positions)",
        "mask:block:16x16:0.5@FF",
        _mask,
    ),
    "unstructured": Word(
        "unstructured:DENSITY[:uniform|erk|magnitude][@PASSES]",
        "fixed masks without structure, density allocated to the layers",
        "unstructured:0.25:erk",
        _unstructured,
    ),
    "measured": Word(
        "measured",
        "the zeros that were measured in the weights are not stored and not multiplied",
        "measured",
        _rewrite(allocation.measured),
    ),
    "narrow": Word(
        "narrow:KEEP[:all|hidden|heads|stream]",
        "channels, hidden features, heads or the residual stream shrink to KEEP (widen above 1)",
        "narrow:0.5:hidden",
        _rewrite(structure.narrow, ("keep", numerals.number), ("part", str), least=1),
    ),
    "rotate-stream": Word(
        "rotate-stream",
        "an orthogonal product on every residual connection",
        "rotate-stream",
        _rewrite(structure.rotate_stream),
    ),
    "drop-blocks": Word(
        "drop-blocks:FRACTION",
        "the last numbered blocks are removed",
        "drop-blocks:0.25",
        _rewrite(structure.drop_blocks, ("fraction", numerals.number)),
    ),
    "grouped": Word(
        "grouped:CHANNELS",
        "convolutions in groups of CHANNELS input channels",
        "grouped:16",
        _rewrite(structure.grouped, ("channels", _whole)),
    ),
    "low-rank": Word(
        "low-rank:RANK",
        "two factors of RANK (below 1: of the full rank) replace each weight",
        "low-rank:0.25",
        _rewrite(factors.low_rank, ("rank", numerals.number)),
    ),
    "side": Word(
        "side:RANK",
        "a trained branch of two factors beside each weight",
        "side:16",
        _rewrite(factors.side, ("rank", numerals.number)),
    ),
    "monarch": Word(
        "monarch:BLOCKS",
        "two block-diagonal factors with a permutation (0: square root of the width)",
        "monarch:4",
        _rewrite(factors.monarch, ("blocks", _whole)),
    ),
    "dictionary": Word(
        "dictionary:ATOMS:KEPT",
        "a dense dictionary of ATOMS x inputs and a code that uses the share KEPT of them",
        "dictionary:0.5:0.5",
        _rewrite(factors.dictionary, ("atoms", numerals.number), ("kept", numerals.number)),
    ),
    "wrapped": Word(
        "wrapped:BLOCK",
        "block-diagonal products before and after each weight",
        "wrapped:64",
        _rewrite(factors.wrapped, ("block", _whole)),
    ),
    "freeze": Word(
        "freeze", "no weight is trained but those of branches", "freeze", _rewrite(updates.freeze)
    ),
    "update": Word(
        "update:FRACTION[:columns|elements]",
        "only some output columns, or some elements, of each weight are trained",
        "update:0.1",
        _rewrite(updates.restrict_update, ("fraction", numerals.number), ("how", str), least=1),
    ),
    "teacher": Word(
        "teacher",
        "the forward pass of a teacher before each step",
        "teacher",
        _rewrite(updates.teacher),
    ),
    "forward-only": Word(
        "forward-only:QUERIES",
        "QUERIES forward passes instead of a backward pass",
        "forward-only:2",
        _rewrite(updates.forward_only, ("queries", _whole)),
    ),
    "optimiser-state": Word(
        "optimiser-state:FACTOR",
        "the update reads, computes and writes FACTOR times as many numbers",
        "optimiser-state:2",
        _rewrite(updates.optimiser_state, ("factor", numerals.number)),
    ),
    "project-gradient": Word(
        "project-gradient:RANK",
        "gradients are projected on a fixed basis before the update",
        "project-gradient:0.25",
        _rewrite(updates.project_gradient, ("rank", numerals.number)),
    ),
    "precision": Word(
        "precision:WEIGHTS[:ACTIVATIONS]",
        "data types of weights and activations",
        "precision:int8:int8",
        _rewrite(precision.precision, ("weights", str), ("activations", str), least=1),
    ),
    "bit-planes": Word(
        "bit-planes:WEIGHT_BITS:ACTIVATION_BITS",
        "one product of single bits for each pair of bits",
        "bit-planes:2:4",
        _rewrite(precision.bit_planes, ("weights", _whole), ("activations", _whole)),
    ),
    "split-precision": Word(
        "split-precision:SHARE:HIGH:LOW",
        "some input channels in one data type, the others in another (forward)",
        "split-precision:0.2:int4:int1",
        _rewrite(
            precision.split_precision, ("share", numerals.number), ("high", str), ("low", str)
        ),
    ),
    "activations": Word(
        "activations:DENSITY",
        "what leaves an activation function is sparse, in all passes",
        "activations:0.1",
        _rewrite(activations.activations, ("density", numerals.number)),
    ),
    "attention": Word(
        "attention:block:SIZE:DENSITY | window:LENGTH | strided:STRIDE | clusters",
        "only parts of the attention maps are computed",
        "attention:block:64:0.1",
        _attention,
    ),
    "moe": Word(
        "moe:EXPERTS:TOP_K",
        "experts in place of each feed-forward layer",
        "moe:8:2",
        _rewrite(experts.mixture, ("experts", _whole), ("top_k", _whole)),
    ),
    "gate": Word(
        "gate:EXPERTS:TOP_K",
        "mixture of experts whose gate starts dense and gets sparse in stages",
        "gate:8:1",
        _schedule(schedules.dense_to_sparse_gate, _whole, _whole),
    ),
    "cubic": Word(
        "cubic:SPARSITY:START:END[:uniform|erk|magnitude]",
        "gradual magnitude pruning between two times of the run",
        "cubic:0.8:0.25:0.75",
        _cubic,
    ),
    "structure-decay": Word(
        "structure-decay:N:M",
        "N:M that gets sparser in stages",
        "structure-decay:1:16",
        _schedule(schedules.structure_decay, _whole, _whole),
    ),
    "mask-decay": Word(
        "mask-decay:N:M:END",
        "pruned weights fade out until END; dense before",
        "mask-decay:2:4:0.75",
        _schedule(schedules.mask_decay, _whole, _whole, numerals.number),
    ),
    "rigl": Word(
        "rigl:DENSITY:STEPS",
        "prune and regrow by gradient every STEPS steps",
        "rigl:0.1:100",
        _schedule(_rigl, numerals.number, _whole),
    ),
    "set": Word(
        "set:DENSITY:STEPS",
        "prune and regrow at random every STEPS steps",
        "set:0.1:100",
        _schedule(_set, numerals.number, _whole),
    ),
}
