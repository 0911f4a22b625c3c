"""`sparsight sweep`: tables, files, exit codes, and sentences about what is wrong."""

import re
from pathlib import Path

import pandas as pd
import pytest

from simulator.glossary import GLOSSARY
from simulator.sweep import execute

TEXT = """
version = 1
networks = ["resnet9"]
methods = ["dense", "bdwp:2:8"]
objectives = ["seconds", "pes"]
[space]
rows = [8, 16, 32]
cols = {derive = "rows"}
[quantities]
pes = "rows * cols"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "arrays.toml"
    path.write_text(TEXT)
    return path


def test_the_front_is_shown_and_the_results_are_kept_beside_the_study(sparsight, study) -> None:
    result = sparsight("sweep", study)
    assert result.code == 0
    assert "3 of 6 points are on the front" in result.out
    assert result.err.splitlines()[-1] == f"complete; results are in {study.with_suffix('.sqlite')}"
    again = sparsight("sweep", study, "--json").json
    assert (again["state"], again["points"], again["failures"]) == ("complete", 6, 0)
    assert [row["rows"] for row in again["pareto"]] == [32, 16, 8]
    assert {row["method"] for row in again["pareto"]} == {"bdwp:2:8"}
    assert again.keys() | again["pareto"][0].keys() <= GLOSSARY.keys() | {"cols", "pes"}


def test_results_and_store_need_two_places(refused, study, tmp_path) -> None:
    both = tmp_path / "both.sqlite"
    assert "is named for two outputs" in refused("sweep", study, "--store", both, "--csv", both)
    assert not both.exists()


def test_what_all_points_of_the_front_share_is_said_fields_too(sparsight, study) -> None:
    study.write_text(TEXT.replace('"seconds", "pes"', '"seconds"'))
    shown = " ".join(sparsight("sweep", study).out.split())
    assert "1 of 6 points are on the front" in shown
    named = "accelerator sat, network resnet9, batch 32, method bdwp:2:8, rows 32, cols 32"
    assert f"the same for all of them: {named}, pes 1024" in shown


WIDE = """
version = 1
accelerators = ["sat", "systolic"]
networks = ["resnet9", "vit-32"]
batches = [8]
objectives = ["seconds", "energy_j", "area_mm2"]
constraints = ["rows <= 32 or clock_hz > 300e6"]
[space]
rows = [16, 32]
cols = [16, 32]
left_buffer_bytes = [65536, 1048576]
right_buffer_bytes = [65536, 1048576]
out_buffer_bytes = [65536, 1048576]
[space.sat]
rows = [32]
clock_hz = [1e8]
[space.systolic]
rows = [16, 64]
clock_hz = [4e8]
"""


@pytest.mark.parametrize("columns", ["120", "80"])
def test_every_workload_has_a_table_whose_keys_are_whole(
    sparsight, study, monkeypatch, columns
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    study.write_text(WIDE)
    result = sparsight("sweep", study)
    rows = sparsight("sweep", study, "--json").json["pareto"]
    counts = {name: sum(row["network"] == name for row in rows) for name in ("resnet9", "vit-32")}
    assert min(counts.values()) > 0
    said = " ".join(result.out.split())
    for name, count in counts.items():
        assert f"{count} of {name}, batch 8" in said
        assert f"{name}, batch 8: {count} on the front" in said
    assert f"{len(rows)} of 96 points are on the front of their workload" in said
    heads = [line.split() for line in result.out.splitlines() if "seconds" in line]
    assert len(heads) == 2
    (left_out,) = (line for line in result.err.splitlines() if "for want of room" in line)
    for head in heads:
        assert head[0] == "accelerator"
        assert head[-3:] == ["seconds", "energy_j", "area_mm2"]
        for name in ("rows", "cols", "left_buffer_bytes", "right_buffer_bytes", "clock_hz"):
            assert (name in head) != (name in left_out)
    tables = [line.split() for line in result.out.splitlines() if line.startswith((" sat", " sys"))]
    assert {cells[0] for cells in tables} == {row["accelerator"] for row in rows}
    assert all(len(line) <= int(columns) for line in result.out.splitlines())


def test_everything_can_be_written(sparsight, study, tmp_path) -> None:
    places = [tmp_path / name for name in ("t.csv", "t.parquet", "t.html", "s.sqlite")]
    options = ("--csv", "--parquet", "--report", "--store")
    pairs = [word for pair in zip(options, places, strict=True) for word in pair]
    assert sparsight("sweep", study, "--workers", 1, *pairs).code == 0
    table = pd.read_csv(places[0])
    assert len(table) == 6
    assert pd.read_parquet(places[1]).cycles.tolist() == table.cycles.tolist()
    assert "const STUDY = {" in places[2].read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"arrays.toml", *(p.name for p in places)}


def test_too_many_failures_exit_with_one(sparsight, study) -> None:
    study.write_text(TEXT.replace('"rows"}', '"rows * 200"}'))
    result = sparsight("sweep", study, "--json", "--max-failures", 1)
    assert result.code == 1
    assert result.json["state"] == "too many failures"
    assert result.json["failures"] == 2  # 32 x 200 columns, with both methods
    shown = sparsight("sweep", study)
    assert re.search(r"2 points failed, one as .*cols must be .*; --csv has all errors", shown.err)


def test_a_study_of_which_every_point_fails_says_why_and_exits_with_two(sparsight, study) -> None:
    study.write_text(TEXT.replace("networks", "batches = [1_000_000_000]\nnetworks"))
    result = sparsight("sweep", study)
    assert result.code == 2
    assert "every point of the study failed: cycles, by" in result.err
    assert "make the workload smaller" in result.err


def test_a_study_that_nests_without_end_is_refused(refused, study) -> None:
    study.write_text("a = " + "[" * 5000 + "]" * 5000)
    assert f"the study {study} nests lists too deeply to be read" in refused("sweep", study)


def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_changed(
    refused, study, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(execute, "CLUSTER_SECONDS", 0.5)
    before = study.read_text()
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in refused(
        "sweep", study, "--cluster", "tcp://127.0.0.1:9"
    )
    said = refused("sweep", study, "--cluster", "foo")
    assert "such as tcp://host:8786, not 'foo'" in said
    assert "--workers and --cluster cannot be combined" in refused(
        "sweep", study, "--cluster", "tcp://127.0.0.1:9", "--workers", 2
    )
    assert "there is no folder" in refused("sweep", study, "--store", tmp_path / "no" / "s.sqlite")
    assert "there is no folder" in refused("sweep", study, "--report", tmp_path / "no" / "r.html")
    assert "cannot read the study" in refused("sweep", tmp_path / "none.toml")
    assert "workers must be at least 1, not 0" in refused("sweep", study, "--workers", 0)
    for old, new, sentence in (
        ("rows = [8", "row = [8", "space.row: sat has no field 'row'; did you mean rows?"),
        ("[space]", 'constraints = ["pes < 9"]\n[space]', "the smallest pes of those tried is 64"),
        ("[space]", 'constraints = ["rows/0 < 1"]\n[space]', "'rows / 0' is no finite number"),
        ("[space]", 'constraints = ["interleave/0 < 1"]\n[space]', "divides by zero"),
        ("[space]", 'constraints = ["rows < stationarity"]\n[space]', "compare texts with texts"),
        (
            "[space]",
            """[search]
kind = "random"
points = 99999999999
[space]""",
            "has 99,999,999,999 points",
        ),
        ("version = 1", "version = 2", "version is 2, from a newer sparsight"),
        ("[space]", 'constraints = ["rows > 64"]\n[space]', "excludes every design of sat"),
        ("rows = [8, 16, 32]", "rows = []", "space.rows must list at least one value"),
    ):
        study.write_text(before.replace(old, new))
        said = refused("sweep", study)
        assert said.startswith(f"{study}: ")
        assert sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["arrays.toml"]
    study.write_text(before)


def test_two_studies_do_not_share_a_store(sparsight, refused, study) -> None:
    sparsight("sweep", study, "--json")
    study.write_text(TEXT.replace("[8, 16, 32]", "[8]"))
    assert "holds another study (it differs in space)" in refused("sweep", study)
