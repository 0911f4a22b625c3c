"""A run is the sum of its steps, and pays off where its time crosses that of the baseline."""

from __future__ import annotations

import pytest

from simulator.accelerators import sat
from simulator.training_run import Segment, TrainingRun, baseline, break_even, train
from workloads import InputError, Workload, networks
from workloads.methods import bdwp, parse_method

CONFIG = sat.Config()


def step() -> Workload:
    return networks.resnet9(batch=16).training_step()


def seconds(workload: Workload) -> float:
    return sat.simulate(CONFIG, sat.schedule(CONFIG, workload)).seconds


def test_a_run_is_the_sum_of_its_stages() -> None:
    run = train("sat", CONFIG, step(), bdwp(2, 8).after_dense(0.25), steps=1000)
    assert [(s.first, s.end) for s in run.segments] == [(0, 250), (250, 1000)]
    expected = 250 * seconds(step()) + 750 * seconds(bdwp(2, 8)(step()))
    assert run.seconds == pytest.approx(expected)
    assert run.seconds_until(100) == pytest.approx(100 * seconds(step()))
    assert run.energy_j is not None
    assert run.frame()["steps"].tolist() == [250, 750]


def test_steps_that_select_anew_are_weighted() -> None:
    method = parse_method("rigl:0.1:10")
    run = train("sat", CONFIG, step(), method, steps=100)
    mean = 0.1 * seconds(method(step())) + 0.9 * seconds(method(step(), refresh=False))
    assert run.seconds == pytest.approx(100 * mean)


def test_setup_is_paid_back_after_the_steps_that_the_gain_needs() -> None:
    """g seconds gained a step against s of setup: the first step with n g > s."""
    dense, sparse = seconds(step()), seconds(bdwp(2, 8)(step()))
    run = train("sat", CONFIG, step(), bdwp(2, 8), steps=1000, setup_steps=20)
    base = baseline("sat", CONFIG, step(), steps=1000)
    paid = break_even(run, base)
    assert paid is not None
    assert paid * (dense - sparse) > 20 * dense
    assert (paid - 1) * (dense - sparse) <= 20 * dense


def made(*pieces: tuple[int, float], setup: float = 0.0) -> TrainingRun:
    segments, at = [], 0
    for steps, each in pieces:
        segments.append(Segment(first=at, end=at + steps, seconds=each, energy_j=None))
        at += steps
    return TrainingRun(accelerator="a", method="m", segments=tuple(segments), setup_seconds=setup)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (made((100, 1.0)), None),
        (made((100, 2.0)), None),
        (made((100, 0.5)), 1),
        (made((100, 0.5), setup=10.0), 21),
        (made((50, 2.0), (50, 0.5)), None),
        (made((10, 2.0), (90, 0.5)), 31),
        (made((50, 0.5), (50, 3.0)), 1),
    ],
)
def test_break_even_by_hand(run: TrainingRun, expected: int | None) -> None:
    """Baseline 1 s a step; 10 s too slow at first are made up by 20 steps of half the time."""
    assert break_even(run, made((100, 1.0))) == expected


def test_a_lead_that_only_the_setup_of_the_baseline_gives_counts() -> None:
    """After one step 5 s against 10 s of setup and 1 s; after three steps 15 s against 13 s."""
    assert break_even(made((100, 5.0)), made((100, 1.0), setup=10.0)) == 1
    assert break_even(made((100, 12.0)), made((100, 1.0), setup=10.0)) is None


def test_a_run_without_energy_says_so() -> None:
    assert made((10, 1.0)).energy_j is None
    assert made((10, 1.0)).seconds == 10


def test_runs_of_other_lengths_are_not_compared() -> None:
    with pytest.raises(InputError, match="equally many steps to compare, not 10 and 20"):
        break_even(made((10, 1.0)), made((20, 1.0)))
    with pytest.raises(InputError, match="at least one step"):
        train("sat", CONFIG, step(), bdwp(2, 8), steps=0)
