"""What a study asks for, checked before anything runs; `study_file` says how to write one."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

from simulator import run_options
from simulator.accelerators import find
from simulator.accelerators import names as accelerator_names
from simulator.sweep.expressions import Expression, check_names, parse
from simulator.sweep.space import (
    METHOD_NAMES,
    Space,
    checked_values,
    field_names,
    read_quantities,
    read_space,
)
from workloads import models, networks
from workloads.errors import InputError
from workloads.methods import parse_method
from workloads.operations import Workload

VERSION = 1
METRICS = ("cycles", "compute_cycles", "seconds", "energy_j", "dram_bytes", "utilisation")
"""Results of every point, as in `Report.summary`."""
WHOLE_METRICS = ("cycles", "compute_cycles", "dram_bytes")
RESERVED = ("point", "accelerator", "network", "batch", "method", "feasible", "error")
KINDS = ("grid", "random", "sobol", "nsga2", "tpe")
MODES = ("training", "inference")
OPTIONS = "options"
LISTS = ("accelerators", "batches", "methods", "objectives")
"""Lists of a study that always hold something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How designs are chosen: `points` designs an accelerator, all of them for a grid.

    `population` is the number of designs that NSGA-II and TPE ask for at once; it does not depend
    on the number of processes, so that the result does not either.
    """

    kind: str = "grid"
    points: int = 0
    population: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"search.kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        for name, least in (("points", 0), ("population", 2), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"search.{name} must be a whole number of at least {least}, not {value!r}"
                )
        if self.kind == "grid" and self.points:
            raise InputError("search.points is not for a grid, which has all designs of its lists")
        if self.kind != "grid" and not self.points:
            raise InputError(f"search.points must say how many designs {self.kind} tries")

    @property
    def adaptive(self) -> bool:
        """Whether later designs depend on earlier results."""
        return self.kind in ("nsga2", "tpe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload that every design runs, before its method is applied.

    `network` is a network or any other model that `workloads.models` finds; for one that fixes its
    batch, `batch` is 0. With the mode `options`, it holds the accelerator's own options.
    """

    network: str
    batch: int
    mode: str = "training"


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A whole study, checked. `space` holds common fields and, by name of an accelerator, its own.

    Every design (accelerator, method and fields) runs every network at every batch; networks may be
    model files and names of models, with batches = [0] for those that fix theirs. Accelerators
    with workloads of their own run `options` instead, texts as on the command line. `designs` is a
    table of designs instead of a space: columns of equal length, one a field, and "method".
    """

    name: str = "study"
    accelerators: tuple[str, ...] = ("sat",)
    networks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    batches: tuple[int, ...] = (32,)
    methods: tuple[str, ...] = ("dense",)
    mode: str = "training"
    objectives: tuple[str, ...] = ("seconds", "energy_j")
    constraints: tuple[str, ...] = ()
    search: Search = field(default_factory=Search)
    space: Mapping[str, Any] = field(default_factory=dict)
    quantities: Mapping[str, str] = field(default_factory=dict)
    designs: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.designs:
            self._read_designs()
        for name in (*LISTS, "networks", "options", "constraints"):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        for name in (*LISTS, "networks" if not self.options else "options"):
            if not getattr(self, name):
                raise InputError(f"{name} must list at least one, not nothing")
        if self.options and (self.networks or self.methods != ("dense",)):
            raise InputError(
                "options are workloads of their own; leave networks and methods out beside them"
            )
        if self.mode not in MODES:
            raise InputError(f"mode must be training or inference, not {self.mode!r}")
        for text in self.methods:
            parse_method(text)
        self._check_space()
        for case in self.cases:
            for accelerator in self.accelerators:
                check_case(case, accelerator)
        self._check_expressions()
        for space in self.spaces:
            _check_values(space)

    def _read_designs(self) -> None:
        """Make the space that holds the listed designs."""
        columns = {name: list(values) for name, values in self.designs.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or not all(lengths.values()):
            raise InputError(f"designs must hold columns of one length above 0, not {lengths}")
        if self.space or len(self.accelerators) > 1 or self.search.kind != "grid":
            raise InputError(
                "designs must stand alone, for one accelerator, without a space or a search"
            )
        space = {name: list(dict.fromkeys(values)) for name, values in columns.items()}
        object.__setattr__(self, "methods", _listed("methods", space.pop("method", self.methods)))
        if len(self.methods) > 1 and "method" not in columns:
            raise InputError("designs must have a column 'method' where there are several methods")
        object.__setattr__(self, "space", space)
        object.__setattr__(self, "designs", columns)

    def _check_space(self) -> None:
        for name in self.accelerators:
            find(name)
        for name, form in self.space.items():
            if isinstance(form, Mapping) and not _is_form(form) and name not in self.accelerators:
                near = ", ".join(self.accelerators)
                raise InputError(
                    f"space.{name} is neither a range nor one of the accelerators {near}"
                )

    def _check_expressions(self) -> None:
        taken = [*self._field_names, *METHOD_NAMES, *METRICS, *self._offered]
        known = [*taken, *self._offerable]
        for name, quantity in read_quantities(self.quantities, "quantities").items():
            if name in (*taken, *RESERVED):
                raise InputError(
                    f"quantities.{name} is already the name of a column; choose another"
                )
            self._check_names(quantity, known, f"quantities.{name}")
            taken.append(name)
            known.append(name)
        for place, constraint in enumerate(self._constraints):
            self._check_names(constraint, known, f"constraints[{place}]")
        for place, objective in enumerate(self._objectives):
            results = [*METRICS, *self._quantities, *self._offerable]
            self._check_names(objective, results, f"objectives[{place}]")

    def _check_names(self, expression: Expression, known: Sequence[str], where: str) -> None:
        """Raise `InputError` if a name is not known: it may be one that other models offer."""
        for name in sorted(expression.names - set(known)):
            if any(name in offered_quantities(each) for each in accelerator_names()):
                lack = [each for each in self.accelerators if name not in offered_quantities(each)]
                raise InputError(
                    f"{where} reads {name!r}, which {' and '.join(lack)} cannot state; leave it "
                    "out, or write an expression under [quantities]"
                )
        check_names(expression, known, where)

    @property
    def _field_names(self) -> list[str]:
        """Fields that every accelerator of the study has."""
        first, *others = (field_names(name) for name in self.accelerators)
        return [name for name in first if all(name in other for other in others)]

    @cached_property
    def quantity_texts(self) -> dict[str, str]:
        """The text of every quantity: those of the models that are used, then the study's own."""
        return {**self._offered, **self.quantities}

    @cached_property
    def _offerable(self) -> list[str]:
        """Names of the quantities that every model of the study offers."""
        first, *others = (offered_quantities(name) for name in self.accelerators)
        return [name for name in first if all(name in offered for offered in others)]

    @cached_property
    def _offered(self) -> dict[str, str]:
        """Quantities of the models that the study uses by name; the text is the first model's."""
        own = read_quantities(self.quantities, "quantities").values()
        expressions = [*own, *self._constraints, *self._objectives]
        used = frozenset().union(*(each.names for each in expressions))
        texts = offered_quantities(self.accelerators[0])
        return {
            name: texts[name]
            for name in self._offerable
            if name in used and name not in self.quantities
        }

    @cached_property
    def _quantities(self) -> dict[str, Expression]:
        return read_quantities(self.quantity_texts, "quantities")

    def _design_quantities_of(self, accelerator: str) -> dict[str, Expression]:
        """Return the design quantities with what this accelerator's model offers."""
        offered = offered_quantities(accelerator)
        own = {name: offered[name] for name in self._offered}
        return {**self.design_quantities, **read_quantities(own, "quantities")}

    @cached_property
    def _constraints(self) -> tuple[Expression, ...]:
        pairs = enumerate(self.constraints)
        return tuple(parse(text, f"constraints[{place}]") for place, text in pairs)

    @cached_property
    def _objectives(self) -> tuple[Expression, ...]:
        return tuple(
            parse(text.removeprefix("-"), f"objectives[{place}]")
            for place, text in enumerate(self.objectives)
        )

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The workloads that every design runs, numbered in this order."""
        if self.options:
            return tuple(Case(network=text, batch=0, mode=OPTIONS) for text in self.options)
        return tuple(
            Case(network=network, batch=batch, mode=self.mode)
            for network in self.networks
            for batch in self.batches
        )

    @cached_property
    def design_quantities(self) -> dict[str, Expression]:
        """Quantities that follow from the fields alone, and from one another."""
        found: dict[str, Expression] = {}
        for name, quantity in self._quantities.items():
            if not quantity.names & {*METRICS, *(self._quantities.keys() - found.keys())}:
                found[name] = quantity
        return found

    @cached_property
    def result_quantities(self) -> dict[str, Expression]:
        """Quantities that need results."""
        early = self.design_quantities
        return {name: each for name, each in self._quantities.items() if name not in early}

    @cached_property
    def result_constraints(self) -> tuple[Expression, ...]:
        """Constraints that need results: they mark points as not feasible."""
        late = {*METRICS, *self.result_quantities}
        return tuple(each for each in self._constraints if each.names & late)

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The design space of every accelerator, in order."""
        early = [each for each in self._constraints if each not in self.result_constraints]
        return tuple(
            read_space(
                name, self._forms(name), self.methods, self._design_quantities_of(name), early
            )
            for name in self.accelerators
        )

    def _forms(self, accelerator: str) -> dict[str, tuple[Any, str]]:
        """Return the form of every field of one accelerator with its place in the study."""
        common = {k: v for k, v in self.space.items() if k not in self.accelerators}
        own = self.space.get(accelerator, {})
        if not isinstance(own, Mapping):
            raise InputError(f"space.{accelerator} must hold fields of {accelerator}, not {own!r}")
        forms = {name: (form, f"space.{name}") for name, form in common.items()}
        return forms | {name: (form, f"space.{accelerator}.{name}") for name, form in own.items()}

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The swept fields of all accelerators, in the order of the result table."""
        return tuple(dict.fromkeys(name for space in self.spaces for name in space.fields))

    @property
    def signs(self) -> dict[str, int]:
        """1 for an objective to minimise, -1 for one to maximise, by column."""
        return {text.removeprefix("-"): -1 if text[:1] == "-" else 1 for text in self.objectives}

    def as_json(self) -> str:
        """Return the study as JSON text; equal texts are equal studies."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "search"}
        if self.designs:
            del values["space"]
        search = {f.name: getattr(self.search, f.name) for f in fields(Search)}
        return json.dumps({"version": VERSION, **values, "search": search}, default=_plain)

    @cached_property
    def digest(self) -> str:
        """Hash of the study without its name."""
        values = json.loads(self.as_json())
        values.pop("name")
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def offered_quantities(accelerator: str) -> Mapping[str, str]:
    """Return the quantities that a model offers: expressions in its config fields."""
    offered: Mapping[str, str] = getattr(find(accelerator), "QUANTITIES", {})
    return offered


