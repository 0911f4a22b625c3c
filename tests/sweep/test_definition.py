"""Studies from values and files: what they mean, and one clear sentence for each mistake."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.accelerators import find
from simulator.area import area_mm2
from simulator.sweep import Study
from simulator.sweep.definition import Definition
from simulator.sweep.study_file import from_values, read_file
from workloads import InputError

PLAIN = {"version": 1, "networks": ["resnet9"], "space": {"rows": [8, 16]}}

TEXT = """
version = 1
networks = ["resnet9"]
methods = ["dense", "bdwp:2:8"]
objectives = ["seconds", "-utilisation", "area"]
constraints = ["area < 1e6", "seconds < 1"]

[search]
kind = "random"
points = 10
seed = 3

[space]
rows = {from = 8, to = 32, factor = 2}
cols = {derive = "rows"}

[space.sat]
interleave = [2, 4]

[quantities]
area = "rows * cols * 500"
rate = "1 / seconds"
"""


def test_a_study_file_says_all_that_python_can(tmp_path: Path) -> None:
    path = tmp_path / "arrays.toml"
    path.write_text(TEXT)
    study = read_file(path)
    assert study.name == "arrays"
    assert study.fields == ("rows", "interleave", "cols")
    assert study.signs == {"seconds": 1, "utilisation": -1, "area": 1}
    assert list(study.design_quantities) == ["area"]
    assert list(study.result_quantities) == ["rate"]
    assert [each.text for each in study.result_constraints] == ["seconds < 1"]
    same = from_values(
        {
            "version": 1,
            "networks": ["resnet9"],
            "methods": ["dense", "bdwp:2:8"],
            "objectives": ["seconds", "-utilisation", "area"],
            "constraints": ["area < 1e6", "seconds < 1"],
            "search": {"kind": "random", "points": 10, "seed": 3},
            "space": {
                "rows": {"from": 8, "to": 32, "factor": 2},
                "cols": {"derive": "rows"},
                "sat": {"interleave": [2, 4]},
            },
            "quantities": {"area": "rows * cols * 500", "rate": "1 / seconds"},
        }
    )
    assert same.digest == study.digest


def test_the_digest_is_of_the_study_and_not_of_its_name() -> None:
    assert from_values({**PLAIN, "name": "a"}).digest == from_values(PLAIN).digest
    assert from_values({**PLAIN, "batches": [64]}).digest != from_values(PLAIN).digest
    arrays = {**PLAIN, "space": {"rows": np.array([8, 16])}}
    assert from_values(arrays).digest == from_values(PLAIN).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version is 2, from a newer sparsight; this one reads 1: update it"),
        ({"version": "1"}, "version must be 1, as in 'version = 1', not '1'"),
        ({"network": ["resnet9"]}, "unknown key 'network'; did you mean networks?"),
        ({"networks": []}, "networks must list at least one, not nothing"),
        ({"networks": "resnet9"}, "networks must be a list of texts, not 'resnet9'"),
        ({"networks": ["resnet"]}, "no network is called 'resnet'; did you mean"),
        ({"networks": ["resnet9", "resnet9"]}, "networks must list each of them once"),
        ({"batches": [1.5]}, "batches must be a list of whole numbers, not of 1.5"),
        ({"batches": [0]}, "batch of resnet9 must be a positive whole number, not 0"),
        ({"methods": ["bdpw:2:8"]}, "no method is called 'bdpw'; did you mean bdwp?"),
        ({"accelerators": ["sta"]}, "no accelerator is called 'sta'; did you mean sat?"),
        ({"mode": "serving"}, "mode must be training or inference, not 'serving'"),
        ({"objectives": ["second"]}, "objectives[0] reads 'second', which is not known here; did"),
        ({"constraints": ["row < 2"]}, "constraints[0] reads 'row', which is not known here; did"),
        ({"constraints": ["rows <"]}, "constraints[0] must be an expression of names"),
        ({"quantities": {"rows": "1"}}, "quantities.rows is already the name of a column"),
        ({"quantities": {"a b": "1"}}, "quantities.a b must be named like a field"),
        ({"quantities": {"a": "b", "b": "1"}}, "quantities.a reads 'b', which is not known here"),
        ({"search": {"kind": "genetic"}}, "search.kind must be one of grid, random, sobol, nsga2"),
        ({"search": {"kind": "random"}}, "search.points must say how many designs random tries"),
        ({"search": {"points": 5}}, "search.points is not for a grid"),
        ({"search": {"seeds": 5}}, "unknown key 'search.seeds'; did you mean seed?"),
        ({"search": {"kind": "tpe", "points": 5.5}}, "search.points must be a whole number of"),
        ({"search": 3}, "search must be a table such as [search], not 3"),
        ({"space": 3}, "space must be a table such as [space], not 3"),
        ({"space": {"row": [1]}}, "space.row: sat has no field 'row'; did you mean rows?"),
        ({"space": {"rows": [5000]}}, "space.rows: rows must be a whole number from 1 to 4096, no"),
        ({"space": {"sta": {"rows": [1]}}}, "space.sta is neither a range nor one of the accele"),
        ({"space": {"sat": [1]}}, "space.sat must hold fields of sat, not [1]"),
        ({"space": {"rows": {"derive": "cols +"}}}, "space.rows.derive must be an expression"),
        ({"space": {"rows": {"derive": "col"}}}, "space.rows.derive reads 'col', which is not"),
        (
            {"space": {"rows": {"derive": "cols"}, "cols": {"derive": "rows"}}},
            "space.rows.derive reads 'cols', which is not known here",
        ),
        ({"space": {"rows": [8], "sat": {"row": [1]}}}, "space.sat.row: sat has no field 'row'"),
        ({"options": ["--matrix a.mtx"]}, "options are workloads of their own; leave networks and"),
        ({"networks": [], "options": ["-x"]}, "sat has no options of its own; name networks"),
        ({"constraints": ["rows < 'a'"]}, "compare texts with texts"),
        ({"quantities": {"which": "method"}}, "'method' must give a number for every design"),
        ({"space": {"rows": {"derive": "method"}}}, "'method' must give a number for every design"),
        ({"designs": {"rows": [1]}}, "designs must stand alone, for one accelerator, without a"),
    ],
)
def test_bad_studies_give_one_clear_sentence(changes, message) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Study(**{k: v for k, v in {**PLAIN, **changes}.items() if k != "version"}) if (
            "version" not in changes
        ) else from_values({**PLAIN, **changes})
    assert "\n" not in str(caught.value)


def test_fields_in_common_must_belong_to_every_accelerator() -> None:
    values = {**PLAIN, "accelerators": ["sat", "systolic"], "space": {"interleave": [4]}}
    with pytest.raises(InputError, match=r"space.interleave: systolic has no field 'interleave'"):
        from_values(values).spaces  # noqa: B018


def test_designs_of_a_table_are_checked() -> None:
    with pytest.raises(InputError, match=r"designs must hold columns of one length above 0"):
        Study(networks=["resnet9"], designs={"rows": [1, 2], "cols": [1]})
    with pytest.raises(InputError, match="designs must have a column 'method'"):
        Study(networks=["resnet9"], designs={"rows": [1]}, methods=["dense", "bdwp:2:8"])


def test_listed_designs_run_as_they_are_listed() -> None:
    frame = pd.DataFrame({"rows": [16, 8, 16], "method": ["dense", "bdwp:2:8", "bdwp:2:8"]})
    table = Study.from_frame(frame, networks=["resnet9"]).run(workers=1)
    assert table.rows.tolist() == [16, 8, 16]
    assert table.method.tolist() == ["dense", "bdwp:2:8", "bdwp:2:8"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version = ", "is not TOML"),
        (b"version = " + b"1" * 5000, "is not TOML: Exceeds the limit"),
        (b"\xff", "must be UTF-8 text: byte 0"),
        (b"version = 9", "version is 9, from a newer sparsight"),
        (b"networks = ['resnet9']", "version must be 1, as in 'version = 1', not None"),
        (b"version = 1\nname = 3", "name must be a text, not 3"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content, message) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        Study.from_file(path)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"cannot read the study .*none.toml: No such file"):
        Study.from_file(tmp_path / "none.toml")


def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_text("version = 1\nnetworks = ['resnet9']\n", encoding="utf-8-sig")
    assert Study.from_file(path).definition.networks == ("resnet9",)


def test_an_area_that_the_models_state_is_used_by_name() -> None:
    """Each accelerator is held against the budget by the formula of its own model."""
    study = Study(
        accelerators=["sat", "systolic"],
        networks=["resnet9"],
        batches=[1],
        space={"rows": [8, 64]},
        objectives=["seconds", "area_mm2"],
        constraints=["area_mm2 <= 60"],
    )
    table = study.run(workers=1)
    assert table.rows.tolist() == [8, 8]
    for accelerator, area in zip(table.accelerator, table.area_mm2, strict=True):
        model = find(accelerator)
        assert area == pytest.approx(area_mm2(model.Config(rows=8), model.QUANTITIES["area_mm2"]))


def test_an_area_that_is_not_named_is_no_column_and_a_study_may_state_its_own() -> None:
    assert from_values(PLAIN).quantity_texts == {}
    own = {"quantities": {"area_mm2": "rows * 2"}, "objectives": ["area_mm2"]}
    assert from_values(PLAIN | own).quantity_texts == {"area_mm2": "rows * 2"}


def test_an_area_that_a_model_does_not_state_is_refused() -> None:
    study = {"accelerators": ["sat", "gamma"], "objectives": ["area_mm2"]}
    with pytest.raises(InputError, match="area_mm2"):
        from_values(PLAIN | study)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"accelerators": ["sat", "gpu"], "constraints": ["area_mm2 < 4"]},
            r"constraints\[0\] reads 'area_mm2', which gpu cannot state; leave it out, or write",
        ),
        (
            {"accelerators": ["gpu"], "objectives": ["seconds", "area_mm2"]},
            r"objectives\[1\] reads 'area_mm2', which gpu cannot state",
        ),
        ({"constraints": ["area < 4"]}, "'area', which is not known here; did you mean area_mm2"),
        ({"objectives": ["area"]}, "'area', which is not known here; did you mean area_mm2"),
        ({"networks": ["digits-vit"]}, r"fixes its batch; write batches = \[0\] in the study"),
        ({"methods": ["2:8"]}, "N:M needs the name of a method before it, as in bdwp:2:8"),
    ],
)
def test_slips_of_newcomers_are_answered_with_what_to_write(values, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Definition(**{"networks": ["resnet9"], **values})


def test_a_study_may_have_an_area_of_its_own() -> None:
    own = Definition(
        accelerators=["sat", "gpu"],
        networks=["resnet9"],
        quantities={"area_mm2": "clock_hz * 0 + 5"},
        constraints=["area_mm2 < 40"],
    )
    assert own.quantity_texts == {"area_mm2": "clock_hz * 0 + 5"}
