"""Searches by Optuna: the same whoever computes, resumed without asking twice, better than luck."""

import signal
import sys

import numpy as np
import pandas as pd
import pytest

from simulator.sweep import Study, progress
from simulator.sweep.pareto import front
from workloads import InputError

SPACE = {
    "rows": {"from": 4, "to": 128, "step": 4},
    "cols": {"from": 4, "to": 128, "step": 4},
    "left_buffer_bytes": {"from": 65536, "to": 4194304, "factor": 2},
    "clock_hz": {"from": 1e8, "to": 1e9, "log": True},
    "stationarity": ["auto", "os", "ws"],
}


def study(kind: str, points: int = 60, **changes) -> Study:
    values = {
        "networks": ["resnet9", "vit-32"],
        "batches": [2],
        "methods": ["dense", "bdwp:2:8"],
        "space": SPACE,
        "objectives": ["energy_j", "pe_seconds"],
        "quantities": {"pe_seconds": "rows * cols * seconds"},
        "constraints": ["rows * cols <= 4096"],
        "search": {"kind": kind, "points": points, "seed": 1},
        **changes,
    }
    if kind in ("nsga2", "tpe"):
        values["search"]["population"] = 10
    return Study(**values)


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_a_search_gives_the_same_table_in_one_go_in_two_processes_and_resumed(kind, tmp_path):
    whole = study(kind).run(workers=1)
    assert len(whole) == 60 * 2
    assert whole.point.tolist() == sorted([*range(60)] * 2)
    assert len(whole.drop_duplicates([*SPACE, "method"])) == 60
    assert (whole.rows * whole.cols <= 4096).all()
    pd.testing.assert_frame_equal(study(kind).run(workers=2), whole)

    class StopsAfterThreeBlocks(progress.Silent):
        blocks = 0

        def finished(self, points: int, failures: int) -> None:
            self.blocks += 1
            if self.blocks == 3:
                signal.raise_signal(signal.SIGINT)

    stopped, store = study(kind), tmp_path / "s.sqlite"
    stopped.watcher = StopsAfterThreeBlocks()
    first = stopped.run(workers=1, store=store)
    assert 0 < len(first) < len(whole)
    pd.testing.assert_frame_equal(study(kind).run(workers=1, store=store), whole)


def test_a_search_finds_more_than_as_many_random_designs() -> None:
    def volume(table: pd.DataFrame) -> float:
        """Area that the front dominates, of logarithms, up to a common corner."""
        sums = table.groupby("point")[["energy_j", "pe_seconds"]].sum().to_numpy()
        points = np.log(sums)
        best = points[front(points)]
        best = best[np.argsort(best[:, 0])]
        corner = np.log([100.0, 1e5])
        widths = np.diff([*best[:, 0], corner[0]])
        return float((widths * (corner[1] - best[:, 1])).sum())

    searched = study("nsga2", 300).run(workers=1)
    assert volume(searched) > volume(study("random", 300).run(workers=1))


def test_designs_that_break_a_constraint_on_results_are_not_parents() -> None:
    made = study("nsga2", constraints=["seconds < 0.05"])
    table = made.run(workers=1)
    assert table.feasible.any()
    assert not table.feasible.all()
    assert made.pareto(table).feasible.all()


def test_a_small_space_ends_the_search() -> None:
    table = study("tpe", 50, space={"rows": [8, 16]}, methods=["dense"]).run(workers=1)
    assert sorted(table.rows.unique()) == [8, 16]
    assert len(table) == 4


def test_failing_designs_do_not_end_a_search() -> None:
    space = {"rows": {"from": 1, "to": 64}, "cols": {"derive": "rows * 200"}}
    table = study("nsga2", 30, space=space, constraints=[]).run(workers=1)
    assert table.error.notna().any()
    assert table.error.isna().any()


def test_without_optuna_the_sentence_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'sparsight\[search\]'; grid, random and so"):
        study("nsga2")


def test_an_empty_space_is_refused_before_the_search() -> None:
    with pytest.raises(InputError, match="the constraint 'rows < 4' excludes every design of sat"):
        study("nsga2", constraints=["rows < 4"])