def check_case(case: Case, accelerator: str) -> None:
    """Raise `InputError` if a workload is unknown, or not one of the accelerator's."""
    if case.mode == OPTIONS:
        own_options(case, accelerator)
    else:
        case_workload(case)


@lru_cache(maxsize=32)
def case_workload(case: Case) -> Workload:
    """Return the dense workload of a case; the same case is read once."""
    name, inference = case.network, case.mode == "inference"
    if name not in networks.names() and (name in models.names() or not models.is_name(name)):
        try:
            return models.find_model(name, batch=case.batch or None, inference=inference)
        except InputError as error:
            said = str(error).replace("leave --batch out", "write batches = [0] in the study")
            raise InputError(said) from error
    network = networks.find(name, batch=case.batch)
    return network.inference() if inference else network.training_step()


def own_options(case: Case, accelerator: str) -> Mapping[str, tuple[str, ...]]:
    """Read the options of a case as `sparsight run` does; refuse those that set fields."""
    known = run_options.chosen_options(find(accelerator))
    if not known:
        raise InputError(f"{accelerator} has no options of its own; name networks instead")
    parsed = run_options.parse(known, shlex.split(case.network))
    for name in (*parsed.settings, *parsed.base):
        raise InputError(f"options must name a workload; {name} belongs into space")
    return parsed.workload


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    """Return the values of a list of texts (whole numbers for batches), each once."""
    kind = int if name == "batches" else str
    wanted = "whole numbers" if kind is int else "texts"
    if isinstance(value, (str, int)) or not isinstance(value, Iterable):
        raise InputError(f"{name} must be a list of {wanted}, not {value!r}")
    values = tuple(value)
    for each in values:
        if not isinstance(each, kind) or isinstance(each, bool):
            raise InputError(f"{name} must be a list of {wanted}, not of {each!r}")
    if len(set(values)) < len(values):
        raise InputError(f"{name} must list each of them once, not {list(values)}")
    return values


def _is_form(form: Mapping[str, Any]) -> bool:
    return bool({"from", "to", "values", "derive", "when", "otherwise"} & form.keys())


def _check_values(space: Space) -> None:
    """Refuse a value that the config refuses whatever the other fields hold."""
    config = find(space.accelerator).Config
    for name, values in checked_values(space):
        for value in values:
            try:
                config(**{name: value})
            except InputError as error:
                if str(error).startswith(name):
                    raise InputError(f"space.{name}: {error}") from None


def _plain(value: Any) -> Any:
    """Turn what JSON does not know, such as numpy numbers and arrays, into what it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise InputError(f"a study must hold texts, numbers and lists, not {value!r}")
