"""`docs/study.md` says what the parser reads: every key, form, function and name, and no other."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from simulator.accelerators import find, names
from simulator.cli import main
from simulator.sweep import parameters, sampling
from simulator.sweep.definition import KINDS, METRICS, MODES, Definition, Search
from simulator.sweep.expressions import CONSTANTS, FUNCTIONS
from simulator.sweep.study import Study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "study.md").read_text("utf-8")
ROWS = [re.split(r" \| ", line.strip("| ")) for line in PAGE.splitlines() if line.startswith("| `")]
KEYS = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 3}
FORMS = [text for row in ROWS if len(row) == 2 for text in re.findall(r"`([^`]+)`", row[0])]


def keys_of(made: type) -> set[str]:
    return {field.name for field in dataclasses.fields(made)}


def test_the_table_has_every_key_and_no_other() -> None:
    searched = {f"search.{name}" for name in keys_of(Search)}
    assert set(KEYS) == (keys_of(Definition) - {"search"}) | searched | {"version"}


def test_the_defaults_are_those_of_the_parser() -> None:
    stated = {key: row[0].strip("`") for key, row in KEYS.items() if row[0].startswith("`")}
    fields = {field.name: field for field in dataclasses.fields(Definition)}
    for key, text in stated.items():
        owner = {f.name: f for f in dataclasses.fields(Search)} if "search." in key else fields
        default = owner[key.rpartition(".")[2]].default
        read = tomllib.loads(f"value = {text}")["value"]
        assert read == (list(default) if isinstance(default, tuple) else default), key


def test_choices_names_and_limits_are_those_of_the_parser() -> None:
    kinds = re.findall(r"`(\w+)`", KEYS["search.kind"][1])[: len(KINDS)]
    assert tuple(kinds) == KINDS
    assert [text for text in MODES if f'"{text}"' in KEYS["mode"][1]] == list(MODES)
    assert f"at most {sampling.MOST_POINTS:,}" in PAGE
    results = PAGE.partition("Results are ")[2].partition(".\n")[0]
    assert tuple(re.findall(r"`(\w+)`", results)) == METRICS
    words = set(re.findall(r"`(\w+)`", PAGE.partition("## Expressions")[2]))
    assert words >= FUNCTIONS.keys() | (CONSTANTS.keys() - {"True", "False"})
    stating = {name for name in names() if "area_mm2" in getattr(find(name), "QUANTITIES", {})}
    assert stating == words & set(names())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    value = tomllib.loads(f"value = {form}")["value"]
    kind = str if form.startswith('["') else float if "1e8" in form else int
    read = parameters.read("field", value, kind, kind(), "space.field")
    assert (read.levels is None) == ("derive" in form or read.continuous)


def test_every_key_of_a_form_is_shown() -> None:
    shown = {key for form in FORMS for key in re.findall(r"(\w+) =", form)}
    source = Path(str(parameters.__file__)).read_text("utf-8")
    known = set(re.findall(r'form\.pop\("(\w+)"', source)) | {"from", "to", "step", "factor"}
    assert shown == known | {"count"}


def test_the_example_keeps_its_budget() -> None:
    study = Study.from_file(ROOT / "examples" / "area_budget.toml")
    table = study.run(workers=1)
    assert table.error.isna().all()
    assert 0 < table.area_mm2.max() <= 40
    assert table.aspect.max() <= 4
    assert set(study.pareto(table).network) == {"resnet9", "vit-32"}


def test_the_readme_and_the_help_point_to_the_page(capsys) -> None:
    assert "docs/study.md" in (ROOT / "README.md").read_text("utf-8")
    assert main(["sweep", "--help"]) == 0
    assert "docs/study.md" in capsys.readouterr().out
