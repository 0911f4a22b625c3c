"""Command-line options that belong to one accelerator, stated by its module.

A module in `simulator.accelerators` whose workload is no network, or whose config has well-known
switches, offers:

- ``RUN_OPTIONS``, a tuple of `RunOption`. One with a `field` sets that config field, as `--set`
  does. One that is a `base` names where the whole config comes from. The others describe the
  workload.
- ``workload_from_options(options)``, which turns the latter into whatever its `schedule` takes. The
  mapping holds only the options that were given: name without dashes to a tuple of texts.
- ``narrow(workload, options)``, only with an option that `narrows`: the part of a workload from
  --network, --trace or --gemm that the user asks for.
- ``config_from_options(options)``, only with a `base`, which returns the config before `--set`, and
  sentences for the user about what was not used.

`sparsight run NAME` then reads them, and `sparsight accelerators NAME` lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from workloads.errors import InputError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOption:
    """One option: its name with dashes, what it means, and one word per value that it takes.

    With `field` it sets that config field: to its value, or to `flag_value` if it takes none. With
    `base` it is where the config comes from. `shared` names the options of every run that it may be
    combined with (batch, tokens, inference); they are handed on as texts. With `narrows` it picks a
    part of a workload.
    """

    name: str
    help: str
    values: tuple[str, ...] = ("VALUE",)
    field: str = ""
    flag_value: str = "true"
    base: bool = False
    shared: tuple[str, ...] = ()
    narrows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Arguments by what they are for: config fields, the config's source, workload, its part."""

    settings: dict[str, str]
    base: dict[str, tuple[str, ...]]
    workload: dict[str, tuple[str, ...]]
    part: dict[str, tuple[str, ...]] = dataclass_field(default_factory=dict)


def parse(
    options: Sequence[RunOption], arguments: Sequence[str], *, known: Iterable[str] = ()
) -> Parsed:
    """Sort arguments by what they are for.

    `known` are further option names to suggest for a misspelt one. Raises `InputError` for an
    argument that belongs to no option, a missing value, or an option given twice.

    >>> tp = RunOption(name="--tp", help="tensor parallel", field="tensor_parallel")
    >>> matrix = RunOption(name="--matrix", help="Matrix Market file", values=("FILE",))
    >>> parse([tp, matrix], ["--tp", "4", "--matrix=a.mtx"])
    Parsed(settings={'tensor_parallel': '4'}, base={}, workload={'matrix': ('a.mtx',)}, part={})
    """
    by_name = {option.name: option for option in options}
    parsed = Parsed(settings={}, base={}, workload={})
    rest = list(arguments)
    while rest:
        name, equals, attached = rest.pop(0).partition("=")
        if name not in by_name:
            raise InputError(_unknown(name, [*by_name, *known]))
        option = by_name[name]
        values = _take_values(option, [attached] if equals else [], rest)
        key = option.field or name.lstrip("-")
        if any(
            key in found for found in (parsed.settings, parsed.base, parsed.workload, parsed.part)
        ):
            raise InputError(f"{name} is given twice; give it once")
        if option.field:
            parsed.settings[key] = values[0] if values else option.flag_value
        elif option.base:
            parsed.base[key] = values
        elif option.narrows:
            parsed.part[key] = values
        else:
            parsed.workload[key] = values
    return parsed


def chosen_options(model: object) -> Sequence[RunOption]:
    """Return the options that an accelerator's module offers, none by default."""
    options: Sequence[RunOption] = getattr(model, "RUN_OPTIONS", ())
    return options


def _take_values(option: RunOption, taken: list[str], rest: list[str]) -> tuple[str, ...]:
    while len(taken) < len(option.values) and rest and not rest[0].startswith("--"):
        taken.append(rest.pop(0))
    if len(taken) != len(option.values):
        wanted = " ".join(option.values) or "no value"
        raise InputError(f"{option.name} takes {wanted}, not {' '.join(taken) or 'nothing'}")
    return tuple(taken)


def _unknown(name: str, names: Sequence[str]) -> str:
    if not name.startswith("-"):
        return f"{name!r} belongs to no option; values follow the option that takes them"
    hint = nearest(name, names, "see sparsight run --help")
    return f"there is no option {name}; {hint}"
