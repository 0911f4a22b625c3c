"""From command-line options to a workload; options that would be ignored are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from simulator import run_options
from simulator.accelerators import find
from simulator.accelerators import names as accelerator_names
from simulator.cli import output
from simulator.configuration import override, parse_settings
from simulator.counting import check_countable
from simulator.report import Report
from workloads import numerals
from workloads.errors import InputError, nearest
from workloads.operations import Workload, gemm
from workloads.patterns import parse_pattern

LARGEST_DIMENSION = 2**31
PADDING = 2**12
"""Counts of a product may be so many times its MACs, where an array pads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the user asked to compute: exactly one workload, and what goes with it."""

    network: str | None = None
    batch: int | None = None
    tokens: int | None = None
    inference: bool = False
    trace: str | None = None
    gemm: str | None = None
    pattern: str | None = None
    topology: Path | None = None
    model: str | None = None
    weights_only: bool = False
    matrix: str | None = None
    right: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Source:
        """Return the source that the options of a command name; it may have further ones."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: options[name] for name in names if name in options})

    @property
    def given(self) -> list[str]:
        """Return the options that name a workload, with their dashes."""
        names = ("network", "trace", "gemm", "topology", "model", "matrix")
        return [f"--{name}" for name in names if getattr(self, name) is not None]

    def read(self) -> Workload:
        """Return the workload; raise `InputError` for none, several, or an option without use."""
        if len(self.given) != 1:
            raise InputError(
                "name one workload: --network NAME, --trace FILE, --gemm M,K,N, --topology "
                "FILE.csv, --model FILE|NAME or (sparse products) --matrix FILE, not "
                f"{' and '.join(self.given) or 'none'}"
            )
        self._check_use(self.given[0])
        workload = self._read()
        _check_size(workload)
        return workload

    def _read(self) -> Workload:
        if self.network is not None:
            return self._network(self.network)
        if self.trace is not None:
            return _trace(self.trace)
        if self.topology is not None:
            return _topology(self.topology)
        if self.model is not None:
            return self._model(self.model)
        if self.matrix is not None:
            return _matrix(self.matrix, self.right)
        return _gemm(str(self.gemm), self.pattern)

    def _check_use(self, given: str) -> None:
        """Refuse options that the given kind of workload would ignore."""
        for_networks = {"batch": self.batch, "tokens": self.tokens, "inference": self.inference}
        for name, value in for_networks.items():
            if _is_given(value) and given not in ("--network", "--model"):
                raise InputError(
                    f"--{name} applies to --network and --model only; {given} fixes it already"
                )
        if self.weights_only and given != "--model":
            raise InputError(f"--weights-only applies to --model only, not to {given}")
        if self.right is not None and given != "--matrix":
            raise InputError(f"--b needs --matrix, which names the left operand, not {given}")
        if self.pattern is not None and given != "--gemm":
            raise InputError(
                f"--pattern applies to --gemm only; with {given} use --method, such as bdwp:2:8"
            )

    def _model(self, text: str) -> Workload:
        from workloads.models import find_model

        return find_model(
            text,
            batch=self.batch,
            tokens=self.tokens,
            inference=self.inference,
            weights_only=self.weights_only,
        )

    def _network(self, name: str) -> Workload:
        from workloads import networks

        network = networks.find(name, batch=self.batch, tokens=self.tokens)
        return network.inference() if self.inference else network.training_step()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An accelerator, its config, a workload, and the dense workload to compare it with, if any.

    `remarks` are sentences for the user about how the options were read.
    """

    accelerator: str
    config: Any
    workload: Any
    dense: Workload | None = None
    remarks: tuple[str, ...] = ()

    def simulate(self, workload: Any) -> Report:
        """Schedule and simulate a workload on this accelerator."""
        model = find(self.accelerator)
        return model.simulate(self.config, model.schedule(self.config, workload))


def read_job(
    accelerator: str,
    source: Source,
    *,
    method: str | None,
    settings: Sequence[str],
    extra: Sequence[str],
    known: Sequence[str],
) -> Job:
    """Read everything that `run` needs; `extra` are arguments for the accelerator's own options.

    Where an accelerator's own --model sets a field (a decoder's name), it is that option beside a
    workload of the accelerator's own, such as --requests, and the shared one otherwise.
    """
    model: Any = find(accelerator)
    offered = run_options.chosen_options(model)
    if source.model is not None and _reads_model_itself(source.model, offered, extra):
        extra, source = ["--model", source.model, *extra], replace(source, model=None)
    own = run_options.parse(offered, extra, known=known)
    values = parse_settings(settings)
    twice = sorted(own.settings.keys() & values.keys())
    if twice:
        raise InputError(f"{twice[0]} is set by its option and by --set; give it once")
    base, remarks = model.config_from_options(own.base) if own.base else (model.Config(), ())
    job = Job(
        accelerator=accelerator,
        config=override(base, values | own.settings),
        workload=None,
        remarks=remarks,
    )
    if own.workload and own.part:
        raise InputError(
            f"--{next(iter(own.part))} picks a part of --network or --trace; "
            f"--{next(iter(own.workload))} is a whole workload"
        )
    if own.workload:
        handed_on = _shared(own.workload, offered, source)
        _refuse_clash(next(iter(own.workload)), source, method, handed_on)
        return replace(job, workload=model.workload_from_options(own.workload | handed_on))
    if not source.given and hasattr(model, "workload_from_options"):
        raise InputError(_name_one(offered))
    plain = model.narrow(source.read(), own.part) if own.part else source.read()
    if method is not None and source.gemm is not None:
        raise InputError("--method applies to whole workloads; with --gemm use --pattern")
    workload = plain if method is None else apply_method(method, plain)
    sparse = method is not None or source.pattern is not None
    return replace(job, workload=workload, dense=_dense(source, plain) if sparse else None)


def _reads_model_itself(
    name: str, options: Sequence[run_options.RunOption], extra: Sequence[str]
) -> bool:
    """Whether --model is the accelerator's own option here, not the shared one."""
    own = [option for option in options if option.name == "--model"]
    if not own or not own[0].field:
        return bool(own)
    from workloads.llm import DECODERS

    workloads = {option.name for option in options if not (option.field or option.base)}
    return name in DECODERS or not workloads.isdisjoint(extra)


