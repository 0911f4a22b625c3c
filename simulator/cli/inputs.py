"""From command-line options to a workload; options that would be ignored are refused."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator import run_options
from simulator.accelerators import find
from simulator.configuration import override, parse_settings
from workloads.errors import InputError
from workloads.operations import Workload, gemm
from workloads.patterns import parse_pattern

DEFAULT_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the user asked to compute: exactly one of network, trace, gemm and topology."""

    network: str | None = None
    batch: int | None = None
    trace: str | None = None
    gemm: str | None = None
    pattern: str | None = None
    topology: Path | None = None

    @property
    def given(self) -> list[str]:
        """Return the options that name a workload, with their dashes."""
        names = ("network", "trace", "gemm", "topology")
        return [f"--{name}" for name in names if getattr(self, name) is not None]

    def read(self) -> Workload:
        """Return the workload; raise `InputError` for none, several, or an option without use."""
        if len(self.given) != 1:
            raise InputError(
                "name one workload: --network NAME, --trace FILE, --gemm M,K,N or --topology "
                f"FILE.csv, not {' and '.join(self.given) or 'none'}"
            )
        (given,) = self.given
        if self.batch is not None and given != "--network":
            raise InputError(f"--batch applies to --network only; {given} has its own batch")
        if self.pattern is not None and given != "--gemm":
            raise InputError(
                f"--pattern applies to --gemm only; with {given} use --method, such as bdwp:2:8"
            )
        if self.network is not None:
            return _network(self.network, self.batch)
        if self.trace is not None:
            return _trace(self.trace)
        if self.topology is not None:
            return _topology(self.topology)
        return _gemm(str(self.gemm), self.pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An accelerator, its config, a workload, and the dense workload to compare it with, if any."""

    accelerator: str
    config: Any
    workload: Any
    dense: Workload | None = None


def read_job(
    accelerator: str,
    source: Source,
    *,
    method: str | None,
    settings: Sequence[str],
    extra: Sequence[str],
    known: Sequence[str],
) -> Job:
    """Read everything that `run` needs; `extra` are arguments for the accelerator's own options."""
    model = find(accelerator)
    own_settings, own = run_options.parse(run_options.chosen_options(model), extra, known=known)
    values = parse_settings(settings)
    twice = sorted(own_settings.keys() & values.keys())
    if twice:
        raise InputError(f"{twice[0]} is set by its option and by --set; give it once")
    config = override(model.Config(), values | own_settings)
    if own:
        if source.given or method:
            clash = (source.given or ["--method"])[0]
            raise InputError(f"{clash} cannot be combined with --{next(iter(own))}; give one")
        return Job(
            accelerator=accelerator,
            config=config,
            workload=model.workload_from_options(own),  # type: ignore[attr-defined]
        )
    plain = source.read()
    if method is not None and source.gemm is not None:
        raise InputError("--method applies to whole workloads; with --gemm use --pattern")
    workload = apply_method(method, plain) if method else plain
    dense = _dense(source, plain) if method or source.pattern else None
    return Job(accelerator=accelerator, config=config, workload=workload, dense=dense)


def apply_method(text: str, workload: Workload) -> Workload:
    """Assign patterns by the method named in `text`."""
    from workloads.methods import parse_method

    return parse_method(text)(workload)


def _dense(source: Source, plain: Workload) -> Workload:
    return _gemm(source.gemm, None) if source.gemm else plain


def _network(name: str, batch: int | None) -> Workload:
    from workloads import networks

    if batch is not None and batch < 1:
        raise InputError(f"--batch must be a positive whole number, not {batch}")
    return networks.find(name, batch=batch or DEFAULT_BATCH)


def _trace(text: str) -> Workload:
    from workloads.trace import read_trace, shipped

    path = Path(text)
    if path.suffix == "" and not path.exists():
        names = shipped()
        if text not in names:
            near = difflib.get_close_matches(text, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(names)}"
            raise InputError(f"no trace file and no shipped trace is called {text!r}; {hint}")
        path = names[text]
    return read_trace(path)


def _topology(path: Path) -> Workload:
    from workloads.scalesim import read_topology

    return read_topology(path)


def _gemm(text: str, pattern: str | None) -> Workload:
    try:
        m, k, n = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--gemm must be three whole numbers M,K,N, not {text!r}") from None
    return gemm(m, k, n, pattern=parse_pattern(pattern or "dense"))
