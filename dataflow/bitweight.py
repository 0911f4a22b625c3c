"""The bit-weight notation: a matrix product as nested loops over M, N, K and the bit weight BW.

C[m,n] = sum over k and bw of digit(A[m,k], bw) x radix^bw x B[k,n]. A *level* is one loop: its axis
and a letter for how it runs: P in parallel hardware, T in time, S in time over non-zero digits only
(skipping the others). Levels are listed from the outermost to the innermost. A *primitive* sits
directly inside a level: it happens once for each iteration of that level and of all around it.

===========  ==================================================================================
encode       operand of A to digits
sparse       digits to the indices of the non-zero ones
map          build the candidates -2B to 2B and pick one by the digit
shift        move by the bit weight
half_reduce  carry-save compression to (sum, carry)
add          resolve sum + carry by one carry-propagate addition
sync         wait for all lanes
===========  ==================================================================================

Source: Wu et al., HPCA 2025 (arXiv 2503.06342), sections on the notation and the five engines, from
a reading note; the rules are derived here from what each primitive reads and makes.

>>> NESTS["opt4c"].copies("sparse", {"M": 32, "N": 32})
32
>>> NESTS["opt3"].copies("sparse", {"M": 32, "N": 32})
1024
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from workloads.errors import InputError

GROUP = 4
"""Terms of K whose digits of one position a sparse encoder looks at together."""

AXES = ("M", "N", "K", "BW")
KINDS = {"P": "spatial", "T": "temporal", "S": "temporal over non-zero digits"}
PRIMITIVES = ("encode", "sparse", "map", "shift", "half_reduce", "add", "sync")
NEEDED = ("encode", "map", "shift", "half_reduce", "add")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """An engine or array: its levels, outermost first, and the level that each primitive sits in.

    `placement` holds (primitive, level) pairs; sync may occur once for every kind of lane. Raises
    `InputError` with the reason for a placement that no hardware can have.
    """

    name: str
    levels: tuple[str, ...]
    placement: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        _check_levels(self)
        for rule in _RULES:
            reason = rule(self)
            if reason:
                raise InputError(f"nest {self.name!r} is not possible: {reason}")

    def moved(self, primitive: str, level: str) -> Nest:
        """Return the nest with one primitive at another level: a transformation to be judged."""
        kept = tuple(pair for pair in self.placement if pair[0] != primitive)
        return replace(self, placement=(*kept, (primitive, level)))

    def depth(self, primitive: str) -> int:
        """Return how many levels enclose a primitive."""
        return self.levels.index(dict(self.placement)[primitive]) + 1

    def has(self, primitive: str) -> bool:
        """Return whether the nest has a primitive."""
        return primitive in dict(self.placement)

    def around(self, primitive: str) -> tuple[str, ...]:
        """Return the levels that enclose a primitive."""
        return self.levels[: self.depth(primitive)]

    def copies(self, primitive: str, spatial: Mapping[str, int]) -> int:
        """Return the copies of a primitive in hardware; `spatial` gives the lanes of each axis.

        An axis without an entry has one lane. For shift and add outside the loops of K this is the
        number of results per K; the SIMD unit that makes them may be narrower.
        """
        parallel = [level for level in self.around(primitive) if _kind(level) == "P"]
        return math.prod(spatial.get(_axis(level), 1) for level in parallel)

    @property
    def carry_save(self) -> bool:
        """Whether sums stay in carry-save form over K, so that no carry chain is in the loop."""
        steps = [i for i, x in enumerate(self.levels) if _axis(x) == "K" and _kind(x) != "P"]
        return any(i >= self.depth("add") for i in steps)

    @property
    def skips(self) -> bool:
        """Whether zero digits cost no step."""
        return any(_kind(level) == "S" for level in self.levels)

    def __str__(self) -> str:
        """Show the nest with its primitives, one level per line."""
        lines = []
        for depth, level in enumerate(self.levels):
            here = [p for p, at in self.placement if at == level]
            lines.append(f"{'  ' * depth}{level}: {', '.join(here)}".rstrip(": "))
        return "\n".join(lines)


def _axis(level: str) -> str:
    return level[:-1]


def _kind(level: str) -> str:
    return level[-1]


def _check_levels(nest: Nest) -> None:
    for level in nest.levels:
        if _axis(level) not in AXES or _kind(level) not in KINDS:
            raise InputError(
                f"level of nest {nest.name!r} must be an axis M, N, K or BW with P, T or S, "
                f"not {level!r}"
            )
    if len(set(nest.levels)) < len(nest.levels):
        raise InputError(f"levels of nest {nest.name!r} must differ, not {' '.join(nest.levels)}")
    missing = [axis for axis in AXES if axis not in map(_axis, nest.levels)]
    if missing:
        raise InputError(f"nest {nest.name!r} must have a level of {missing[0]}")
    for primitive, level in nest.placement:
        if primitive not in PRIMITIVES or level not in nest.levels:
            raise InputError(
                f"placement in nest {nest.name!r} must put one of {', '.join(PRIMITIVES)} into "
                f"one of {' '.join(nest.levels)}, not {primitive!r} into {level!r}"
            )
    absent = [primitive for primitive in NEEDED if not nest.has(primitive)]
    if absent:
        raise InputError(f"nest {nest.name!r} must place {absent[0]}")


def _outside(nest: Nest, primitive: str, axes: str, *, kinds: str = "PTS") -> str | None:
    """Return a level of the axes and kinds that lies inside the primitive, if there is one."""
    for level in nest.levels[nest.depth(primitive) :]:
        if _axis(level) in axes.split() and _kind(level) in kinds:
            return level
    return None


def _encode_knows_its_operand(nest: Nest) -> str:
    inner = _outside(nest, "encode", "M K", kinds="PT")
    return f"encode reads A[m,k], so it must be inside {inner}" if inner else ""


def _map_knows_digit_and_operand(nest: Nest) -> str:
    inner = _outside(nest, "map", "M N K BW")
    if not inner:
        return ""
    return f"map picks a multiple of B[k,n] by digit [m,k,bw], so it must be inside {inner}"


def _shift_knows_the_weight(nest: Nest) -> str:
    inner = _outside(nest, "shift", "BW")
    if inner:
        return (
            f"shift needs one bit weight, so it must be inside {inner}: digits of different weight "
            "would be added unshifted"
        )
    return _one_result(nest, "shift")


def _reduction_is_of_one_result(nest: Nest) -> str:
    return _one_result(nest, "half_reduce")


def _one_result(nest: Nest, primitive: str) -> str:
    """Parallel M and N lanes are distributed over what follows K; their time loops are not."""
    inner = _outside(nest, primitive, "M N", kinds="TS")
    return f"{primitive} works on one C[m,n], so it must be inside {inner}" if inner else ""


def _add_follows_the_reduction(nest: Nest) -> str:
    if nest.depth("add") > nest.depth("half_reduce"):
        return "add resolves what half_reduce made, so it must not be inside a level of its own"
    return _one_result(nest, "add")


def _sparse_skips_something(nest: Nest) -> str:
    skipped = [level for level in nest.levels if _kind(level) == "S"]
    if not nest.has("sparse"):
        return f"{skipped[0]} skips zero digits, so sparse must be placed" if skipped else ""
    if not skipped:
        return "sparse has no level to skip in: a zero digit with its own hardware saves no time"
    inner = nest.levels[nest.depth("sparse") :]
    if not inner or inner[0] not in skipped:
        return f"sparse makes the steps of {skipped[0]}, so it must be directly around it"
    if nest.depth("encode") > nest.depth("sparse"):
        return "sparse reads encoded digits, so encode must not be inside it"
    for level in inner[1:]:
        if _kind(level) == "P" and _axis(level) in ("M", "K"):
            return f"lanes of {level} hold other operands, whose zero digits are elsewhere"
    return ""


def _lanes_wait_for_each_other(nest: Nest) -> str:
    syncs = [nest.levels.index(level) for primitive, level in nest.placement if primitive == "sync"]
    if not nest.has("sparse"):
        return "sync has nothing to wait for: all lanes take the same steps" if syncs else ""
    weights = [
        i for i, level in enumerate(nest.levels) if _axis(level) == "BW" and _kind(level) == "T"
    ]
    for i, level in enumerate(nest.levels[: nest.depth("sparse")]):
        if _kind(level) != "P":
            continue
        around = [at for at in syncs if at < i]
        if not around:
            return f"lanes of {level} finish at different times, so sync must be around it"
        if _axis(level) == "K" and weights and max(around) < max(weights):
            return f"lanes of {level} share a sum of one weight, so sync must be inside BWT"
    return ""


_RULES = (
    _sparse_skips_something,
    _encode_knows_its_operand,
    _map_knows_digit_and_operand,
    _shift_knows_the_weight,
    _reduction_is_of_one_result,
    _add_follows_the_reduction,
    _lanes_wait_for_each_other,
)


def _nest(name: str, levels: str, placement: str) -> Nest:
    """Return a nest from its levels and from each primitive with its level."""
    pairs = [pair.split() for pair in placement.split(", ")]
    return Nest(
        name=name,
        levels=tuple(levels.split()),
        placement=tuple((primitive, level) for primitive, level in pairs),
    )


NESTS = {
    name: _nest(name, levels, placement)
    for name, levels, placement in (
        (
            "systolic_os",
            "MT NT MP NP KT BWP",
            "encode KT, map BWP, shift BWP, half_reduce KT, add KT",
        ),
        (
            "systolic_ws",
            "KT NT KP NP MT BWP",
            "encode MT, map BWP, shift BWP, half_reduce MT, add MT",
        ),
        ("cube", "MT NT KT MP NP KP BWP", "encode KP, map BWP, shift BWP, half_reduce KP, add KP"),
        ("tree", "MT NT KT NP KP BWP", "encode KP, map BWP, shift BWP, half_reduce KP, add KP"),
        (
            "matrix_2d",
            "MT NT KT MP NP BWP",
            "encode NP, map BWP, shift BWP, half_reduce NP, add NP",
        ),
        ("opt1", "MT NT MP NP KT BWP", "encode KT, map BWP, shift BWP, half_reduce KT, add NP"),
        ("opt2", "MT NT MP NP BWT KT KP", "encode KP, map KP, half_reduce KT, shift BWT, add BWT"),
        (
            "opt3",
            "MT NT MP NP BWT KT KS",
            "encode KT, sparse KT, map KS, half_reduce KS, shift BWT, add BWT, sync NT",
        ),
        (
            "opt4c",
            "MT NT MP BWT KT KS NP",
            "encode KT, sparse KT, map NP, half_reduce NP, shift BWT, add BWT, sync NT",
        ),
        (
            "opt4e",
            "MT NT MP BWT KP KT KS NP",
            "encode KT, sparse KT, map NP, half_reduce BWT, shift BWT, add BWT, sync NT, sync BWT",
        ),
    )
}
"""The classic arrays and the five engines. In `opt4e` the lanes of KP share one compressor."""
