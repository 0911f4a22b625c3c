"""Replace a weight matrix by factors, or put a branch of two factors beside it.

`layer` becomes `layer/V` and `layer/U` (forward V then U, backward U then V). A convolution keeps
its kernel in the first factor; the second is a product over its output positions. Grouped
convolutions stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import gcd, inf

from workloads.errors import InputError
from workloads.lowering import batched, lower_linear
from workloads.methods.rewriting import features, map_products, resized, rows
from workloads.operations import MatMul, Operation, Pass, VectorOp, Workload
from workloads.patterns import DENSE, Pattern, Unstructured
from workloads.vector_work import FP16_BYTES


def low_rank(workload: Workload, *, rank: float) -> Workload:
    """Replace every inner weight by two factors of `rank`, below 1 a fraction of the full rank.

    A layer whose factors would hold at least as many weights stays as it is: the break-even rank of
    an m x n matrix is m n / (m + n).
    """
    _check_rank(rank)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        r = _rank(op, rank)
        ins, outs = features(op)
        if _grouped(op) or r * (ins * _taps(op) + outs) >= ins * outs * _taps(op):
            return (op,)
        return _chain(op, r, first)

    return map_products(workload, change)


def side(workload: Workload, *, rank: float) -> Workload:
    """Put a branch of two factors of `rank` beside every inner weight: `layer/side.V` and `.U`.

    Raises `InputError` if the weights were frozen before: the branch would not be trained.
    """
    _check_rank(rank)
    passes = {op.pass_ for op in workload.matmuls}
    if Pass.BP in passes and Pass.WU not in passes:
        raise InputError(f"side must stand before freeze, as in side:{rank:g}+freeze")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        yield op
        if not _grouped(op):
            yield from _chain(op, _rank(op, rank), first, part="side.")

    return map_products(workload, change)


def dictionary(workload: Workload, *, atoms: float, kept: float) -> Workload:
    """Replace every inner weight by a dense dictionary and a sparse code.

    `atoms` is the number of atoms as a fraction of the inputs, `kept` the fraction of atoms that
    each column of the code uses. The code is the second factor; it has the same number of non-zeros
    in every column.
    """
    _check_share("atoms", atoms, most=4)
    _check_share("kept atoms", kept)

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        if _grouped(op):
            return (op,)
        count = max(1, round(features(op)[0] * atoms))
        return _chain(op, count, first, code=Unstructured(kept))

    return map_products(workload, change)


def monarch(workload: Workload, *, blocks: int) -> Workload:
    """Replace every inner linear weight by two block-diagonal factors with a permutation between.

    `blocks` 0 takes the divisor of both sides nearest to the square root of the smaller one. The
    factors meet in as many features as the smaller side has.
    """
    if blocks < 0:
        raise InputError(f"monarch needs a number of blocks, or 0 for its root, not {blocks}")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        ins, outs = features(op)
        count = blocks or _near_root(gcd(ins, outs), min(ins, outs))
        middle = min(ins, outs)
        if op.conv is not None or op.batch > 1 or count < 2 or ins % count or outs % count:
            return (op,)
        factors = [
            _block_diagonal(op, ins, middle, count, "V"),
            _block_diagonal(op, middle, outs, count, "U"),
        ]
        ordered = factors[::-1] if op.pass_ is Pass.BP else factors
        if op.pass_ is Pass.WU:
            return ordered
        return (ordered[0], _permutation(op, rows(op) * middle), ordered[1])

    return map_products(workload, change)


def wrapped(workload: Workload, *, block: int) -> Workload:
    """Put a block-diagonal product of blocks of `block` before and after every inner linear weight.

    ARMOR: the core between the wrappers may then carry a pattern of its own.
    """
    if block < 1:
        raise InputError(f"wrapped needs blocks of at least one feature, not {block}")

    def change(op: MatMul, first: bool) -> Iterable[Operation]:
        ins, outs = features(op)
        if op.conv is not None or op.batch > 1 or ins % block or outs % block:
            return (op,)
        before = _block_diagonal(op, ins, ins, ins // block, "A")
        after = _block_diagonal(op, outs, outs, outs // block, "B")
        return (after, op, before) if op.pass_ is Pass.BP else (before, op, after)

    return map_products(workload, change)


def _chain(
    op: MatMul, rank: int, first: bool, *, code: Pattern = DENSE, part: str = ""
) -> Iterator[Operation]:
    """Yield both factors of `op` in its pass; the second once for all phases of a pass."""
    ins, outs = features(op)
    inner = resized(op, ins, rank, layer=f"{op.layer}/{part}V")
    outer = _linear(op, rows(op), rank, outs, f"{op.layer}/{part}U") if first else ()
    outer = tuple(_coded(each, code) for each in outer)
    if op.pass_ is Pass.BP:
        yield from outer
        yield inner
    else:
        yield inner
        yield from outer


def _coded(op: MatMul, code: Pattern) -> MatMul:
    if op.pass_ is Pass.WU:
        return replace(op, out=replace(op.out, pattern=code))
    return replace(op, right=replace(op.right, pattern=code))


def _linear(
    op: MatMul, count: int, in_features: int, out_features: int, layer: str
) -> tuple[MatMul, ...]:
    dtype = op.left.dtype
    return lower_linear(layer, count, in_features, out_features, op.pass_, dtype=dtype)


def _block_diagonal(op: MatMul, ins: int, outs: int, blocks: int, part: str) -> MatMul:
    """Return `blocks` products of a block of the features each, as one operation."""
    (small,) = _linear(op, rows(op), ins // blocks, outs // blocks, f"{op.layer}/{part}")
    return batched(small, blocks)


def _permutation(op: MatMul, elements: int) -> VectorOp:
    return VectorOp(
        name=f"{op.layer}/permute.{op.pass_}",
        layer=f"{op.layer}/permute",
        pass_=op.pass_,
        kind="permutation",
        elements=elements,
        read_bytes=elements * FP16_BYTES,
        write_bytes=elements * FP16_BYTES,
    )


def _grouped(op: MatMul) -> bool:
    return op.batch > 1 or (op.conv is not None and op.conv.groups > 1)


def _taps(op: MatMul) -> int:
    return 1 if op.conv is None else op.conv.kernel[0] * op.conv.kernel[1]


def _rank(op: MatMul, rank: float) -> int:
    full = min(features(op)[0] * _taps(op), features(op)[1])
    return max(1, min(full, round(rank * full) if rank < 1 else round(rank)))


def _near_root(common: int, side_length: int) -> int:
    """Return the divisor of `common` nearest to the square root of `side_length`."""
    root = side_length**0.5
    divisors = (d for d in range(1, common + 1) if common % d == 0)
    return min(divisors, key=lambda d: abs(d - root))


def _check_rank(rank: float) -> None:
    if not 0 < rank < inf or (rank >= 1 and rank != round(rank)):
        raise InputError(f"rank must be a whole number or a fraction below 1, not {rank}")


def _check_share(what: str, share: float, *, most: float = 1) -> None:
    if not 0 < share <= most:
        raise InputError(f"{what} must be a fraction above 0 and at most {most}, not {share}")
