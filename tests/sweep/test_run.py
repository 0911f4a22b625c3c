"""Running a study: results equal simulate, the same table whoever computes it, failures kept."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

from simulator.accelerators import find
from simulator.sweep import Study, progress
from simulator.sweep.version import workload_hash
from workloads import InputError, networks
from workloads.methods import parse_method
from workloads.trace import read_trace, shipped

METRICS = ("cycles", "compute_cycles", "seconds", "energy_j", "dram_bytes", "utilisation")

SMALL = {
    "networks": ["resnet9", "vit-32"],
    "batches": [2, 4],
    "methods": ["dense", "bdwp:2:8"],
    "accelerators": ["sat", "systolic"],
    "space": {"rows": [8, 16], "cols": {"derive": "rows"}, "sat": {"interleave": [2, 4]}},
    "quantities": {"pes": "rows * cols", "pj_per_byte": "energy_j / dram_bytes * 1e12"},
    "constraints": ["seconds < 0.5"],
}
"""Both kinds of models, several workloads, a derived field and a constraint on results."""


def test_every_point_equals_simulate() -> None:
    table = Study(**SMALL).run(workers=1)
    assert len(table) == 2 * 2 * 2 * (4 + 2)
    for row in table.to_dict(orient="records"):
        model = find(row["accelerator"])
        fields = {"rows": row["rows"], "cols": row["cols"]}
        if row["accelerator"] == "sat":
            fields["interleave"] = int(row["interleave"])
        step = networks.find(row["network"], batch=row["batch"]).training_step()
        work = parse_method(row["method"])(step)
        config = model.Config(**fields)
        expected = model.simulate(config, model.schedule(config, work)).summary()
        assert {name: row[name] for name in METRICS} == {name: expected[name] for name in METRICS}
        assert row["pes"] == row["rows"] * row["cols"]
        assert row["pj_per_byte"] == row["energy_j"] / row["dram_bytes"] * 1e12
        assert row["feasible"] == (row["seconds"] < 0.5)


def test_inference_has_no_backward_pass() -> None:
    whole = Study(networks=["resnet9"]).run(workers=1)
    forward = Study(networks=["resnet9"], mode="inference").run(workers=1)
    assert forward.cycles[0] < whole.cycles[0] / 2


def test_one_process_two_processes_threads_and_a_given_pool_give_the_same_table(tmp_path) -> None:
    study = Study(**SMALL)
    expected = study.run(workers=1)
    pd.testing.assert_frame_equal(study.run(workers=2, store=tmp_path / "two.sqlite"), expected)
    with ThreadPoolExecutor(3) as pool:
        pd.testing.assert_frame_equal(study.run(executor=pool), expected)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pd.testing.assert_frame_equal(study.run(executor=pool), expected)


def test_failing_points_keep_their_error_and_stop_nobody() -> None:
    space = {"rows": [8, 16], "cols": {"derive": "rows * rows * 20"}}
    study = Study(networks=["resnet9"], space=space)
    table = study.run(workers=1)
    assert table.error.isna().tolist() == [True, False]
    assert table.error[1] == ("InputError: cols must be a whole number from 1 to 4096, not 5120")
    assert pd.isna(table.cycles[1])
    assert (study.outcome.reason, study.outcome.failures) == ("complete", 1)


def test_a_run_stops_above_so_many_failures() -> None:
    """SAT has at most 4096 columns; the plain array takes any number."""
    space = {"rows": {"from": 1, "to": 40}, "cols": {"derive": "rows * 4096"}}
    plain = Study(networks=["resnet9"], accelerators=["systolic"], space=space)
    study = Study(networks=["resnet9"], space=space)
    assert study.run(workers=1).error.notna().sum() == 39
    assert plain.run(workers=1).error.isna().all()
    stopped = study.run(workers=1, max_failures=5)
    assert study.outcome.reason == "too many failures"
    assert stopped.error.notna().sum() > 5


def test_a_request_to_stop_keeps_what_is_there_and_a_second_run_ends_it(tmp_path: Path) -> None:
    space = {"rows": {"from": 1, "to": 30}}
    study = Study(networks=["resnet9"], accelerators=["systolic"], space=space)
    store = tmp_path / "s.sqlite"

    class StopsAtTen(progress.Silent):
        points = told = 0

        def stopping(self) -> None:
            self.told += 1

        def finished(self, points: int, failures: int) -> None:
            self.points += points
            if self.points == 10:
                signal.raise_signal(signal.SIGINT)

    study.watcher = StopsAtTen()
    first = study.run(workers=1, store=store)
    assert study.outcome.reason == "interrupted"
    assert study.watcher.told == 1
    assert 10 <= len(first) < 30
    study.watcher = None
    whole = study.run(workers=1, store=store)
    pd.testing.assert_frame_equal(whole, study.run(workers=1))
    assert study.outcome.complete


def test_the_watcher_hears_of_every_point() -> None:
    study = Study(networks=["resnet9"], space={"rows": {"from": 1, "to": 10}})

    class Counts(progress.Silent):
        points = blocks = 0

        def stage(self, blocks: int, done: int) -> None:
            self.blocks += blocks - done

        def finished(self, points: int, failures: int) -> None:
            self.points += points
            self.blocks -= 1

    study.watcher = Counts()
    study.run(workers=1)
    assert (study.watcher.points, study.watcher.blocks) == (10, 0)


def test_progress_says_how_far_a_study_is_whoever_computed_it() -> None:
    shown = progress.Progress("arrays", known=10)
    with shown:
        shown.stage(4, 1)
        shown.finished(10, 2)
    assert shown._line().startswith("arrays: 50 %, 20 points, ")
    assert shown._line().endswith("2 failed")


def test_wrong_executors_are_refused() -> None:
    study = Study(networks=["resnet9"])
    with pytest.raises(InputError, match="workers must be at least 1, not 0"):
        study.run(workers=0)


def test_a_dead_worker_is_one_sentence(tmp_path: Path) -> None:
    study = Study(networks=["resnet9"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(Exception, match="terminated"):
            pool.submit(os._exit, 1).result()
        with pytest.raises(InputError, match="a worker process died"):
            study.run(executor=pool, store=tmp_path / "s.sqlite")
    assert study.run(workers=1, store=tmp_path / "s.sqlite").error.isna().all()


def test_accelerators_with_workloads_of_their_own_run_their_options(tmp_path) -> None:
    entries = [(1, 1), (2, 3), (3, 2), (4, 4), (4, 1)]
    lines = [f"{row} {col} 1.5" for row, col in entries]
    path = tmp_path / "a.mtx"
    header = f"%%MatrixMarket matrix coordinate real general\n4 4 {len(entries)}\n"
    path.write_text(header + "\n".join(lines) + "\n")
    gamma = find("gamma")
    study = Study(
        accelerators=["gamma"],
        options=[f"--matrix {path}"],
        space={"pes": [1, 2]},
        objectives=["seconds"],
    )
    table = study.run(workers=1)
    work = gamma.workload_from_options({"matrix": (str(path),)})
    for row in table.itertuples():
        config = gamma.Config(pes=row.pes)
        assert row.cycles == gamma.simulate(config, gamma.schedule(config, work)).cycles
    assert workload_hash(work) != workload_hash(networks.find("resnet9").inference())
    with pytest.raises(InputError, match="there is no option --matrx; did you mean --matrix"):
        Study(accelerators=["gamma"], options=["--matrx a.mtx"])
    store = tmp_path / "s.sqlite"
    study.run(workers=1, store=store, max_failures=0)
    path.write_text(path.read_text().replace("4 1 1.5", "4 2 1.5"))
    with study.open(store) as opened:
        opened._connection.execute("DELETE FROM results")
        opened._connection.execute("DELETE FROM blocks")
    with pytest.raises(InputError, match=r"a.mtx has changed since the store .* was begun"):
        study.run(workers=1, store=store)
    path.write_text("")
    failed = Study(accelerators=["gamma"], options=[f"--matrix {path}"]).run(workers=1)
    assert failed.error.notna().all()


def test_a_study_runs_models_that_fix_their_batch() -> None:
    trace = shipped()["digits-vit"]
    space = {"rows": [16], "cols": [16]}
    for text in ("digits-vit", str(trace)):
        table = Study(networks=[text], batches=[0], methods=["bdwp:2:8"], space=space).run(
            workers=1
        )
        model = find("sat")
        config = model.Config(rows=16, cols=16)
        plan = model.schedule(config, parse_method("bdwp:2:8")(read_trace(trace)))
        assert table.cycles.tolist() == [model.simulate(config, plan).cycles]
    with pytest.raises(InputError, match="fixes its batch"):
        Study(networks=["digits-vit"], space=space)