def _shared(
    own: Iterable[str], offered: Sequence[run_options.RunOption], source: Source
) -> dict[str, tuple[str, ...]]:
    """Return the given options of every run that an accelerator's own ones combine with."""
    names = {name for o in offered if o.name.lstrip("-") in own for name in o.shared}
    values = {name: getattr(source, name) for name in sorted(names)}
    return {name: (str(value),) for name, value in values.items() if _is_given(value)}


def _is_given(value: object) -> bool:
    """Return whether the user gave an option; 0 is a value, though it equals False."""
    return value is not None and value is not False


def _refuse_clash(own: str, source: Source, method: str | None, handed_on: Iterable[str]) -> None:
    """Refuse shared workload options beside one that the accelerator brings along."""
    shared = {**{f.name: getattr(source, f.name) for f in fields(source)}, "method": method}
    given = [name for name, value in shared.items() if _is_given(value)]
    clash = [name for name in given if name not in handed_on]
    if clash:
        raise InputError(f"--{clash[0]} cannot be combined with --{own}; give one")


def _name_one(options: Sequence[run_options.RunOption]) -> str:
    own = [" ".join((o.name, *o.values)) for o in options if not (o.field or o.base or o.narrows)]
    shared = "--network, --trace, --gemm, --topology, --model"
    return f"name a workload: {', '.join(own)}, or one of {shared}"


def read_configs(accelerators: Sequence[str], settings: Sequence[str]) -> dict[str, Any]:
    """Return a config for each accelerator; `name.field=value` sets a field of one of them."""
    twice = [name for name in accelerators if list(accelerators).count(name) > 1]
    if twice:
        raise InputError(f"accelerator {twice[0]} is named twice; name it once")
    values = parse_settings(settings)
    shared = {name: value for name, value in values.items() if "." not in name}
    configs = {}
    for accelerator in accelerators:
        own = {
            name.partition(".")[2]: values.pop(name)
            for name in list(values)
            if name.startswith(f"{accelerator}.")
        }
        configs[accelerator] = override(find(accelerator).Config(), shared | own)
    stray = [name for name in values if "." in name]
    if stray:
        raise InputError(
            f"--set {stray[0]} names no accelerator of this comparison: {', '.join(accelerators)}"
        )
    return configs


