"""The store: a crash loses only what was in flight, processes share it, mistakes are named."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from simulator.sweep import Study, export, store
from workloads import InputError

ROOT = Path(__file__).parents[2]
TEXT = """
version = 1
networks = ["resnet9"]
accelerators = ["systolic"]
methods = ["dense", "bdwp:2:8"]
[space]
rows = {from = 1, to = 50}
cols = {from = 8, to = 24, step = 8}
"""
"""300 points of a model that takes one design a task."""


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return study_of(TEXT).run(workers=1)


def study_of(text: str) -> Study:
    import tomllib

    values = tomllib.loads(text)
    del values["version"]
    return Study(**values)


@contextlib.contextmanager
def sweeping(folder: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    """The command as a process of its own, on the study in a folder."""
    (folder / "study.toml").write_text(TEXT)
    command = [sys.executable, "-m", "simulator.cli", "sweep", str(folder / "study.toml")]
    process = subprocess.Popen(
        [*command, "--json", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def runs_of_points(folder: Path) -> dict[int, int]:
    """The run that computed each point in the store, read as anybody can."""
    path = folder / "study.sqlite"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return dict(connection.execute("SELECT point, run FROM results"))
        except sqlite3.OperationalError:
            return {}


def wait_for_points(folder: Path, at_least: int, process: subprocess.Popen) -> dict[int, int]:
    ends = time.monotonic() + 60
    while len(found := runs_of_points(folder)) < at_least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


def result(folder: Path) -> pd.DataFrame:
    with study_of(TEXT).open(folder / "study.sqlite") as opened:
        return export.frame(opened)


def test_killed_three_times_it_computes_every_point_once(tmp_path, expected) -> None:
    before: dict[int, int] = {}
    for _ in range(3):
        with sweeping(tmp_path, "--workers", "1") as process:
            wait_for_points(tmp_path, min(len(before) + 20, 250), process)
            process.kill()
            process.wait()
        after = runs_of_points(tmp_path)
        assert before.items() <= after.items()
        before = after
    with sweeping(tmp_path, "--workers", "1") as process:
        assert process.wait(60) == 0
    after = runs_of_points(tmp_path)
    assert before.items() <= after.items()
    assert len(set(after.values())) >= 3
    pd.testing.assert_frame_equal(result(tmp_path), expected)
    assert not list(tmp_path.glob("*.lock"))


def test_a_killed_pool_leaves_no_process_behind(tmp_path) -> None:
    with sweeping(tmp_path, "--workers", "2") as process:
        wait_for_points(tmp_path, 5, process)
        children = _descendants(process.pid)
        assert len(children) >= 2
        process.kill()
        process.wait()
    ends = time.monotonic() + 20
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < ends
        time.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_share_a_study(tmp_path, expected) -> None:
    with sweeping(tmp_path, "--workers", "1") as one, sweeping(tmp_path, "--workers", "1") as two:
        assert one.wait(60) == two.wait(60) == 0
    computed = pd.Series(runs_of_points(tmp_path)).value_counts()
    assert computed.sum() == 300
    assert len(computed) == 2
    pd.testing.assert_frame_equal(result(tmp_path), expected)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_finish_cleanly_with_what_is_there(tmp_path, asked) -> None:
    with sweeping(tmp_path, "--workers", "2") as process:
        wait_for_points(tmp_path, 10, process)
        process.send_signal(asked)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert '"state": "interrupted"' in out
    assert err == "sparsight: interrupted; no file was left half-written\n"
    assert 10 <= len(runs_of_points(tmp_path)) < 300
    assert not list(tmp_path.glob("*.lock"))


def test_rows_say_how_to_run_them_again(tmp_path) -> None:
    study = Study(networks=["resnet9"], methods=["bdwp:2:8"], space={"rows": [8]})
    study.run(workers=1, store=tmp_path / "s.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection:
        ((code, seed, definition, digest),) = connection.execute(
            "SELECT runs.code_version, runs.seed, meta.value, workloads.hash FROM results"
            " JOIN runs USING (run) JOIN meta JOIN workloads"
            ' ON workloads."case" = results."case" AND workloads.method = results.method'
            " WHERE meta.key = 'definition'"
        )
    assert (code, seed) == (store.code_version(), 0)
    assert definition == study.definition.as_json()
    assert len(digest) == 16


def test_another_study_another_code_and_another_format_are_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "s.sqlite"
    study = Study(networks=["resnet9"], space={"rows": [8]})
    study.run(workers=1, store=path)
    before = path.read_bytes()
    other = Study(networks=["resnet9"], space={"rows": [16]}, batches=[64])
    with pytest.raises(InputError, match=r"holds another study \(it differs in batches, space\)"):
        other.run(workers=1, store=path)
    monkeypatch.setattr(store, "code_version", lambda: "9.9+new")
    with pytest.raises(InputError, match=r"was filled by sparsight .*, this is 9.9\+new"):
        study.run(workers=1, store=path)
    monkeypatch.setattr(store, "FORMAT", "2")
    with pytest.raises(InputError, match="has format 1, not 2, of another version"):
        study.run(workers=1, store=path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s.sqlite"]


def test_a_file_that_is_no_store_is_left_alone(tmp_path) -> None:
    text, database = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    text.write_text("not a database, but longer than the header of one" * 10)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine(x)")
        connection.commit()
    before = text.read_bytes(), database.read_bytes()
    study = Study(networks=["resnet9"])
    with pytest.raises(InputError, match="must be the store of a study, but is not: file is not a"):
        study.run(workers=1, store=text)
    with pytest.raises(InputError, match="must be the store of a study, not another SQLite file"):
        study.run(workers=1, store=database)
    assert before == (text.read_bytes(), database.read_bytes())


def test_places_that_cannot_be_written_are_named(tmp_path, monkeypatch) -> None:
    study = Study(networks=["resnet9"])
    with pytest.raises(InputError, match=r"cannot make the store .*: there is no folder"):
        study.run(workers=1, store=tmp_path / "none" / "s.sqlite")
    with pytest.raises(InputError, match=r"cannot write the store /proc/s.sqlite: unable to open"):
        study.run(workers=1, store="/proc/s.sqlite")
    study.run(workers=1, store=tmp_path / "s.sqlite")
    store = tmp_path / "s.sqlite"
    monkeypatch.setattr(os, "access", lambda path, mode: path != store)
    with pytest.raises(InputError, match=r"cannot write the store .*s.sqlite: it is read-only"):
        study.run(workers=1, store=store)
    monkeypatch.setattr(os, "access", lambda path, mode: path == store)
    with pytest.raises(InputError, match=r"its folder may not be written; name another --store"):
        study.run(workers=1, store=store)


def test_a_full_disk_keeps_what_is_finished(tmp_path, expected) -> None:
    study, path = study_of(TEXT), tmp_path / "s.sqlite"
    with study.open(path) as opened:
        opened._connection.execute("PRAGMA max_page_count = 15")
        with pytest.raises(InputError, match="database or disk is full; finished points are kept"):
            study.run_into(opened, workers=1)
        points, _ = opened.counts()
        assert 0 < points < 300
    pd.testing.assert_frame_equal(study.run(workers=1, store=path), expected)


def test_a_store_that_was_killed_as_it_was_made_is_made_again(tmp_path) -> None:
    path = tmp_path / "odd # name?.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    study = Study(networks=["resnet9"])
    assert len(study.run(workers=1, store=path)) == len(study.run(workers=1, store=path)) == 1


def test_blocks_of_a_dead_process_are_taken_over(tmp_path) -> None:
    study, path = Study(networks=["resnet9"], space={"rows": [8]}), tmp_path / "s.sqlite"
    with study.open(path) as alive, study.open(path) as other:
        alive.start_run()
        other.start_run()
        assert alive.take([0, 1]) == [0, 1]
        assert other.take([0, 1, 2]) == [2]
        assert other.release_dead() == 0
        alive._lock.close()  # as the system does for a process that ends
        assert other.release_dead() == 2
        assert other.take([0]) == [0]
        assert not alive.finish(0, [])


def test_exports_hold_the_same_table(tmp_path) -> None:
    space = {"rows": [8, 16], "cols": {"derive": "rows * rows * 20"}, "pregeneration": [True]}
    study = Study(networks=["resnet9"], space=space, constraints=["seconds < 1"])
    with study.open(tmp_path / "s.sqlite") as opened:
        study.run_into(opened, workers=1)
        table = export.frame(opened)
        export.write_csv(opened, tmp_path / "t.csv")
        export.write_parquet(opened, tmp_path / "t.parquet")
        with pytest.raises(InputError, match=r"cannot write .*t.csv: No such file or directory"):
            export.write_csv(opened, tmp_path / "none" / "t.csv")
    for read in (pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")):
        assert list(read.columns) == list(table.columns)
        assert read.seconds.tolist()[0] == table.seconds[0]
        assert read.error.isna().tolist() == [True, False]
        assert read.cycles[0] == table.cycles[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.sqlite", "t.csv", "t.parquet"]
