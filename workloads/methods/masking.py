"""Assign patterns to the operands that rules name, and put selections before the products.

Layers stay dense, and the notes say which and why:

* the first layer, the classifier and attention, where the policy says so,
* every layer whose axes cannot hold the pattern: reduction runs shorter than M of N:M or than a
  group (a depthwise convolution, the three channels of an image), a matrix smaller than a block. A
  transposable mask needs M along both axes.

N:M weights are selected once for a layer and pass; dY exists once for every use of a layer. A rule
for dW says which results are wanted: those at the positions of a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from workloads.lowering import conv_elements
from workloads.methods.accounting import TEACHER, settle_updates
from workloads.methods.rewriting import features
from workloads.operations import MatMul, Operand, Operation, Pass, Selection, Workload
from workloads.patterns import NM, Block, Group, Pattern, TransposableNM

MOST_NAMED = 8
"""Layers that a note names one by one."""


class Rule(NamedTuple):
    """`tensor` (W, X, dY or dW) has `pattern` in the products of `pass_`."""

    pass_: Pass
    tensor: str
    pattern: Pattern


Rules = tuple[Rule, ...]


class Policy(NamedTuple):
    """Which layers a method leaves dense, and whether it selects its masks in this step."""

    name: str
    first_dense: bool = True
    classifier_dense: bool = True
    attention_dense: bool = True
    selects: bool = True


def assign(workload: Workload, rules: Rules, policy: Policy) -> tuple[Workload, list[str]]:
    """Return the workload with the patterns of `rules`, and notes about what stays dense."""
    state = _State(policy=policy, rules={(r.pass_, r.tensor): r.pattern for r in rules})
    operations = tuple(op for before in workload for op in _apply(state, before))
    masked = replace(workload, operations=operations)
    return settle_updates(workload, masked), state.notes()


def assign_one(op: MatMul, rules: Rules, policy: Policy) -> tuple[Operation, ...]:
    """Return a product with the patterns of `rules`, and its selection if it needs one."""
    state = _State(policy=policy, rules={(r.pass_, r.tensor): r.pattern for r in rules})
    return tuple(_apply(state, op))


@dataclass
class _State:
    """What one application of rules remembers from product to product."""

    policy: Policy
    rules: dict[tuple[Pass, str], Pattern]
    selected: set[tuple[str, str, Pass | None]] = field(default_factory=set)
    use: tuple[object, ...] = ()
    dense: dict[str, dict[str, None]] = field(default_factory=dict)

    def leave(self, reason: str, layer: str) -> None:
        self.dense.setdefault(reason, {})[layer] = None

    def notes(self) -> list[str]:
        return [
            f"{self.policy.name} leaves dense, {reason}: {_listed(list(layers))}"
            for reason, layers in self.dense.items()
        ]


def _listed(layers: list[str]) -> str:
    """Name all of a few layers, the first of many."""
    if len(layers) <= MOST_NAMED:
        return ", ".join(layers)
    return f"{', '.join(layers[:3])} and {len(layers) - 3} more"


def _apply(state: _State, op: Operation) -> Iterator[Operation]:
    """Yield the operations that `op` becomes."""
    if not isinstance(op, MatMul) or op.layer.startswith(TEACHER):
        yield op
        return
    use = (op.layer, op.pass_, op.conv)
    again, state.use = use == state.use and op.conv is not None, use
    side, pattern = _side(state, op)
    if op.kind == "attention" and state.policy.attention_dense:
        if any(pass_ is op.pass_ for pass_, _ in state.rules):
            state.leave("as both operands are activations", op.layer)
        pattern = None
    if pattern is None or _stays_dense(state, op, side, pattern):
        yield op
        return
    operand: Operand = getattr(op, side)
    if state.policy.selects and side != "out":
        yield from _selection(state, op, operand, pattern, again=again)
    sparse = replace(operand, pattern=pattern)
    match side:
        case "left":
            yield replace(op, left=sparse)
        case "right":
            yield replace(op, right=sparse)
        case _:
            yield replace(op, out=sparse)


def _side(state: _State, op: MatMul) -> tuple[str, Pattern | None]:
    """Return the first operand that a rule names, and its pattern."""
    for side, operand in (("left", op.left), ("right", op.right), ("out", op.out)):
        pattern = state.rules.get((op.pass_, operand.tensor))
        if pattern is not None:
            return side, pattern
    return "", None


def _stays_dense(state: _State, op: MatMul, side: str, pattern: Pattern) -> bool:
    """Decide, and remember why, whether the policy or the shape keeps `op` dense."""
    if op.position == "first" and state.policy.first_dense:
        state.leave("as the first layer", op.layer)
    elif op.position == "last" and state.policy.classifier_dense:
        state.leave("as the classifier", op.layer)
    elif reason := _misfit(op, side, pattern):
        state.leave(reason[0], f"{op.layer} ({reason[1]} in {op.pass_})")
    else:
        return False
    return True


def _misfit(op: MatMul, side: str, pattern: Pattern) -> tuple[str, str] | None:
    """Say why an operand's axes cannot hold the pattern, and what they are; None if they can."""
    run = _group_run(op, side, pattern)
    rows, cols = {"left": (op.m, op.k), "right": (op.k, op.n), "out": (op.m, op.n)}[side]
    match pattern:
        case NM() if run < pattern.m:
            return f"as its reduction runs cannot hold a group of {pattern.m}", str(run)
        case Group() if run < pattern.size:
            return f"as its reduction runs cannot hold a group of {pattern.size}", str(run)
        case Block() if op.batch > 1 or rows < pattern.rows or cols < pattern.cols:
            what = f"as its matrix cannot hold a block of {pattern.rows}x{pattern.cols}"
            return what, f"{op.batch} of {rows}x{cols}" if op.batch > 1 else f"{rows}x{cols}"
    return None


def _group_run(op: MatMul, side: str, pattern: Pattern) -> int:
    """Length of the runs that the groups of `pattern` must fit in.

    A mask of dW is that of the weights in FF, whose groups lie along the inputs.
    """
    ins, outs = features(op)
    run = ins if side == "out" else op.k_run
    return min(run, ins, outs) if isinstance(pattern, TransposableNM) else run


def _selection(
    state: _State, op: MatMul, operand: Operand, pattern: Pattern, *, again: bool
) -> Iterator[Selection]:
    """Yield the selection of `operand` unless it has been made; `again`: a further phase."""
    weights = operand.tensor == "W"
    both_passes = isinstance(pattern, TransposableNM) or not isinstance(pattern, NM)
    key = (op.layer, operand.tensor, None if both_passes else op.pass_)
    if (weights and key in state.selected) or (not weights and again):
        return
    state.selected.add(key)
    yield Selection(
        name=_selection_name(op, operand, weights=weights),
        layer=op.layer,
        pass_=op.pass_,
        tensor=operand.tensor,
        elements=_tensor_elements(op, operand),
        pattern=pattern,
        dtype=operand.dtype,
        pregenerable=weights,
    )


def _selection_name(op: MatMul, operand: Operand, *, weights: bool) -> str:
    """Name a selection after its layer, or after the product where a layer has several."""
    return f"{op.layer if weights else op.name}.select{operand.tensor}.{op.pass_}"


def _tensor_elements(op: MatMul, operand: Operand) -> int:
    """Elements of the whole tensor, also where `op` is one phase that is charged a share of it."""
    if op.conv is None:
        return operand.elements
    inputs, weights, outputs = conv_elements(op.conv)
    return {"X": inputs, "W": weights, "dY": outputs}[operand.tensor]
