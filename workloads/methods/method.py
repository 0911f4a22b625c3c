"""A sparsity method: which tensor carries which N:M pattern in which pass, and when in a run.

A method turns a dense workload into a sparse one. It sets the patterns of operands, puts a
`Selection` before the first product that uses each selected tensor, and says in the notes which
layers it left dense and why:

* the first layer, the classifier and attention, where the method's policy says so,
* every layer whose reduction axis has runs shorter than M, which cannot hold a group (a depthwise
  convolution, the three channels of an image). A transposable mask needs M along both axes.

Weights are selected once for a layer and pass; dY exists once for every use of a layer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from workloads.errors import InputError
from workloads.lowering import conv_elements
from workloads.operations import MatMul, Operand, Operation, Pass, Selection, Workload
from workloads.patterns import NM, TransposableNM


class Rule(NamedTuple):
    """`tensor` (W or dY) has `pattern` in the products of `pass_`."""

    pass_: Pass
    tensor: str
    pattern: NM


Rules = tuple[Rule, ...]


class Stage(NamedTuple):
    """The rules that hold from `start` to `end`, both fractions of the training run."""

    start: float
    end: float
    rules: Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Patterns for tensors and passes over a training run.

    `name` is the text that `parse_method` reads. `schedule` holds (start, rules): the rules that
    hold from that fraction of the run on; the first start is 0. `refresh_steps` is the number of
    steps that a mask is kept for (1: selected anew in every step).
    """

    name: str
    source: str
    schedule: tuple[tuple[float, Rules], ...]
    first_dense: bool = True
    classifier_dense: bool = True
    attention_dense: bool = True
    refresh_steps: int = 1

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.schedule]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or not starts[-1] < 1:
            raise InputError(
                f"schedule of {self.name} must start at 0 and rise to below 1, not at {starts}"
            )
        for _, rules in self.schedule:
            if len({(rule.pass_, rule.tensor) for rule in rules}) < len(rules):
                raise InputError(f"{self.name} must give a tensor one pattern in a pass, not two")
        if self.refresh_steps < 1:
            raise InputError(
                f"refresh_steps of {self.name} must be at least 1, not {self.refresh_steps}"
            )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule with the end of each stage."""
        ends = [start for start, _ in self.schedule[1:]] + [1.0]
        return tuple(
            Stage(start, end, rules)
            for (start, rules), end in zip(self.schedule, ends, strict=True)
        )

    def at(self, progress: float) -> Rules:
        """Return the rules in force after the fraction `progress` of the run."""
        if not 0 <= progress <= 1:
            raise InputError(f"progress of {self.name} must lie in 0 to 1, not {progress!r}")
        return self.schedule[bisect_right([start for start, _ in self.schedule], progress) - 1][1]

    def after_dense(self, fraction: float) -> Method:
        """Return the method with its whole schedule squeezed behind a dense warm-up."""
        if not 0 < fraction < 1:
            raise InputError(f"dense warm-up must be a fraction between 0 and 1, not {fraction!r}")
        later = tuple((fraction + start * (1 - fraction), rules) for start, rules in self.schedule)
        return replace(self, schedule=((0.0, ()), *later))

    def __call__(self, workload: Workload, progress: float = 1.0) -> Workload:
        """Return `workload` as the method makes it after the fraction `progress` of the run.

        Raises `InputError` if a method was applied to the workload before.
        """
        if workload.method != "dense":
            raise InputError(
                f"{self.name} must be applied to a dense workload, not to {workload.name!r}, "
                f"which is {workload.method}"
            )
        rules = self.at(progress)
        state = _State(method=self, rules={(r.pass_, r.tensor): r.pattern for r in rules})
        operations = tuple(op for before in workload for op in _apply(state, before))
        notes = (*workload.notes, *state.notes(), *self._notes(rules, progress))
        return replace(workload, operations=operations, method=self.name, notes=notes)

    def average_flop_ratio(self, workload: Workload) -> float:
        """Return the training-FLOP ratio of a whole run: the stages' ratios, weighted by length.

        >>> from workloads import networks
        >>> step = networks.resnet9().training_step()
        >>> from workloads.methods import bdwp
        >>> half = bdwp(2, 8).after_dense(0.5).average_flop_ratio(step)
        >>> half == (1 + bdwp(2, 8)(step).flop_ratio) / 2
        True
        """
        return sum(
            (stage.end - stage.start) * self(workload, stage.start).flop_ratio
            for stage in self.stages
        )

    def _notes(self, rules: Rules, progress: float) -> Iterator[str]:
        if not rules and len(self.schedule) > 1:
            yield f"{self.name} is still dense after {progress:.0%} of the run"
        if rules and self.refresh_steps > 1:
            yield (
                f"{self.name} keeps a mask for {self.refresh_steps} steps; this is a step that "
                "selects it anew"
            )


@dataclass
class _State:
    """What one application of a method remembers from product to product."""

    method: Method
    rules: dict[tuple[Pass, str], NM]
    selected: set[tuple[str, str, Pass | None]] = field(default_factory=set)
    use: tuple[object, ...] = ()
    dense: dict[str, dict[str, None]] = field(default_factory=dict)

    def leave(self, reason: str, layer: str) -> None:
        self.dense.setdefault(reason, {})[layer] = None

    def notes(self) -> list[str]:
        return [
            f"{self.method.name} leaves dense, {reason}: {', '.join(layers)}"
            for reason, layers in self.dense.items()
        ]


def _apply(state: _State, op: Operation) -> Iterator[Operation]:
    """Yield the operations that `op` becomes."""
    if not isinstance(op, MatMul):
        yield op
        return
    use = (op.layer, op.pass_, op.conv)
    again, state.use = use == state.use and op.conv is not None, use
    left, right = state.rules.get((op.pass_, op.left.tensor)), None
    if left is None:
        right = state.rules.get((op.pass_, op.right.tensor))
    pattern = left or right
    if op.kind == "attention" and state.method.attention_dense:
        if any(pass_ is op.pass_ for pass_, _ in state.rules):
            state.leave("as both operands are activations", op.layer)
        pattern = None
    if pattern is None or _stays_dense(state, op, pattern):
        yield op
        return
    operand = op.left if left else op.right
    yield from _selection(state, op, operand, pattern, again=again)
    sparse = replace(operand, pattern=pattern)
    yield replace(op, left=sparse) if left else replace(op, right=sparse)


def _stays_dense(state: _State, op: MatMul, pattern: NM) -> bool:
    """Decide, and remember why, whether the policy or the shape keeps `op` dense."""
    method, run = state.method, _group_run(op, pattern)
    if op.position == "first" and method.first_dense:
        state.leave("as the first layer", op.layer)
    elif op.position == "last" and method.classifier_dense:
        state.leave("as the classifier", op.layer)
    elif run < pattern.m:
        what = f"as its reduction runs cannot hold a group of {pattern.m}"
        state.leave(what, f"{op.layer} ({run} in {op.pass_})")
    else:
        return False
    return True


def _group_run(op: MatMul, pattern: NM) -> int:
    """Length of the runs that the groups of `pattern` must fit in."""
    if not isinstance(pattern, TransposableNM):
        return op.k_run
    if op.conv is None:
        return min(op.k_run, op.n)
    return min(op.conv.in_channels, op.conv.out_channels) // op.conv.groups


def _selection(
    state: _State, op: MatMul, operand: Operand, pattern: NM, *, again: bool
) -> Iterator[Selection]:
    """Yield the selection of `operand` unless it has been made; `again`: a further phase."""
    weights = operand.tensor == "W"
    both_passes = isinstance(pattern, TransposableNM)
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