def read_accelerators(
    names: Sequence[str], listed: str | None, workload: Workload, settings: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the accelerators to compare, and settings; `all` estimate any such workload.

    Settings of one accelerator (`name.field=value`) may be what it needs to take the workload; for
    `all`, one that takes it with its `SETTING_FOR_ALL` only gets that, and a note says so.
    Models that step through every non-zero are left out: a network takes them minutes. They can be
    named.
    """
    if names and listed:
        raise InputError("name accelerators once: before the options or with --accelerators")
    if not names and not listed:
        raise InputError(
            "name accelerators, as in sparsight compare sat gpu, or --accelerators all"
        )
    wanted = tuple(",".join(names or (str(listed),)).split(","))
    for name in wanted:
        if ":" in name:
            raise InputError(
                f"no accelerator is called {name!r}; methods are joined by commas, as in --methods "
                f"dense,{name}"
            )
    if len(wanted) > 1 and "all" in wanted:
        raise InputError("all stands alone: give --accelerators all, or the names of some")
    if wanted != ("all",):
        return wanted, tuple(settings)
    settings = (*settings, *_settings_for_all(workload, settings))
    left_out = {
        name: _why_not(name, workload, [s for s in settings if s.startswith(f"{name}.")])
        for name in accelerator_names()
    }
    for reason in dict.fromkeys(reason for reason in left_out.values() if reason):
        same = [name for name, why in left_out.items() if why == reason]
        output.say(f"note: all leaves out {', '.join(same)}: {reason}")
    return tuple(name for name, reason in left_out.items() if not reason), tuple(settings)


def _settings_for_all(workload: Workload, settings: Sequence[str]) -> list[str]:
    """Return the settings that let further accelerators take the workload, and name them."""
    added = []
    for name in accelerator_names():
        setting = f"{name}.{getattr(find(name), 'SETTING_FOR_ALL', '')}"
        field = setting.partition("=")[0]
        if setting.endswith(".") or any(s.startswith(f"{field}=") for s in settings):
            continue
        own = [s for s in settings if s.startswith(f"{name}.")]
        refused = _why_not(name, workload, own)
        if refused and not _why_not(name, workload, [*own, setting]):
            output.say(
                f"note: all takes {name} with --set {setting}, an assumption (give --set "
                f"{field}=VALUE for another), because without it: {refused}"
            )
            added.append(setting)
    return added


def _why_not(name: str, workload: Workload, settings: Sequence[str]) -> str:
    """Say why an accelerator is no part of `all` for this workload; nothing if it is."""
    model: Any = find(name)
    own = getattr(model, "example", None)
    if own and not isinstance(own(), Workload):
        return f"it has workloads of its own; sparsight run {name}"
    if getattr(model, "STEPS_NON_ZEROS", False):
        return "they step through every non-zero of a product; name one to wait for it"
    try:
        model.schedule(read_configs([name], settings)[name], workload)
    except InputError as error:
        return str(error)
    return ""


def read_comparable(source: Source, methods: Sequence[str]) -> Workload:
    """Return the workload of a comparison; methods and --gemm exclude each other."""
    workload = source.read()
    if methods and source.gemm is not None:
        raise InputError("--methods applies to whole workloads; with --gemm use --pattern")
    if methods and source.matrix is not None:
        raise InputError("--methods applies to whole workloads; a --matrix is sparse as it is")
    return workload


def _check_size(workload: Workload) -> None:
    largest = max((max(op.m, op.k, op.n) for op in workload.matmuls), default=0)
    if largest > LARGEST_DIMENSION:
        raise InputError(
            f"a dimension of {workload.name} is {largest}; at most {LARGEST_DIMENSION} is counted"
        )
    check_countable(workload.name, workload.macs * PADDING)


def apply_method(text: str, workload: Workload) -> Workload:
    """Assign patterns by the method named in `text`."""
    from workloads.methods import parse_method

    return parse_method(text)(workload)


def _dense(source: Source, plain: Workload) -> Workload:
    return _gemm(source.gemm, None) if source.gemm else plain


def trace_path(text: str) -> Path:
    """Return the file that a text names: a path, or the name of a shipped trace."""
    from workloads.trace import shipped

    path = Path(text)
    if path.suffix or path.exists():
        return path
    names = shipped()
    if text not in names:
        hint = nearest(text, names, f"shipped are {', '.join(names) or 'none'}")
        raise InputError(f"no trace file and no shipped trace is called {text!r}; {hint}")
    return names[text]


def _trace(text: str) -> Workload:
    from workloads.trace import read_trace

    return read_trace(trace_path(text))


def _matrix(left: str, right: str | None) -> Workload:
    from workloads.matrices import read_matrix, sparse_product

    return sparse_product(read_matrix(left), None if right is None else read_matrix(right))


def _topology(path: Path) -> Workload:
    from workloads.scalesim import read_topology

    return read_topology(path)


def _gemm(text: str, pattern: str | None) -> Workload:
    try:
        m, k, n = (numerals.whole(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--gemm must be three whole numbers M,K,N, not {text!r}") from None
    kept = parse_pattern("dense" if pattern is None else pattern)
    return replace(gemm(m, k, n, pattern=kept), method=str(kept))
