"""Command-line options that belong to one accelerator, stated by its module.

A module in `simulator.accelerators` whose workload is no network, or whose config has well-known
switches, offers:

- ``RUN_OPTIONS``, a tuple of `RunOption`. One with a `field` sets that config field, as `--set`
  does. The others describe the workload.
- ``workload_from_options(options)``, which turns the latter into whatever its `schedule` takes. The
  mapping holds only the options that were given: name without dashes to a tuple of texts.

`sparsight run NAME` then reads them, and `sparsight accelerators NAME` lists them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOption:
    """One option: its name with dashes, what it means, and one word per value that it takes.

    With `field` it sets that config field: to its value, or to `flag_value` if it takes none.
    """

    name: str
    help: str
    values: tuple[str, ...] = ("VALUE",)
    field: str = ""
    flag_value: str = "true"


def parse(
    options: Sequence[RunOption], arguments: Sequence[str], *, known: Iterable[str] = ()
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Split arguments into config settings and workload options.

    `known` are further option names to suggest for a misspelt one. Raises `InputError` for an
    argument that belongs to no option, a missing value, or an option given twice.

    >>> tp = RunOption(name="--tp", help="tensor parallel", field="tensor_parallel")
    >>> matrix = RunOption(name="--matrix", help="Matrix Market file", values=("FILE",))
    >>> parse([tp, matrix], ["--tp", "4", "--matrix=a.mtx"])
    ({'tensor_parallel': '4'}, {'matrix': ('a.mtx',)})
    """
    by_name = {option.name: option for option in options}
    settings: dict[str, str] = {}
    given: dict[str, tuple[str, ...]] = {}
    rest = list(arguments)
    while rest:
        name, equals, attached = rest.pop(0).partition("=")
        if name not in by_name:
            raise InputError(_unknown(name, [*by_name, *known]))
        option = by_name[name]
        values = _take_values(option, [attached] if equals else [], rest)
        key = option.field or option.name.lstrip("-")
        if key in settings or key in given:
            raise InputError(f"{name} is given twice; give it once")
        if option.field:
            settings[key] = values[0] if values else option.flag_value
        else:
            given[key] = values
    return settings, given


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


def _unknown(name: str, names: Mapping[str, object] | Sequence[str]) -> str:
    if not name.startswith("-"):
        return f"{name!r} belongs to no option; values follow the option that takes them"
    near = difflib.get_close_matches(name, list(names), n=1)
    hint = f"did you mean {near[0]}?" if near else "see sparsight run --help"
    return f"there is no option {name}; {hint}"
